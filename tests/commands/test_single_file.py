"""A Stable Diffusion in one file, by the commands, the recipe and the demo."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from recipes import fitz_lora
from skindiff.demo.asked import DrawRequest
from skindiff.demo.config import DemoConfig
from skindiff.demo.drawing import draw
from skindiff.demo.generator_cache import GeneratorCache
from skindiff.demo.space import write_space
from skindiff.errors import ConfigError
from skindiff.generators.adapter import read_adapter
from skindiff.generators.lora_formats import LORA_FILE
from skindiff.generators.models import model_revision
from skindiff.generators.resolve import find_generator
from skindiff.synthesis.strategies import FurtherGenerator, GeneratorConfig
from skindiff.synthesis.writer import load_synthetic
from tests.commands.conftest import CORPUS, Run, run_command, tiny_loop
from tests.generators.text_to_image.checkpoints import save_checkpoint, tiny_whole
from tests.recipes.tiny_study import tiny_study
from tests.studies import make_study
from tests.tiny import tiny_corpus

__all__ = ["run_command"]

Trained = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, run_command: Run) -> Trained:
    """A checkpoint, its settings, and a LoRA trained on it."""
    home = tmp_path_factory.mktemp("single")
    file, config = save_checkpoint(home)
    train(run_command, home / "lora", file, "--model_config", config)
    return file, config, home / "lora"


def train(run: Run, folder: Path, model: Path, *words: str | Path) -> None:
    run(
        "train", "lora", "--threads", "1", "--output_dir", folder, "--model", model, *words,
        *CORPUS, *tiny_loop("lora"), "--lora.validation_examples", "2",
    )  # fmt: skip


@pytest.mark.slow
def test_a_lora_learns_the_same_on_it_as_on_its_folder(
    trained: Trained, run_command: Run, tmp_path: Path
) -> None:
    file, config, lora = trained
    tiny_whole().save_pretrained(tmp_path / "base")
    train(run_command, tmp_path / "lora", tmp_path / "base")
    found, expected = (load_file(run / "adapter" / LORA_FILE) for run in (lora, tmp_path / "lora"))
    assert found.keys() == expected.keys()
    assert all((found[name] == weight).all() for name, weight in expected.items())
    name = model_revision(str(file), config=str(config))
    assert read_adapter(lora / "adapter").config["base_model"] == name
    place = find_generator(str(lora))
    assert (place.model, place.config) == (str(file), str(config))


def test_it_is_sampled_from_alone_and_below_its_lora(
    trained: Trained, run_command: Run, tmp_path: Path
) -> None:
    file, config, lora = trained
    common = ["--threads", "1", "--images", "1", "--synthesis.steps", "4"]
    words = ["--classes", "[ring]", "--groups", "[V]", *common]
    run_command(
        "sample", "--generator", file, "--model_config", config, "--output_dir", tmp_path / "a", *words
    )
    (row,) = load_synthetic(tmp_path / "a" / "data")
    assert (row["generator"], row["strategy"]) == (model_revision(str(file), config=str(config)), "vanilla")
    run_command(
        "sample", "--generator", lora, "--mode", "transfer", "--groups", "[VI]", "--synthesis.tone", "none",
        "--corpus", lora / "corpus.yaml", "--split", lora / "split.yaml", "--output_dir", tmp_path / "b",
        *common,
    )  # fmt: skip
    drawn = load_synthetic(tmp_path / "b" / "data")
    assert set(drawn["strategy"]) == {"lora"}
    assert drawn[0]["generator"].startswith(f"{row['generator']}+adapter@")
    # and the demo draws the same
    cache = GeneratorCache(DemoConfig(generators=[str(file)], model_config=str(config), batch_size=1))
    (name,) = cache.offered
    assert name == "mine"
    picture = list(draw(cache, DrawRequest(name, ("ring",), ("V",), count=1, steps=4)))[-1].pictures[0]
    assert (picture.row["generator"], picture.row["prompt"]) == (row["generator"], row["prompt"])
    with pytest.raises(
        ConfigError, match=r"generators: .*mine\.safetensors is a file, and a Space gets folders"
    ):
        write_space(tmp_path / "space", DemoConfig(generators=[str(file)]))


def test_the_recipe_teaches_and_transfers_by_it(trained: Trained, tmp_path: Path) -> None:
    file, config, _ = trained
    settings = tiny_study(tmp_path, file, strategies=["img2img ti+lora"])
    settings.generator.config = str(config)
    study = make_study(tmp_path / "run", tiny_corpus())
    settings.synthesis.tone = "none"
    drawn = fitz_lora.transferred(study, settings.generator, settings.synthesis, "img2img ti+lora")
    name = model_revision(str(file), config=str(config))
    rows = load_synthetic(drawn.folder)
    assert all(one.startswith(f"{name}+adapter@") for one in rows["generator"])
    (promised,) = fitz_lora.promised(settings, study)
    assert promised.made_with["base"] == name


def test_a_further_generator_of_a_study_has_settings_of_its_own() -> None:
    first = GeneratorConfig(model="a.safetensors", config="sd21")
    assert FurtherGenerator().beside(first).base == ("a.safetensors", None, "sd21")
    assert FurtherGenerator(model="b").beside(first).base == ("b", None, None)
    with pytest.raises(ConfigError, match="config: 'sd15' belongs to no model; give model too"):
        FurtherGenerator(config="sd15").validate()
