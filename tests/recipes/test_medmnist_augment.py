"""The recipe medmnist_augment on a tiny phantom: from beginning to end, resumed, refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from recipes.medmnist_augment import MedMNISTAugmentConfig, main
from skindiff.config import parse_config
from skindiff.corpora.few_shot import FractionSplitConfig
from skindiff.errors import ConfigError
from skindiff.training.from_scratch import FromScratchConfig
from skindiff.training.gan_config import AttentionGANConfig
from skindiff.training.vae_config import CvaeConvConfig, JointVAEConfig
from tests.conftest import REPOSITORY
from tests.recipes.tiny_class_study import (
    report_of,
    stage_names,
    stage_times,
    tiny_corpus,
    tiny_experiment,
    tiny_loop,
    tiny_synthesis,
)

pytestmark = pytest.mark.slow  # test_medmnist_subsets.py has the same engine

SETTINGS = REPOSITORY / "recipes" / "medmnist_augment"
FAMILIES = ("cvae_conv", "joint_vae", "attention_gan")
ARMS = ("real", "real+weighted", "real+geometric", "real+syn", "real+syn+weighted")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> MedMNISTAugmentConfig:
    config = MedMNISTAugmentConfig(
        output_dir=str(tmp_path_factory.mktemp("augment") / "run"),
        threads=1,
        corpus=tiny_corpus(28),
        fractions=FractionSplitConfig(validation_fraction=0.2, test_fraction=0.4),
        seeds=[0],
        generator=FromScratchConfig(
            cvae_conv=CvaeConvConfig(loop=tiny_loop(steps=10, batch_size=8)),
            joint_vae=JointVAEConfig(loop=tiny_loop(steps=60, batch_size=8)),
            attention_gan=AttentionGANConfig(width=16, diversity_images=2, loop=tiny_loop()),
        ),
        # So little training draws one colour, which is refused, but for codes far from the usual.
        synthesis=tiny_synthesis(
            budget="inverse_frequency",
            total=6,
            redraws="real",
            options={"cvae_conv": {"temperature": 100.0}},
        ),
        experiment=tiny_experiment(28, ARMS, geometric_augment="medmnist"),
    )
    main(config)
    return config


def test_every_arm_is_trained_with_and_without_weighting(study: MedMNISTAugmentConfig) -> None:
    stages = stage_names(study.output_dir)
    assert stages.count("cell-real-weighted-test_resnet") == 1
    assert stages.count("cell-real-syn-weighted-test_resnet") == 3
    series = {(row["arm"], row["strategy"]) for row in report_of(study.output_dir)["summary"]}
    expected = {(arm, name) for arm in ARMS[3:] for name in FAMILIES} | {(arm, None) for arm in ARMS[:3]}
    assert series == expected


def test_the_joint_vae_redraws_every_training_image(study: MedMNISTAugmentConfig) -> None:
    report = report_of(study.output_dir)
    train = report["splits"][0]["sizes"]["train"]
    planned = {row["strategy"]: row["planned"] for row in report["synthesis"]}
    assert planned == {"cvae_conv": 6, "attention_gan": 6, "joint_vae": train}


@pytest.mark.slow
def test_resume_repeats_nothing(study: MedMNISTAugmentConfig) -> None:
    before, text = stage_times(study.output_dir), (Path(study.output_dir) / "report.md").read_bytes()
    main(replace(study, resume=True))
    assert stage_times(study.output_dir) == before
    assert (Path(study.output_dir) / "report.md").read_bytes() == text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "[]"], "seeds: \\[\\] must name at least one"),
        (
            ["--fractions.validation_fraction", "0", "--generator.cvae_conv.early_stopping", "true"],
            "generator.cvae_conv.early_stopping is true, and the splits have no validation images",
        ),
        (["--synthesis.redraws", "twice"], "synthesis.redraws"),
        (["--experiment.classifier.balance", "class"], "real\\+weighted"),
        (["--corpus.name", "medmnist"], "cvae_conv.channels is 3, but the corpus is grey: set it to 1"),
    ],
)
def test_a_setting_that_cannot_work_is_named(arguments: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(MedMNISTAugmentConfig, arguments, default=SETTINGS / "smoke.yaml")


@pytest.mark.parametrize("file", sorted(SETTINGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_config_beside_the_recipe_works(file: Path) -> None:
    config = parse_config(MedMNISTAugmentConfig, ["--config", str(file)], default=file)
    assert config.output_dir == f"runs/medmnist_augment_{file.stem}"
