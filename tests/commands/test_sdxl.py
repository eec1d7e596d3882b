"""The commands on a tiny Stable Diffusion XL pipeline."""

from pathlib import Path

import pytest
import yaml
from PIL import Image
from safetensors import safe_open

from skindiff.generators.lora_formats import LORA_FILE
from skindiff.synthesis.writer import load_synthetic
from tests.commands.conftest import CORPUS, Run, tiny_loop
from tests.tiny import save_tiny_pipeline, tiny_sdxl


@pytest.fixture(scope="module")
def model(work: Path) -> Path:
    return save_tiny_pipeline(work / "xl", build=tiny_sdxl)


@pytest.fixture(scope="module")
def run(work: Path, model: Path, run_command: Run) -> Path:
    words = work / "xl-words"
    run_command(
        "train", "textual-inversion", "--threads", "1", "--output_dir", words, "--model", model, *CORPUS,
        *tiny_loop("textual_inversion"), "--textual_inversion.validation_examples", "2",
    )  # fmt: skip
    run_command(
        "train", "lora", "--threads", "1", "--output_dir", work / "xl-lora", "--model", model,
        "--words", words, "--corpus", words / "corpus.yaml", "--split", words / "split.yaml",
        *tiny_loop("lora"), "--lora.validation_examples", "2", "--lora.loop.validate_every", "2",
        "--lora.sample_every", "2", "--lora.train_text_encoder", "true",
    )  # fmt: skip
    return work / "xl-lora"


def test_training_leaves_an_adapter_of_all_networks_and_a_grid(run: Path) -> None:
    with safe_open(run / "adapter" / LORA_FILE, "pt") as file:
        parts = {key.partition(".")[0] for key in file.keys()}  # noqa: SIM118
    assert parts == {"unet", "text_encoder", "text_encoder_2"}
    with safe_open(run / "adapter" / "learned_embeds" / "skindiff-ring.safetensors", "pt") as file:
        assert set(file.keys()) == {"clip_l", "clip_g"}
    settings = yaml.safe_load((run / "adapter" / "config.yaml").read_text())
    assert settings["base_class"] == "StableDiffusionXLPipeline"
    (grid,) = run.glob("stages/*/samples/lora-000002.png")
    assert Image.open(grid).size == (64, 64)


def test_a_transfer_with_tone(work: Path, run: Path, model: Path, run_command: Run) -> None:
    run_command(
        "sample", "--threads", "1", "--output_dir", work / "xl-transfer", "--generator", run,
        "--base_model", model, "--mode", "transfer", "--images", "1",
        "--corpus", run / "corpus.yaml", "--split", run / "split.yaml", "--synthesis.steps", "4",
        "--synthesis.batch_size", "8", "--synthesis.tone", "latent_mean",
    )  # fmt: skip
    drawn = load_synthetic(work / "xl-transfer" / "data")
    assert set(drawn["skin_type"]) == {"V", "VI"}
    assert all("<skindiff-" in prompt for prompt in drawn["prompt"])


def test_an_export(work: Path, run: Path, run_command: Run) -> None:
    run_command("export", run, "--output_dir", work / "xl-export", "--name", "skin")
    with safe_open(work / "xl-export" / "loras" / "skin.safetensors", "pt") as file:
        starts = {key.partition("_text_model")[0] for key in file.keys() if "_te" in key}  # noqa: SIM118
    assert starts == {"lora_te1", "lora_te2"}
