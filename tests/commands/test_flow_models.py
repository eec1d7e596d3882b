"""The commands on a tiny FLUX.1 pipeline, and what they refuse of models of flow matching."""

from pathlib import Path

import pytest
import yaml
from PIL import Image
from safetensors import safe_open

from skindiff.cli import main
from skindiff.generators.lora_formats import LORA_FILE
from skindiff.synthesis.writer import load_synthetic
from tests.commands.conftest import CORPUS, Run, tiny_loop
from tests.tiny import save_tiny_pipeline, tiny_flux, tiny_sd3


@pytest.fixture(scope="module")
def model(work: Path) -> Path:
    return save_tiny_pipeline(work / "flux", build=tiny_flux)


@pytest.fixture(scope="module")
def run(work: Path, model: Path, run_command: Run) -> Path:
    run_command(
        "train", "lora", "--threads", "1", "--output_dir", work / "flux-lora", "--model", model, *CORPUS,
        *tiny_loop("lora"), "--lora.validation_examples", "2", "--lora.loop.validate_every", "2",
        "--lora.sample_every", "2", "--lora.train_text_encoder", "true", "--lora.image_size", "32",
        "--lora.flow.density", "uniform",
    )  # fmt: skip
    return work / "flux-lora"


def test_training_leaves_an_adapter_of_the_transformer_and_clip_and_a_grid(run: Path) -> None:
    with safe_open(run / "adapter" / LORA_FILE, "pt") as file:
        parts = {key.partition(".")[0] for key in file.keys()}  # noqa: SIM118
    assert parts == {"transformer", "text_encoder"}
    settings = yaml.safe_load((run / "adapter" / "config.yaml").read_text())
    assert settings["base_class"] == "FluxPipeline"
    assert settings["lora"]["flow"]["density"] == "uniform"
    (grid,) = run.glob("stages/*/samples/lora-000002.png")
    assert Image.open(grid).size == (64, 64)


def test_a_transfer_with_tone(work: Path, run: Path, model: Path, run_command: Run) -> None:
    run_command(
        "sample", "--threads", "1", "--output_dir", work / "flux-transfer", "--generator", run,
        "--base_model", model, "--mode", "transfer", "--images", "1", "--synthesis.image_size", "32",
        "--corpus", run / "corpus.yaml", "--split", run / "split.yaml", "--synthesis.steps", "4",
        "--synthesis.batch_size", "8", "--synthesis.tone", "latent_mean",
    )  # fmt: skip
    drawn = load_synthetic(work / "flux-transfer" / "data")
    assert set(drawn["skin_type"]) == {"V", "VI"}
    assert set(drawn["scheduler"]) == {"euler"}


def test_words_are_refused_before_the_corpus_is_read(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = save_tiny_pipeline(tmp_path / "sd3", build=tiny_sd3)
    words = ["train", "textual-inversion", "--model", str(base), "--output_dir", str(tmp_path / "run")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "is a model of Stable Diffusion 3, for which diffusers has no loader of learned words" in said


def test_settings_of_another_objective_are_refused_in_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "lora", "--model", str(model), "--output_dir", str(tmp_path / "run"), *CORPUS]
    assert main([*map(str, words), "--lora.image_size", "32", "--lora.min_snr_gamma", "5"]) == 2
    assert (
        "min_snr_gamma is 5.0, but this FLUX.1 model is trained by flow matching" in capsys.readouterr().err
    )
