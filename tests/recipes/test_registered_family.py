"""A family that a plugin has registered, in the settings of every recipe that takes families."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from skindiff.config import parse_config, save_config
from skindiff.errors import ConfigError
from skindiff.generators.families import FAMILIES, register_family
from skindiff.training.from_scratch import FromScratchConfig
from tests.conftest import REPOSITORY
from tests.toy_family import TOY, ToyConfig

RECIPES = {
    "ham_fewshot": "HamFewShotConfig",
    "ham_cdcgan": "HamCdcganConfig",
    "medmnist_subsets": "MedMNISTSubsetsConfig",
    "medmnist_augment": "MedMNISTAugmentConfig",
}
SLOW = ("ham_cdcgan", "medmnist_subsets", "medmnist_augment")
"""Recipes whose settings are read as those of the others are."""
every_recipe = pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RECIPES]
)


@pytest.fixture
def toy() -> Iterator[None]:
    register_family(TOY)
    yield
    del FAMILIES[TOY.name]


def parse(recipe: str, *words: str) -> Any:
    module = import_module(f"recipes.{recipe}")
    default = REPOSITORY / "recipes" / recipe / "smoke.yaml"
    return parse_config(getattr(module, RECIPES[recipe]), list(words), default=default)


@every_recipe
def test_its_settings_are_read_checked_and_saved_like_all_others(
    recipe: str, toy: None, tmp_path: Path
) -> None:
    before = parse(recipe)
    config = parse(recipe, "--families", "[toy]", "--generator.toy.noise", "0.3")
    assert config.generator.of("toy").own == ToyConfig(noise=0.3)
    assert type(config) is type(before)
    save_config(config, tmp_path / "config.yaml")
    assert parse(recipe, "--config", str(tmp_path / "config.yaml")) == config
    written = tmp_path / "own.yaml"
    written.write_text("families: [toy]\ngenerator: {toy: {noise: 0.2, image_size: 16}}\n")
    assert parse(recipe, "--config", str(written)).generator.of("toy").own == ToyConfig(16, 3, 0.2)
    for words, says in (
        (["--generator.toy.noise", "-1"], "generator.toy.noise is -1.0: set it to 0 or more"),
        (["--generator.toy.nose", "1"], "did you mean 'generator.toy.noise'?"),
        (["--generator.toy.noise", "loud"], "generator.toy.noise"),
        (["--generator.toy.channels", "1"], "generator.toy.channels is 1, but the corpus is in colour"),
        (["--synthesis.options", "{toy: {colour: 1.0}}"], "synthesis.options.toy: 'colour' is unknown"),
    ):
        with pytest.raises(ConfigError, match=re.escape(says)):
            parse(recipe, "--families", "[toy]", *words)


@every_recipe
def test_a_family_that_nobody_registered_is_an_error(recipe: str) -> None:
    with pytest.raises(ConfigError, match=r"^families: 'toy' is not one of cvae_resnet, .*, ddpm$"):
        parse(recipe, "--families", "[toy]")
    with pytest.raises(ConfigError, match=r"generator\.toy\.noise: there is no such setting"):
        parse(recipe, "--generator.toy.noise", "0.3")
    with pytest.raises(ConfigError, match=r"^families: the list is empty; name one or more of cvae_resnet"):
        parse(recipe, "--families", "[]")


def test_settings_made_in_python_hold_every_family_of_the_table(toy: None, tmp_path: Path) -> None:
    config = FromScratchConfig(family="toy", toy=ToyConfig(noise=0.5))
    assert config.own == ToyConfig(noise=0.5)
    assert list(vars(config)) == ["family", *FAMILIES]
    assert config == FromScratchConfig(toy=ToyConfig(noise=0.5)).of("toy")
    save_config(config, tmp_path / "config.yaml")
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["toy"]["noise"] == 0.5
    with pytest.raises(TypeError, match="vqvae"):
        FromScratchConfig(vqvae=ToyConfig())
