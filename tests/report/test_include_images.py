"""Every recipe, and skindiff evaluate, shows images of the corpus on request only."""

from pathlib import Path
from typing import Any

import pytest

from recipes.fitz_lora import FitzLoraConfig
from recipes.ham_cdcgan import HamCdcganConfig
from recipes.ham_fewshot import HamFewShotConfig
from recipes.medmnist_augment import MedMNISTAugmentConfig
from recipes.medmnist_subsets import MedMNISTSubsetsConfig
from skindiff.commands.evaluate import EvaluateCommand
from skindiff.commands.settings import DEFAULTS
from skindiff.config import parse_config
from skindiff.report.write import includes_images
from tests.conftest import REPOSITORY

CONFIGS = {
    "fitz_lora": FitzLoraConfig,
    "ham_cdcgan": HamCdcganConfig,
    "ham_fewshot": HamFewShotConfig,
    "medmnist_augment": MedMNISTAugmentConfig,
    "medmnist_subsets": MedMNISTSubsetsConfig,
}
FILES = sorted((REPOSITORY / "recipes").glob("*/*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_no_config_asks_for_photographs(file: Path) -> None:
    assert "include_images" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*CONFIGS, "evaluate"])
def test_it_is_left_open_and_can_be_asked_for(name: str) -> None:
    config_class: Any = CONFIGS.get(name, EvaluateCommand)
    assert config_class().include_images is None
    file = DEFAULTS / "evaluate.yaml" if name == "evaluate" else REPOSITORY / "recipes" / name / "smoke.yaml"
    needed = ["--synthetic", "somewhere"] if name == "evaluate" else []
    assert (
        parse_config(config_class, [*needed, "--include_images", "true"], default=file).include_images is True
    )


def test_by_default_only_drawings_are_shown() -> None:
    assert includes_images(None, "phantom")
    for corpus in ("fitzpatrick17k", "ham10000", "medmnist", "imagefolder", None):
        assert not includes_images(None, corpus)
        assert includes_images(True, corpus)
    assert not includes_images(False, "phantom")
