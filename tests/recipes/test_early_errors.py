"""What the table of a corpus alone decides is said before any image is looked at."""

import importlib
from pathlib import Path

import pytest
from PIL import Image

from skindiff import cli
from skindiff.config import parse_config
from skindiff.errors import ConfigError, SplitError
from tests.conftest import REPOSITORY

TOO_FEW = {
    "fitz_lora": "flexible_per_condition: condition 'eczema'",
    "ham_fewshot": "shots: class 'eczema'",
    "ham_cdcgan": "detector: 1 groups of eczema",
    "medmnist_subsets": "test_fraction: class 'eczema'",
    "medmnist_augment": "test_fraction: class 'eczema'",
}
"""What each recipe says of a corpus with too few images of a class."""


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two classes that nobody may audit."""

    def audited(*_: object) -> None:
        raise AssertionError("images are looked at before the table has been cut")

    monkeypatch.setattr("skindiff.corpora.audit.audit_images", audited)
    for name, count in (("eczema", 2), ("keloid", 40)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("recipe", TOO_FEW)
def test_a_recipe_says_at_once_that_a_class_has_too_few(
    recipe: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"recipes.{recipe}")
    monkeypatch.chdir(tmp_path)
    words = ["--corpus.name", "imagefolder", "--corpus.imagefolder.data_dir", str(photos)]
    name = next(name for name in vars(module) if name.lower() == f"{recipe.replace('_', '')}config")
    config = parse_config(
        getattr(module, name), words, default=REPOSITORY / "recipes" / recipe / "smoke.yaml"
    )

    with pytest.raises(SplitError, match=TOO_FEW[recipe]):
        module.main(config)

    assert not Path(config.output_dir).exists()


def test_a_command_says_at_once_that_a_class_has_too_few(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = ["--corpus.name", "imagefolder", "--corpus.imagefolder.data_dir", str(photos)]

    status = cli.main(["train", "classifier", *corpus, "--output_dir", str(tmp_path / "run")])

    assert status == 2
    assert "test_fraction: class 'eczema' has 2" in capsys.readouterr().err


LOST = {
    "recipe": ("fitz_lora", "--generator.model", "elsewhere/base"),
    "training": ("train", "lora", "--model", "elsewhere/base"),
    "transfer": ("sample", "--mode", "transfer", "--generator", "elsewhere/base"),
}
"""Beginnings of studies whose base model is nowhere."""


@pytest.mark.parametrize("start", LOST)
def test_a_folder_and_a_model_that_are_not_there_are_said_in_one_answer(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(model: str, *_: object, **__: object) -> None:
        raise OSError(f"no network to ask for {model}")

    monkeypatch.setattr("skindiff.generators.models.hf_hub_download", absent)
    first, *words = LOST[start]
    nowhere = str(tmp_path / "nowhere")
    corpus = ["--corpus.name", "imagefolder", "--corpus.imagefolder.data_dir", nowhere]
    output = ["--output_dir", str(tmp_path / "run")]
    if start == "recipe":
        recipe = importlib.import_module(f"recipes.{first}")
        smoke = REPOSITORY / "recipes" / first / "smoke.yaml"
        config = parse_config(recipe.FitzLoraConfig, [*words, *corpus, *output], default=smoke)
        with pytest.raises(ConfigError) as refused:
            recipe.main(config)
        said = str(refused.value)
    else:
        assert cli.main([first, *words, *corpus, *output]) == 2
        said = capsys.readouterr().err

    assert f"corpus.imagefolder.data_dir: there is no {nowhere}" in said
    assert "elsewhere/base" in said
