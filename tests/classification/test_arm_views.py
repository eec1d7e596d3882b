"""Arms that change how the classifier sees their rows, tests of any name, and the watched test curve."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from datasets import Dataset

from skindiff.classification import experiment
from skindiff.classification.arm_names import ARMS, is_arm, parse_arm
from skindiff.classification.best_epoch import best_epoch, mean_best_epochs
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.experiment import Experiment
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from skindiff.runs import RunFolder
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.loop_config import LoopConfig
from tests.studies import make_study

PLAIN = ClassifierConfig(
    architecture="lesion_detector",
    image_size=32,
    augment="none",
    balance="none",
    keep_weights=False,
    loop=LoopConfig(steps=2, batch_size=4, learning_rate=1e-3, validate_every=1),
)
SMALL = ExperimentConfig(arms=["real"], architectures=["lesion_detector"], classifier=PLAIN)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    return load_phantom(PhantomConfig(3, 32, ["nodule", "ring"], {"I": 6, "V": 6}))


@pytest.fixture(scope="module")
def split(corpus: Dataset) -> Split:
    rows = np.arange(len(corpus)).reshape(-1, 6)
    return Split(
        seed=5,
        train=sorted(rows[:, :3].ravel().tolist()),
        validation=sorted(rows[:, 3].tolist()),
        test={"all": sorted(rows[:, 4:].ravel().tolist())},
        dropped={},
        groups_crossing=0,
    )


def make(
    folder: Path, accelerator: Accelerator, corpus: Dataset, split: Split, config: ExperimentConfig
) -> Experiment:
    config.validate()
    study = make_study(folder, corpus, split, config=config, accelerator=accelerator)
    return Experiment(study, config, scenario="few-shot")


def test_an_arm_is_rows_and_views() -> None:
    for rows in ARMS:
        for views in ((), ("geometric",), ("weighted",), ("geometric", "weighted")):
            name = "+".join((rows, *views))
            arm = parse_arm(name)
            assert (arm.rows, arm.views, arm.name) == (rows, views, name)
            assert arm.needs_synthetic == (rows != "real")
            settings = arm.settings(PLAIN, "medmnist")
            assert settings.augment == ("medmnist" if "geometric" in views else "none")
            assert settings.balance == ("class" if "weighted" in views else "none")
            assert replace(settings, augment="none", balance="none") == PLAIN


@pytest.mark.parametrize(
    "name",
    ["real+weighted+geometric", "real+weighted+weighted", "weighted", "real+", "real+syn+", "", "syn+real"],
)
def test_what_is_no_arm_is_refused(name: str) -> None:
    assert not is_arm(name)
    with pytest.raises(ConfigError, match="unknown arm"):
        parse_arm(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"balance": "class"},
            r"x\.arms: 'real\+weighted' is 'real' over again.*classifier\.balance is already",
        ),
        (
            {"preset": "published"},
            r"x\.arms: 'real\+weighted' changes settings that classifier\.preset published",
        ),
    ],
)
def test_a_view_that_would_change_nothing_is_refused(change: dict[str, Any], message: str) -> None:
    config = replace(SMALL, arms=["real", "real+weighted"], classifier=replace(PLAIN, **change))
    with pytest.raises(ConfigError, match=message):
        config.validate("x.")


def test_views_reach_the_classifier_and_need_no_generator(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[str, str, int]] = []
    train = experiment.train_classifier

    def watched(*arguments: Any) -> Any:
        trained.append((arguments[1].augment, arguments[1].balance, len(arguments[2])))
        return train(*arguments)

    monkeypatch.setattr(experiment, "train_classifier", watched)
    arms = ["real", "real+geometric+weighted", "real+syn", "real+syn+weighted"]
    study = make(
        tmp_path, accelerator, corpus, split, replace(SMALL, arms=arms, geometric_augment="medmnist")
    )
    real = study.cells()
    assert [cell.key.arm for cell in real] == arms[:2]
    drawn = study.study.train.select(range(4))
    synthetic = Synthetic(
        drawn, tmp_path / "synthesis-0" / "data", "fc_cvae", "fc_cvae", "fc_cvae@0", {"planned": 4}
    )
    cells = study.cells(synthetic)
    assert [(cell.key.arm, cell.key.strategy) for cell in cells] == [
        ("real", None),
        ("real+geometric+weighted", None),
        ("real+syn", "fc_cvae"),
        ("real+syn+weighted", "fc_cvae"),
    ]
    rows = len(split.train)
    assert trained == [
        ("none", "none", rows),
        ("medmnist", "class", rows),
        ("none", "none", rows + 4),
        ("none", "class", rows + 4),
    ]
    assert {cell.key.test_group for cell in cells} == {"all"}
    assert study.best_epochs == []


def test_the_published_protocol_does_not_ask_for_a_dark_group(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path
) -> None:
    config = replace(SMALL, classifier=replace(PLAIN, preset="published", published_epochs=1))
    study = make(tmp_path, accelerator, corpus, replace(split, validation=[]), config)
    selection = study._selection(config.classifier)
    assert selection is not None
    assert len(selection) == len(split.test["all"])
    (cell,) = study.cells()
    assert cell.key.preset == "published"


def test_the_best_test_epoch_stands_beside_the_selected_one(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path
) -> None:
    plain = make(tmp_path, accelerator, corpus, split, SMALL)
    config = replace(SMALL, test_curve=True, classifier=replace(PLAIN, selection="accuracy"))
    study = make(tmp_path, accelerator, corpus, split, config)
    (cell,) = study.cells()
    assert study.cells()[0].key == cell.key
    (row,) = study.best_epochs
    accuracy = float((cell.probabilities.argmax(1) == cell.labels).mean())
    assert row["best_accuracy"] >= accuracy
    assert (row["epochs"], row["split_seed"], row["arm"]) == (2, 5, "real")
    # Watched or not, the same weights are chosen.
    unwatched = replace(config, test_curve=False)
    (same,) = make(tmp_path, accelerator, corpus, split, unwatched).cells()
    assert np.array_equal(same.probabilities, cell.probabilities)
    assert len(list((tmp_path / "stages").iterdir())) == 2
    assert plain.best_epochs == []


def test_best_epochs_are_averaged_over_seeds() -> None:
    log = [
        {"step": 1.0},
        {"step": 2.0, "test_all_accuracy": 0.6, "test_all_auroc": 0.9},
        {"step": 4.0, "test_all_accuracy": 0.8, "test_all_auroc": 0.7},
        {"step": 6.0, "test_all_accuracy": 0.8, "test_all_auroc": 0.8},
    ]
    best = best_epoch(log, "all")
    assert best == {
        "best_step": 4, "best_accuracy": 0.8, "auroc_at_best_accuracy": 0.7, "best_auroc": 0.9, "epochs": 3,
    }  # fmt: skip
    alone = best_epoch([{"step": 1.0, "test_all_accuracy": 1.0}], "all")
    assert alone["best_auroc"] is None
    with pytest.raises(ValueError, match=r"test_dark_accuracy: train with experiment\.test_curve"):
        best_epoch(log, "dark")
    key = {"arm": "real", "split_seed": 0, "train_seed": 0}
    rows = [key | best, key | {"train_seed": 1} | best | {"best_accuracy": 0.6}, key | {"arm": "syn"} | alone]
    real, syn = mean_best_epochs(rows)
    assert real == {
        "arm": "real",
        "best_accuracy": pytest.approx(0.7),
        "best_accuracy_sd": pytest.approx(0.02**0.5),
        "auroc_at_best_accuracy": pytest.approx(0.7),
        "auroc_at_best_accuracy_sd": pytest.approx(0.0),
        "best_auroc": pytest.approx(0.9),
        "best_auroc_sd": pytest.approx(0.0),
        "runs": 2,
    }
    assert (syn["best_auroc"], syn["best_accuracy_sd"], syn["runs"]) == (None, None, 1)


def test_stages_of_old_settings_keep_their_names(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[set[str]] = []
    stage = RunFolder.stage

    def noted(self: RunFolder, name: str, says: str = "", **inputs: Any) -> Any:
        keys.append(set(inputs) | set(inputs["classifier"]))
        return stage(self, name, **inputs)

    monkeypatch.setattr(RunFolder, "stage", noted)
    make(tmp_path, accelerator, corpus, split, SMALL).cells()
    assert not {"channels", "epochs", "selection", "watched"} & keys[0]
