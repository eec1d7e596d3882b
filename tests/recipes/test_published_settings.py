"""The files of the published settings say what the papers say, and mean it for any number of processes."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recipes.fitz_lora import FitzLoraConfig
from recipes.ham_cdcgan import HamCdcganConfig
from recipes.ham_fewshot import HamFewShotConfig
from recipes.medmnist_augment import MedMNISTAugmentConfig
from recipes.medmnist_subsets import MedMNISTSubsetsConfig
from skindiff import study
from skindiff.commands.train_adapter import TrainLoRA, TrainTextualInversion
from skindiff.commands.train_classifier import TrainClassifier
from skindiff.commands.train_from_scratch import command_config
from skindiff.config import parse_config, refuse_unshared
from skindiff.errors import ConfigError
from skindiff.training.ddpm import paper_ddpm
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import paper_lora
from skindiff.training.preparation import build_optimiser
from skindiff.training.textual_inversion import paper_textual_inversion
from tests.conftest import REPOSITORY

STUDIES: dict[str, type[Any]] = {
    "fitz_lora": FitzLoraConfig,
    "ham_cdcgan": HamCdcganConfig,
    "ham_fewshot": HamFewShotConfig,
    "medmnist_augment": MedMNISTAugmentConfig,
    "medmnist_subsets": MedMNISTSubsetsConfig,
}


def read(recipe: str, name: str, *words: str) -> Any:
    """The settings of a file beside a recipe."""
    return parse_config(
        STUDIES[recipe], list(words), default=REPOSITORY / "recipes" / recipe / f"{name}.yaml"
    )


def loops_of(settings: object) -> list[LoopConfig]:
    """Every loop in some settings."""
    if isinstance(settings, LoopConfig):
        return [settings]
    if isinstance(settings, dict):
        return [loop for value in settings.values() for loop in loops_of(value)]
    parts = [getattr(settings, item.name) for item in fields(settings)] if is_dataclass(settings) else []
    return [loop for part in parts for loop in loops_of(part)]


def optimiser_of(classifier: Any) -> tuple[str, int, float, str]:
    """Optimiser, batch, learning rate and its schedule."""
    loop = classifier.loop
    return loop.optimiser, loop.batch_size, loop.learning_rate, loop.lr_schedule


BATCHES = {
    "fitz_lora": [16, 4],
    "ham_cdcgan": [64, 64],
    "ham_fewshot": [32, 64, 64],
    "medmnist_augment": [64, 64, 64],
    "medmnist_subsets": [128, 128, 128],
}
"""Images of a step of each training, as published or ours."""


@pytest.mark.parametrize("recipe", STUDIES)
def test_several_processes_share_a_batch_or_are_refused_before_anything_is_read(recipe: str) -> None:
    config = read(recipe, "paper")
    loops = loops_of(config.trained_together())
    assert [loop.global_batch_size for loop in loops] == BATCHES[recipe]
    for loop in loops:
        shared = loop.shared_by(4)
        assert shared.batch_size * shared.gradient_accumulation_steps * 4 == loop.global_batch_size
    refuse_unshared(config.trained_together(), 4)
    with pytest.raises(
        ConfigError, match=r"^(generator|detection)\..*loop\.global_batch_size is .*, which 7 "
    ):
        refuse_unshared(config.trained_together(), 7)


def test_the_refusal_comes_before_the_run_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read("ham_fewshot", "paper", "--output_dir", str(tmp_path / "run"))
    monkeypatch.setattr(study, "start_accelerator", lambda *_: SimpleNamespace(num_processes=3))
    with pytest.raises(ConfigError, match="launch one of 1, 2, 4, 8, 16, 32"):
        study.open_run(config)
    assert not (tmp_path / "run").exists()
    only = read("ham_fewshot", "paper", "--output_dir", str(tmp_path / "run"), "--recorded", "only")
    with pytest.raises(AttributeError):  # nothing is trained, so it goes on, to what this stand-in lacks
        study.open_run(only)


@pytest.mark.parametrize("method", ["lora", "textual-inversion", "ddpm", "sn-dcgan", "classifier"])
def test_a_training_on_its_own_is_refused_as_early(method: str) -> None:
    kinds: dict[str, Any] = {"lora": TrainLoRA, "textual-inversion": TrainTextualInversion}
    kinds |= {"classifier": TrainClassifier}
    config = (kinds.get(method) or command_config(method.replace("-", "_")))()
    (loop,) = loops_of(config.trained_together())
    loop.global_batch_size = 4
    with pytest.raises(ConfigError, match=r"loop\.global_batch_size is 4, which 3 processes"):
        refuse_unshared(config.trained_together(), 3)


def test_networks_that_all_processes_train_are_looked_at_too() -> None:
    words = ["--experiment.one_process_each", "false", "--experiment.classifier.loop.global_batch_size", "6"]
    with pytest.raises(ConfigError, match=r"^experiment\.classifier\.loop\.global_batch_size is 6, which 4"):
        refuse_unshared(read("ham_fewshot", "paper", *words).trained_together(), 4)
    refuse_unshared(read("ham_fewshot", "paper", *words[2:]).trained_together(), 4)


def test_wang_et_al() -> None:
    config = read("fitz_lora", "paper")
    words, lora = config.generator.textual_inversion, config.generator.lora
    assert (words.one_by_one, words.random_flip, lora.random_flip) == (True, True, False)
    assert (words.loop.steps, words.loop.weight_decay, words.loop.global_batch_size) == (500, 0.01, 16)
    assert words.loop.peak_learning_rate(1) == pytest.approx(0.008)
    for own, paper in ((words, paper_textual_inversion()), (lora, paper_lora())):
        for name in (
            "steps",
            "learning_rate",
            "scale_lr",
            "lr_schedule",
            "weight_decay",
            "global_batch_size",
        ):
            assert getattr(own.loop, name) == getattr(paper.loop, name), name
    drawn = config.synthesis
    assert (lora.rank, drawn.strength, drawn.images_per_source, drawn.guidance_scale) == (8, 0.5, 5, 2.0)
    assert (drawn.steps, drawn.output_size, drawn.tone) == (100, 256, "none")
    assert config.experiment.classifier.preset == "published"
    assert [read("fitz_lora", "paper", "--split.scenario", one).split.scenario for one in ("i", "ii")] == [
        "i",
        "ii",
    ]
    # A strategy that teaches no LoRA has no batch of it to share.
    plain = read("fitz_lora", "paper", "--strategies", "[img2img ti]")
    refuse_unshared(plain.trained_together(), 16)


def test_ravani_et_al() -> None:
    config = read("ham_fewshot", "paper")
    own, paper = config.generator.ddpm, paper_ddpm()
    for name in ("prediction", "noise_schedule", "min_snr_gamma", "class_dropout", "mirror", "balance"):
        assert getattr(own, name) == getattr(paper, name), name
    for loop in (own.loop, paper.loop):
        assert (loop.lr_schedule, loop.warmup_steps) == ("constant", 0)
    classifier = config.experiment.classifier
    assert (classifier.augment, classifier.balance, classifier.epochs) == ("none", "none", 10)
    assert optimiser_of(classifier) == ("adam", 32, 1e-4, "constant")
    assert (config.split.shots, config.split.preset, config.corpus.image_size) == (50, "published", 224)
    assert sum(config.synthesis.table.values()) == 1200
    ladder = read("ham_fewshot", "ham10000").ladder
    epochs = {name: ladder.of(name).classifier.epochs for name in ladder.strategies}
    assert epochs == {"cvae_resnet": 10, "dcgan": 10, "ddpm": 5}  # section V.A


def test_chaptoukaev_and_le_roux() -> None:
    subsets = read("medmnist_subsets", "paper")
    epochs = [subsets.generator.of(family).own.epochs for family in subsets.families]
    assert (subsets.families, epochs) == (["fc_autoencoder", "fc_cvae", "fc_gan"], [300, 300, 1000])
    assert subsets.experiment.classifier.epochs == 100
    assert optimiser_of(subsets.experiment.classifier) == ("sgd", 128, 1e-3, "constant")
    augment = read("medmnist_augment", "paper")
    for family, count in (("cvae_conv", 200), ("joint_vae", 200), ("attention_gan", 100)):
        assert augment.generator.of(family).own.epochs == count
    assert optimiser_of(augment.experiment.classifier) == ("sgd", 64, 1e-3, "constant")
    assert augment.generator.cvae_conv.early_stopping
    assert augment.generator.joint_vae.early_stopping
    for config in (subsets, augment):
        optimiser = build_optimiser(config.experiment.classifier.loop, [torch.nn.Parameter(torch.ones(1))])
        assert optimiser.param_groups[0]["momentum"] == 0.9  # Le Roux prints it, Chaptoukaev does not


def test_bingol_et_al() -> None:
    config = read("ham_cdcgan", "paper")
    assert sorted(config.corpus.ham10000.classes) == ["bcc", "bkl", "mel", "nv"]
    network = config.generator.sn_dcgan
    assert (network.epochs, network.gradient_penalty, network.loop.learning_rate) == (100, 10.0, 2e-4)
    assert config.synthesis.table == dict.fromkeys(config.corpus.ham10000.classes, 100)
