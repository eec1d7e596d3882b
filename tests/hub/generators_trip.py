"""Generators: pushed, loaded by diffusers' own loaders and by ours, and compared by what they draw."""

import json
import re
from pathlib import Path

import numpy as np
import torch
import yaml
from huggingface_hub import ModelCard

from skindiff.generators.adapter import LORA_FILE, load_adapter
from skindiff.generators.prompts import prompt_for
from tests.generators.test_adapter import train_both
from tests.hub.server import Hub
from tests.tiny import save_tiny_pipeline, tiny_pipeline, tiny_sdxl

PROMPT = prompt_for("<skindiff-squamous-cell-carcinoma>", "V")
PUSH = """
    from pathlib import Path
    from skindiff.errors import HubError
    from skindiff.hub.origin import Origin
    from skindiff.hub.push import push_adapter, push_pipeline

    origin = Origin(corpora=["phantom"], groups={"I": 30, "VI": 2})
    base = push_pipeline("base", "me/base", licence="apache-2.0", origin=origin)
    print(base.private)
    newer = push_pipeline("newer", "me/base", licence="apache-2.0", origin=origin)
    assert newer.revision != base.revision
    command = "skindiff train lora --data_dir /home/alice/photos --token hf_abcdefghijklmnopqrstuv"
    behind = {"base_model": f"me/base@{base.revision}", "base_licence": "mit"}
    learnt = Origin(["phantom"], commands=[command], **behind)
    push_adapter("lora/adapter", "me/adapter", licence="apache-2.0", origin=learnt)
    xl = push_pipeline("xl-base", "me/xl-base", licence="apache-2.0", origin=origin)
    learnt_xl = Origin(["phantom"], base_model=f"me/xl-base@{xl.revision}", base_licence="mit")
    push_adapter("xl/lora/adapter", "me/xl-adapter", licence="apache-2.0", origin=learnt_xl)
    for wrong in (Origin(), Origin(["fitzpatrick17k"])):
        try:
            push_adapter("lora/adapter", "me/refused", licence="apache-2.0", origin=wrong)
        except HubError as error:
            print(error)
"""
LOAD = """
    import numpy as np
    import torch
    import skindiff
    import yaml
    from skindiff.generators.adapter import load_adapter
    from skindiff.hub.load import load_adapter_folder

    def drawn(pipeline, prompt, **options):
        generator = torch.Generator().manual_seed(0)
        return np.asarray(pipeline(prompt, generator=generator, output_type="np", **options).images)

    prompt = "An image of <skindiff-squamous-cell-carcinoma> on the skin of a dark-skinned individual"
    from_card = run_the_card("me/adapter")["pipeline"]
    recorded = yaml.safe_load((load_adapter_folder("me/adapter") / "config.yaml").read_text())["base_model"]
    ours, first = skindiff.load(recorded), skindiff.load("me/base", recorded.partition("@")[2])
    load_adapter(ours, load_adapter_folder("me/adapter"))
    run_the_card("me/base")
    np.savez(
        "drawn.npz",
        adapter=drawn(from_card, prompt, num_inference_steps=3, guidance_scale=3.0),
        ours=drawn(ours, prompt, num_inference_steps=3, guidance_scale=3.0),
        resolved=drawn(skindiff.load("me/adapter"), prompt, num_inference_steps=3, guidance_scale=3.0),
        base=drawn(first, "an image of eczema", num_inference_steps=3),
        xl_card=drawn(run_the_card("me/xl-adapter")["pipeline"], prompt, num_inference_steps=3),
        xl=drawn(skindiff.load("me/xl-adapter"), prompt, num_inference_steps=3),
    )
"""


def drawn(pipeline: object, prompt: object, **options: object) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    images = pipeline(prompt, generator=generator, output_type="np", **options).images  # type: ignore[operator]
    return np.asarray(images)


def build(folder: Path) -> None:
    """Make what is pushed: a base pipeline with a stray file, a newer one, and an adapter on the first."""
    save_tiny_pipeline(folder / "base")
    save_tiny_pipeline(folder / "newer", seed=1)
    (folder / "base" / "notes.py").write_text("print('not pushed')")
    train_both(folder, vectors=1, text_encoder=False)
    save_tiny_pipeline(folder / "xl-base", build=tiny_sdxl)
    train_both(folder / "xl", vectors=2, text_encoder=True, build=tiny_sdxl)


def check(hub: Hub, folder: Path, said: list[str]) -> None:
    """See that what came back draws the same, and that nothing went that should not."""
    assert said[0] == "True"
    assert "corpora: adapter lies in no run that would tell what it learnt from" in said[1]
    assert "'apache-2.0' is forbidden by Fitzpatrick17k" in said[2]
    assert "me/refused" not in hub.repositories.names()
    loaded = np.load(folder / "drawn.npz")
    expected = tiny_pipeline()
    load_adapter(expected, folder / "lora" / "adapter")
    options = {"num_inference_steps": 3, "guidance_scale": 3.0}
    for name in ("adapter", "ours", "resolved"):
        np.testing.assert_array_equal(loaded[name], drawn(expected, PROMPT, **options))
    plain = drawn(tiny_pipeline(), "an image of eczema", num_inference_steps=3)
    np.testing.assert_array_equal(loaded["base"], plain)
    expected_xl = tiny_sdxl()
    load_adapter(expected_xl, folder / "xl" / "lora" / "adapter")
    for name in ("xl_card", "xl"):
        np.testing.assert_array_equal(loaded[name], drawn(expected_xl, PROMPT, num_inference_steps=3))
    card = hub.files("model", "me/xl-adapter")["README.md"].decode()
    assert "An adapter for Stable Diffusion XL that" in card
    assert "import skindiff" not in card
    _check_what_was_pushed(hub, folder / "lora" / "adapter")


def _check_what_was_pushed(hub: Hub, folder: Path) -> None:
    assert "notes.py" not in hub.files("model", "me/base")
    files = hub.files("model", "me/adapter")
    assert sorted(files) == [
        "README.md",
        "config.yaml",
        "learned_embeds/skindiff-eczema.safetensors",
        "learned_embeds/skindiff-squamous-cell-carcinoma.safetensors",
        LORA_FILE,
        "tokens.json",
        "training_log.csv",
    ]
    assert files[LORA_FILE] == (folder / LORA_FILE).read_bytes()
    assert json.loads(files["tokens.json"]) == json.loads((folder / "tokens.json").read_text())
    assert yaml.safe_load(files["config.yaml"])["lora"]["rank"] == 2
    card = ModelCard(files["README.md"].decode())
    assert card.data.license == "apache-2.0"
    assert card.data.base_model == "me/base"
    assert card.data.library_name == "diffusers"
    assert "skindiff train lora --data_dir photos --token ***" in card.text
    assert re.search(r"Base model: `me/base`, revision `[0-9a-f]{40}`", card.text)
    assert "not a medical device" in card.text
    assert "alice" not in card.text
    assert "| VI | 2 |" in hub.files("model", "me/base")["README.md"].decode()
