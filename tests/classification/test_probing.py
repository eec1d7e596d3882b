"""Probes as classifiers of an experiment, beside networks that are fine-tuned."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from datasets import Dataset

from skindiff.classification import probing
from skindiff.classification.cells import Cell
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.experiment import Experiment
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.feature_store import FeatureStore
from skindiff.classification.probe import ProbeConfig
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from tests.classification.engine import (
    PLAIN,
    PROBES,
    drawn_from,
    make_experiment,
    run_spread,
)
from tests.conftest import REPOSITORY
from tests.training.test_loop_processes import TWO_PROCESSES


def probes(**changes: Any) -> ExperimentConfig:
    return replace(PROBES, **changes)


def probabilities(cells: list[Cell]) -> dict[str, np.ndarray]:
    return {cell.key.arm: cell.probabilities for cell in cells}


class Looked:
    """What was asked of the feature stores, and how often a backbone was loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[int, str, int]] = []
        self.loads = 0
        ask, load = FeatureStore.__call__, probing.load_backbone

        def asked(store: FeatureStore, images: Any, augment: Any = "none", views: int = 0) -> Any:
            self.calls.append((len(images), augment, views))
            return ask(store, images, augment, views)

        def loaded(*arguments: Any, **settings: Any) -> Any:
            self.loads += 1
            return load(*arguments, **settings)

        monkeypatch.setattr(FeatureStore, "__call__", asked)
        monkeypatch.setattr(probing, "load_backbone", loaded)


def test_probes_are_cells_without_a_training_curve(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path
) -> None:
    arms = ["real", "syn", "real+syn", "real+duplicates", "real+colour", "real+syn+mixed"]
    arms += ["real+syn+downweighted", "real+duplicates+downweighted", "real+syn+mixup", "real+syn+cutmix"]
    config = probes(arms=arms, mixing_probability=0.3)  # with one half and one partner it were real+syn
    experiment = make_experiment(tmp_path, accelerator, config, corpus, split)
    cells = experiment.cells(drawn_from(corpus, split.train, tmp_path))
    assert [cell.key.arm for cell in cells] == arms
    for cell in cells:
        assert (cell.key.architecture, cell.key.preset, cell.optimiser_steps) == ("probe:lite0", "grouped", 0)
        assert cell.probabilities.shape == (len(split.test["all"]), 2)
        assert cell.probabilities.sum(1) == pytest.approx(1)
    assert experiment.logs == {}
    # Every image once more is the same problem.
    found = probabilities(cells)
    assert found["real+duplicates"] == pytest.approx(found["real"], abs=1e-6)
    assert found["real+duplicates+downweighted"] == pytest.approx(found["real"], abs=1e-6)
    assert len({each.round(6).tobytes() for each in found.values()}) == len(arms) - 2


def test_views_are_for_training_rows_alone_and_the_backbone_is_loaded_once(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = Looked(monkeypatch)
    config = probes(arms=["real", "real+geometric"], probe=ProbeConfig(image_size=32, views=2))
    experiment = make_experiment(tmp_path, accelerator, config, corpus, split)
    cells = experiment.cells()
    Experiment(experiment.study, config, scenario="few-shot").cells()
    train, test = len(split.train), len(split.test["all"])
    assert looked.calls == [(train, "none", 0), (test, "none", 0), (train, "geometric", 2), (test, "none", 0)]
    assert looked.loads == 1
    assert not np.array_equal(cells[0].probabilities, cells[1].probabilities)
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 1


def test_classes_are_weighted_where_the_settings_leave_it_to_the_arm(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path
) -> None:
    fewer = replace(split, train=split.train[2:])  # two of the first class are missing
    config = probes(
        arms=["real", "real+weighted"], probe=ProbeConfig(image_size=32, balance="none", strengths=[0.001])
    )
    real, weighted = make_experiment(tmp_path, accelerator, config, corpus, fewer).cells()
    assert real.probabilities[:, 0].mean() < weighted.probabilities[:, 0].mean()


def test_a_probe_of_real_images_says_which_synthetic_ones_agree(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path
) -> None:
    experiment = make_experiment(tmp_path, accelerator, probes(arms=["real+syn:agreement"]), corpus, split)
    drawn = drawn_from(corpus, split.train, tmp_path)
    (cell,) = experiment.cells(drawn)
    assert cell.key.ratio == 0.5
    (stage,) = (tmp_path / "stages").glob("filter-agreement-*")
    scores = np.load(stage / "scores.npy")
    assert scores.shape == (len(drawn.dataset),)
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_probes_and_networks_stand_side_by_side(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path
) -> None:
    config = probes(architectures=["lesion_detector", "probe:lite0"], classifier=PLAIN, train_seeds=[0, 1])
    experiment = make_experiment(tmp_path, accelerator, config, corpus, split)
    cells = experiment.cells()
    assert [(cell.key.architecture, cell.key.train_seed, cell.optimiser_steps) for cell in cells] == [
        ("lesion_detector", 0, 2),
        ("lesion_detector", 1, 2),
        ("probe:lite0", 0, 0),
    ]
    assert list(experiment.logs) == ["lesion_detector real"]
    alone = make_experiment(tmp_path / "alone", accelerator, PROBES, corpus, split).cells()
    assert np.array_equal(alone[0].probabilities, cells[2].probabilities)


def test_an_interrupted_run_goes_on_to_the_same_cells(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = probes(arms=["real", "real+syn"])

    def cells(folder: Path) -> list[Cell]:
        experiment = make_experiment(folder, accelerator, config, corpus, split)
        return experiment.cells(drawn_from(corpus, split.train, folder))

    whole, keep = cells(tmp_path / "whole"), FeatureStore._keep

    def killed(store: FeatureStore, *arguments: Any) -> None:
        keep(store, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FeatureStore, "_keep", killed)
        with pytest.raises(KeyboardInterrupt):
            cells(tmp_path / "killed")
    for one, two in zip(whole, cells(tmp_path / "killed"), strict=True):
        assert np.array_equal(one.probabilities, two.probabilities)


@pytest.mark.slow  # test_engine shares out cells of networks in the same way
def test_two_processes_fit_the_probes_of_one(tmp_path: Path) -> None:
    alone = run_spread(tmp_path / "one", Accelerator(cpu=True), probes(arms=["real", "real+syn", "syn"]))
    command = [
        sys.executable,
        *TWO_PROCESSES,
        "-m",
        "tests.classification.engine",
        str(tmp_path / "two"),
        "probe",
    ]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    together = run_spread(tmp_path / "two", Accelerator(cpu=True), probes(arms=["real", "real+syn", "syn"]))
    for one, two in zip(alone, together, strict=True):
        assert one.key == two.key
        assert np.array_equal(one.probabilities, two.probabilities)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_curve": True}, r"x\.test_curve: true watches a training, and probe:lite0 has none"),
        ({"train_seeds": [0, 1]}, r"x\.train_seeds: \[0, 1\] would be the same probe"),
        (
            {"classifier": ClassifierConfig(image_size=32)},
            r"x\.classifier: its settings are those of networks",
        ),
        ({"architectures": ["resnet18"]}, r"x\.probe: its settings are those of linear probes"),
        ({"architectures": ["probe:lite1"]}, r"x\.architectures: timm knows no 'lite1'"),
        (
            {"arms": ["real", "real+weighted"]},
            r"x\.arms: 'real\+weighted' is 'real' over again, since probe\.balance is already 'class'",
        ),
        (
            {"arms": ["real+geometric"], "probe": ProbeConfig(augment="geometric")},
            r"probe\.augment is already 'geometric'",
        ),
    ],
)
def test_settings_without_effect_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        probes(**change).validate("x.")


def test_a_probe_is_not_fine_tuned() -> None:
    with pytest.raises(ConfigError, match="not fine-tuned: name a network here"):
        ClassifierConfig(architecture="probe:lite0").validate("classifier.")
