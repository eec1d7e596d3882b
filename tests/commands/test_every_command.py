"""Every command on a tiny Stable Diffusion XL and a tiny FLUX.1, which a Hub on loopback has."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client as Visitor
from gradio_client import handle_file
from PIL import Image

from skindiff.corpora.phantom import render_phantom
from tests.commands.conftest import CORPUS, tiny_loop
from tests.hub.conftest import Client, client, hub
from tests.hub.server import Hub
from tests.tiny import save_tiny_pipeline, tiny_flux, tiny_sdxl

__all__ = ["client", "hub"]

SAME = ["--corpus", "lora/corpus.yaml", "--split", "lora/split.yaml"]
SMALL = ["--images", "1", "--synthesis.steps", "4", "--synthesis.batch_size", "8"]
SMALL += ["--synthesis.image_size", "32"]
CLASSIFIER = ["--experiment.architectures", '["test_resnet"]', "--experiment.train_seeds", "[0, 1]"]
CLASSIFIER += ["--experiment.bootstrap_replicates", "100", "--experiment.classifier.image_size", "32"]
for _name, _value in {"steps": 2, "batch_size": 4, "warmup_steps": 0, "validate_every": 1}.items():
    CLASSIFIER += [f"--experiment.classifier.loop.{_name}", str(_value)]
BASE = ["--origin.base_licence", "mit"]
COMMANDS = {
    "base": ["push", "base", "me/base", "--licence", "mit", "--origin.corpora", "[phantom]"],
    "lora": [
        "train", "lora", "--output_dir", "lora", "--model", "me/base", *CORPUS, *tiny_loop("lora"),
        "--lora.image_size", "32", "--lora.validation_examples", "2", "--lora.train_text_encoder", "true",
    ],
    "classes": [
        "sample", "--output_dir", "classes", "--generator", "lora", "--classes", "[ring]",
        "--groups", "[I, VI]", *SMALL,
    ],
    "transfer": [
        "sample", "--output_dir", "transfer", "--generator", "lora", "--mode", "transfer", *SAME, *SMALL,
        "--synthesis.tone", "prototype_colour",
    ],
    "evaluate": [
        "evaluate", "--output_dir", "evaluate", "--synthetic", "transfer", *SAME, *CLASSIFIER,
        "--experiment.arms", "[real, real+syn]",
    ],
    "adapter": ["push", "lora", "me/adapter", "--licence", "mit", *BASE],
    "images": ["push", "transfer", "me/images", "--licence", "mit", *BASE, "--override", "all are drawings"],
    "report": ["push", "evaluate", "me/report", "--licence", "mit"],
    "from the Hub": [
        "sample", "--output_dir", "fetched", "--generator", "me/adapter", "--classes", "[ring]",
        "--groups", "[I, VI]", *SMALL,
    ],
}  # fmt: skip
WALK = """
    import json
    from skindiff.cli import main

    for name, words in json.load(open("commands.json")).items():
        assert main(words) == 0, name
"""
DEMO = """
    import json, sys
    from diffusers import FluxPipeline
    from skindiff.cli import main
    from tests.tiny import small_flux

    FluxPipeline.__init__ = small_flux()
    sys.exit(main(json.load(open("demo.json"))))
"""


@pytest.mark.slow
@pytest.mark.parametrize("build", [tiny_sdxl, tiny_flux], ids=["xl", "flux"])
def test_every_command(hub: Hub, client: Client, build: Callable[..., Any], tmp_path: Path) -> None:
    home = client.folder
    save_tiny_pipeline(home / "base", build=build)
    threads = ["--threads", "1"]
    commands = {name: words + threads * (words[0] != "push") for name, words in COMMANDS.items()}
    (home / "commands.json").write_text(json.dumps(commands))
    client.succeed(WALK, SKINDIFF_IN_PROCESS="1")

    assert set(hub.repositories.names()) == {"me/base", "me/adapter", "me/images", "me/report"}
    card = hub.files("model", "me/adapter")["README.md"].decode()
    assert f"from diffusers import {build().__class__.__name__}" in card
    assert "Base model: `me/base`, revision `" in card
    report = json.loads(hub.files("dataset", "me/report")["report.json"])
    assert {row["arm"] for row in report["results"]} == {"real", "real+syn"}
    assert report["skin_tone"] is not None
    _visit(client, tmp_path / "got")


def _visit(client: Client, got: Path) -> None:
    """Generate and transfer by the page that ``skindiff demo`` opens."""
    settings = {"generators": "[me/adapter]", "runs": "[evaluate]", "port": "null", "threads": "1"}
    settings |= {"tone_draws": "2", "open_choice": "false"}
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    (client.folder / "demo.json").write_text(json.dumps(["demo", *words]))
    photograph = client.folder / "photograph.png"
    Image.fromarray(render_phantom("II", "ring", 64, "demo by command").pixels).save(photograph)
    process = client.start(DEMO)
    assert process.stdout is not None
    try:
        lines = iter(process.stdout)
        address = next(line for line in lines if line.startswith("the demo is at ")).split()[4]
        visitor = Visitor(address, verbose=False, download_files=str(got))
        drawn = visitor.predict("me/adapter", "ring", "V", 2, 2, 3, "1", api_name="/draw")[0]
        moved = visitor.predict(
            handle_file(str(photograph)), "me/adapter", "ring", "any", "(all)", 0.5, 2, 4, "1",
            "prototype_colour", api_name="/transfer",
        )[0]  # fmt: skip
    finally:
        process.send_signal(signal.SIGINT)
        client.seen += process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(drawn) == 2
    assert [item["caption"].split(" ")[1] for item in moved] == ["I", "II", "III", "IV", "V", "VI"]
    assert all(np.array(Image.open(item["image"])).std() > 0 for item in [*drawn, *moved])
