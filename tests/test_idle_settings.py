import importlib
from pathlib import Path
from types import ModuleType

import pytest

from skindiff.commands.evaluate import EvaluateCommand
from skindiff.commands.sample import SampleCommand
from skindiff.commands.settings import DEFAULTS
from skindiff.commands.train_classifier import TrainClassifier
from skindiff.commands.train_from_scratch import command_config
from skindiff.config import parse_config, save_config
from skindiff.idle_settings import without_effect

RECIPES = Path(__file__).parent.parent / "recipes"


def _config_of(recipe: ModuleType) -> type:
    (kind,) = [
        found
        for found in vars(recipe).values()
        if isinstance(found, type) and found.__module__ == recipe.__name__
    ]
    return kind


def _said(kind: type, default: str, *words: str) -> list[str]:
    return without_effect(parse_config(kind, words, default=DEFAULTS / f"{default}.yaml"))


@pytest.mark.parametrize(
    ("kind", "default", "words", "said"),
    [
        (SampleCommand, "sample", "--corpus.medmnist.size 64", "corpus.medmnist.size (64) changes nothing"),
        (
            SampleCommand,
            "sample",
            "--split.few_shot.shots 3",
            "(3) changes nothing: the protocol is fractions",
        ),
        (SampleCommand, "sample", "--synthesis.strength 0.9", "there is no source to transfer"),
        (SampleCommand, "sample", "--mode transfer --class_synthesis.budget real", "mode is transfer"),
        (
            SampleCommand,
            "sample",
            "--mode transfer --synthesis.tone none --synthesis.tone_strength 2",
            "prompt",
        ),
        (SampleCommand, "sample", "--images 3 --synthesis.images_per_source 2", "images says how many"),
        (
            EvaluateCommand,
            "evaluate",
            "--synthetic x --experiment.external.clinic.corpus.ham10000.data_dir y",
            "corpus.name is phantom",
        ),
        (EvaluateCommand, "evaluate", "--synthetic x --mapping.others rest", "no model is given"),
        (EvaluateCommand, "evaluate", "--model x --split.seed 4", "nothing is trained"),
        (EvaluateCommand, "evaluate", "--synthetic x --corpus.ham10000.data_dir y", "corpus.name is phantom"),
        (
            TrainClassifier,
            "train-classifier",
            "--classifier.epochs 2 --classifier.loop.steps 9",
            "from epochs",
        ),
        (TrainClassifier, "train-classifier", "--classifier.published_epochs 9", "preset is grouped"),
        (
            TrainClassifier,
            "train-classifier",
            "--classifier.preset published --classifier.loop.learning_rate 1",
            "preset published has its own",
        ),
        (
            TrainClassifier,
            "train-classifier",
            "--classifier.preset published --classifier.loop.global_batch_size 32",
            "preset published has its own",
        ),
        (command_config("dcgan"), "train-dcgan", "--dcgan.loop.seed 3", "is given its seed"),
    ],
)
def test_what_changes_nothing_is_said(kind: type, default: str, words: str, said: str) -> None:
    (found,) = _said(kind, default, *words.split())
    assert said in found


@pytest.mark.parametrize(
    ("recipe", "words", "said"),
    [
        ("fitz_lora", "--strategies [img2img_lora] --generator.textual_inversion.vectors 3", "has ti"),
        ("fitz_lora", "--synthesis.mode txt2img", "strategies takes its place"),
        ("ham_cdcgan", "--generator.ddpm.blocks 3", "families is ['sn_dcgan']"),
        ("ham_cdcgan", "--generator.family dcgan", "families takes its place"),
    ],
)
def test_what_a_recipe_overrules_is_said(recipe: str, words: str, said: str) -> None:
    module = importlib.import_module(f"recipes.{recipe}")
    given = [word.replace("_lora]", " lora]") for word in words.split()]
    (found,) = without_effect(
        parse_config(_config_of(module), given, default=RECIPES / recipe / "smoke.yaml")
    )
    assert said in found


def test_defaults_and_what_has_an_effect_are_not_spoken_of(tmp_path: Path) -> None:
    assert _said(SampleCommand, "sample", "--mode", "transfer", "--synthesis.strength", "0.9") == []
    assert _said(SampleCommand, "sample", "--corpus.phantom.seed", "4", "--corpus.medmnist.size", "28") == []
    own = tmp_path / "own.yaml"
    own.write_text("corpus: {name: phantom, phantom: {seed: 3}, medmnist: {size: 64}}\n")
    (found,) = _said(SampleCommand, "sample", "--config", str(own))
    assert found == "corpus.medmnist.size (64) changes nothing: corpus.name is phantom"


def test_a_config_that_was_saved_holds_everything_and_gives_nothing(tmp_path: Path) -> None:
    kind = _config_of(importlib.import_module("recipes.ham_fewshot"))
    save_config(kind(families=["dcgan"]), tmp_path / "config.yaml")
    words = ["--config", str(tmp_path / "config.yaml")]
    assert without_effect(parse_config(kind, words, default=tmp_path / "absent.yaml")) == []


@pytest.mark.parametrize(
    "file", sorted(RECIPES.glob("*/*.yaml")), ids=lambda file: file.parent.name + file.stem
)
def test_no_config_of_a_recipe_has_a_setting_that_changes_nothing(file: Path) -> None:
    recipe = importlib.import_module(f"recipes.{file.parent.name}")
    words = ["--config", str(file), "--corpus.imagefolder.data_dir", "x"][: 4 if "folder" in file.stem else 2]
    assert without_effect(parse_config(_config_of(recipe), words, default=file)) == []
