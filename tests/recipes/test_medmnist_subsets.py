"""The recipe medmnist_subsets on a tiny phantom: from beginning to end, resumed, refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from recipes.medmnist_subsets import MedMNISTSubsetsConfig, main
from skindiff.config import parse_config
from skindiff.corpora.few_shot import FractionSplitConfig
from skindiff.errors import ConfigError
from skindiff.training.from_scratch import FromScratchConfig
from skindiff.training.gan_config import FullyConnectedGANConfig
from skindiff.training.vae_config import FcAutoencoderConfig, FcCvaeConfig
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

SETTINGS = REPOSITORY / "recipes" / "medmnist_subsets"
FAMILIES = ("fc_autoencoder", "fc_cvae", "fc_gan")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> MedMNISTSubsetsConfig:
    config = MedMNISTSubsetsConfig(
        output_dir=str(tmp_path_factory.mktemp("subsets") / "run"),
        threads=1,
        corpus=tiny_corpus(28),
        fractions=FractionSplitConfig(validation_fraction=0.2, test_fraction=0.4),
        seeds=[0, 7],
        generator=FromScratchConfig(
            fc_autoencoder=FcAutoencoderConfig(channels=3, widths=[16], loop=tiny_loop()),
            fc_cvae=FcCvaeConfig(channels=3, widths=[16], loop=tiny_loop()),
            fc_gan=FullyConnectedGANConfig(channels=3, diversity_images=2, loop=tiny_loop()),
        ),
        synthesis=tiny_synthesis(),
        experiment=tiny_experiment(28, ["real", "real+syn"], test_curve=True),
    )
    main(config)
    return config


def test_four_columns_of_every_seed_share_one_split(study: MedMNISTSubsetsConfig) -> None:
    stages = stage_names(study.output_dir)
    for family in FAMILIES:
        assert stages.count(f"generator-{family.replace('_', '-')}") == 2
    assert stages.count("cell-real-syn-test_resnet") == 6
    report = report_of(study.output_dir)
    assert len(report["splits"]) == 1
    seeds = {(row["split_seed"], row["train_seed"]) for row in report["results"]}
    assert seeds == {(0, 0), (0, 7)}
    series = {(row["arm"], row["strategy"]) for row in report["summary"]}
    assert series == {("real", None), *(("real+syn", family) for family in FAMILIES)}
    assert {row["scenario"] for row in report["results"]} == {"phantom"}


def test_the_best_test_epoch_stands_beside_the_selected_one(study: MedMNISTSubsetsConfig) -> None:
    report = report_of(study.output_dir)
    rows = report["best_test_epoch"]
    assert len(rows) == 4
    assert {row["runs"] for row in rows} == {2}
    chosen = {
        (row["arm"], row["strategy"]): row["mean"] for row in report["summary"] if row["metric"] == "accuracy"
    }
    for row in rows:
        assert row["best_accuracy"] >= chosen[row["arm"], row["strategy"]] - 1e-9
    assert "best test epoch" in (Path(study.output_dir) / "report.md").read_text()


def test_the_autoencoder_shows_what_it_redrew(study: MedMNISTSubsetsConfig) -> None:
    report = report_of(study.output_dir)
    assert {row["strategy"] for row in report["synthesis"]} == set(FAMILIES)
    assert (Path(study.output_dir) / "pictures" / "samples-fc_autoencoder.png").is_file()


@pytest.mark.slow
def test_resume_repeats_nothing_and_a_further_seed_adds_only_its_own(study: MedMNISTSubsetsConfig) -> None:
    before = stage_times(study.output_dir)
    main(replace(study, resume=True))
    assert stage_times(study.output_dir) == before
    main(replace(study, resume=True, seeds=[0, 7, 8], families=["fc_cvae"]))
    after = stage_times(study.output_dir)
    assert {name: after[name] for name in before} == before
    assert len({Path(name).parts[-2] for name in set(after) - set(before)}) > 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "[1, 1]"], "seeds: \\[1, 1\\] must name at least one, and each once"),
        (["--per_class", "0"], "per_class: 0"),
        (["--fractions.test_fraction", "0"], "fractions.test_fraction: 0"),
        (["--corpus.name", "medmnist"], "fc_autoencoder.channels is 3, but the corpus is grey"),
        (["--corpus.name", "medmnist", "--corpus.medmnist.dataset", "chestmnist"], "several labels"),
        (["--experiment.arms", "[real+wieghted]"], "experiment.arms: 'real\\+wieghted' is not one of"),
    ],
)
def test_a_setting_that_cannot_work_is_named(arguments: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(MedMNISTSubsetsConfig, arguments, default=SETTINGS / "smoke.yaml")


@pytest.mark.parametrize("file", sorted(SETTINGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_config_beside_the_recipe_works(file: Path) -> None:
    config = parse_config(MedMNISTSubsetsConfig, ["--config", str(file)], default=file)
    assert config.output_dir == f"runs/medmnist_subsets_{file.stem}"
