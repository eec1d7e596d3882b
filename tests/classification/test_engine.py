"""Ratios, filters, mixing and RandAugment as arms; leaks refused; the same cells from one process and two."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import ClassLabel, Dataset
from docstring_parser import parse_from_object

from skindiff.classification import experiment, fine_tuning
from skindiff.classification.arm_names import FILTERS, is_arm, parse_arm
from skindiff.classification.cells import Cell
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.contrasts import ChoiceConfig, PrimaryContrast
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.fine_tuning import train_classifier
from skindiff.classification.leaks import comparison_flags, copies_crossing
from skindiff.classification.networks import load_classifier
from skindiff.classification.prediction import predict
from skindiff.classification.probe import ProbeConfig
from skindiff.classification.synthetic_use import ALIKE
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError, SplitError
from skindiff.training.samplers import Sampler
from tests.classification.engine import (
    PLAIN,
    PROBES,
    SMALL,
    SPREAD,
    drawn_from,
    make_experiment,
    make_split,
    run_spread,
)
from tests.conftest import REPOSITORY
from tests.evaluation.made_up import make_cells
from tests.training.test_loop_processes import TWO_PROCESSES


class Trainings:
    """What the experiment has trained on, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[Any] = []
        train = experiment.train_classifier

        def watched(*arguments: Any) -> Any:
            self.calls.append(arguments)
            return train(*arguments)

        monkeypatch.setattr(experiment, "train_classifier", watched)


def keys(cells: list[Cell]) -> list[tuple[str, float | None]]:
    return [(cell.key.arm, cell.key.ratio) for cell in cells]


def test_names_of_filters_and_new_views() -> None:
    for name in ("real+syn:agreement", "syn:random+weighted", "real+syn+randaugment+mixed"):
        assert parse_arm(name).name == name
    for name in ("real:agreement", "real+duplicates:tone", "real+syn:best", "real+mixed+syn"):
        assert not is_arm(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ["real+mixed"]}, "mixes nothing"),
        ({"arms": ["real+downweighted"]}, r"has no rows of two kinds; \+downweighted goes with real\+syn"),
        ({"arms": ["syn+pretrained"]}, r"has no rows of two kinds; \+pretrained goes with real\+syn"),
        ({"arms": ["real+syn+mixed+downweighted"]}, r"take one of \+mixed and \+downweighted"),
        ({"pretraining_share": 1.0, "arms": ["real+syn+pretrained"]}, "pretraining_share: 1.0 is outside"),
        ({"blending_alpha": 0.0}, "blending_alpha: 0.0 is not above 0"),
        ({"blending_alpha": 0.4}, r"changes nothing, as no arm ends in \+mixup or \+cutmix"),
        (
            {
                "arms": ["real+syn+mixup"],
                "architectures": ["probe:lite0"],
                "classifier": ClassifierConfig(),
                "probe": ProbeConfig(augment="flip"),
            },
            "set probe.augment to none",
        ),
        ({"arms": ["real+own_statistics"]}, r"has no rows of two kinds; \+own_statistics goes with"),
        (
            {"arms": ["real+syn+own_statistics"], "architectures": ["vit_tiny_patch16_224"]},
            "vit_tiny_patch16_224 has no batch norm that is trained",
        ),
        (
            {
                "arms": ["real+syn+own_statistics"],
                "architectures": ["vit_tiny_patch16_224", "lesion_detector"],  # whatever their order
                "classifier": replace(PLAIN, image_size=224),
            },
            "vit_tiny_patch16_224 has no batch norm that is trained",
        ),
        (
            {"arms": ["real+syn+pretrained"], "architectures": ["lesion_detector", "probe:lite0"]},
            "a probe is fitted on all rows at once",
        ),
        ({"synthetic_share": 1.0, "arms": ["real+syn+downweighted"]}, "synthetic_share: 1.0 is outside"),
        ({"synthetic_share": 0.3}, r"synthetic_share: 0.3 changes nothing, as no arm ends in \+downweighted"),
        ({"choice": ChoiceConfig(share=1.0)}, "choice.share: 1.0 is outside above 0 to below 1"),
        ({"choice": ChoiceConfig(), "arms": ["real", "syn"]}, "choice: primary says in which score"),
        (
            {
                "choice": ChoiceConfig(),
                "arms": ["real", "real+duplicates"],
                "primary": PrimaryContrast("real+duplicates"),
            },
            "choice: no arm has synthetic images",
        ),
        ({"mixing_probability": 0.3}, r"mixing_probability: 0.3 changes nothing, as no arm ends in \+mixed"),
        ({"arms": ["real+geometric+randaugment"]}, "two augmentations"),
        ({"ratios": [0.5, 0.0]}, "ratios"),
        ({"mixing_probability": 0.0}, "mixing_probability: 0.0"),
        ({"arms": ["real+syn:best"]}, "'real\\+syn:best' is not one of"),
    ],
)
def test_settings_that_cannot_work_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **change).validate()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("arms", "DA-Fusion|DISEF, DataDream|1710.09412|1905.04899|2210.07574|2312.02253|networks alone"),
        ("mixing_probability", "2302.07944|networks and probes"),
        ("synthetic_share", "2407.10910|networks and probes"),
        ("pretraining_share", "2210.07574|A probe has no steps"),
        ("blending_alpha", "1905.04899|1710.09412|networks and probes"),
        ("ratios", "networks and probes"),
    ],
)
def test_a_use_names_its_source_and_its_classifiers(setting: str, words: str) -> None:
    help_of = {one.arg_name: one.description or "" for one in parse_from_object(ExperimentConfig).params}
    said = " ".join(help_of[setting].split())
    assert all(each in said for each in words.split("|"))


def test_ratios_go_with_what_adds_to_real_rows(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)
    arms = ["real", "syn", "real+syn", "real+duplicates"]
    study = make_experiment(
        tmp_path, accelerator, replace(SMALL, arms=arms, ratios=[0.5, 2.0]), corpus, split
    )
    rows = len(split.train)
    cells = study.cells(drawn_from(corpus, split.train, tmp_path, times=3))
    assert keys(cells) == [
        ("real", None),
        ("syn", 3.0),
        ("real+syn", 0.5),
        ("real+syn", 2.0),
        ("real+duplicates", 0.5),
        ("real+duplicates", 2.0),
    ]
    sizes = [len(call[2]) for call in trainings.calls]
    assert sizes == [rows, 3 * rows, rows * 3 // 2, 3 * rows, rows * 3 // 2, 3 * rows]
    assert {cell.optimiser_steps for cell in cells} == {2}
    config = replace(SMALL, arms=["real+syn"], ratios=[10.0])
    study, drawn = (
        make_experiment(tmp_path, accelerator, config, corpus, split),
        drawn_from(corpus, [0, 1], tmp_path),
    )
    with pytest.raises(ConfigError, match="synthetic rows and there are 2"):
        study.cells(drawn)


@pytest.mark.slow
def test_every_filter_keeps_the_same_share_of_every_class(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)
    config = replace(SMALL, arms=[f"real+syn:{name}" for name in FILTERS])
    config.filters.features.image_size = 64
    study = make_experiment(tmp_path, accelerator, config, corpus, split)
    synthetic = drawn_from(corpus, split.train, tmp_path, times=2)
    cells = study.cells(synthetic)
    rows = len(split.train)
    assert keys(cells) == [(arm, 1.0) for arm in config.arms]
    for call in trainings.calls:
        assert Counter(call[2].labels.tolist()) == {0: rows, 1: rows}
    stages = {path.name.rsplit("-", 1)[0] for path in (tmp_path / "stages").iterdir()}
    assert {f"filter-{name}" for name in FILTERS} <= stages
    before = len(trainings.calls)
    study.cells(synthetic)
    assert len(trainings.calls) == before


def test_a_downweighted_arm_weighs_what_it_adds(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)
    arms = ["real+syn", "real+syn+downweighted", "real+duplicates+downweighted"]
    config = replace(SMALL, arms=arms, synthetic_share=0.25)
    study = make_experiment(tmp_path, accelerator, config, corpus, split)
    cells = study.cells(drawn_from(corpus, split.train, tmp_path, times=2))
    assert len({cell.probabilities.tobytes() for cell in cells}) == 3
    rows = len(split.train)
    assert trainings.calls[0][8] == ALIKE
    for call in trainings.calls[1:]:
        assert (call[8].share, call[8].real) == (0.25, rows)
    other = replace(config, synthetic_share=0.5)
    make_experiment(tmp_path, accelerator, other, corpus, split).cells(
        drawn_from(corpus, split.train, tmp_path, times=2)
    )
    assert len(trainings.calls) == 5  # the two arms with another share, and nothing else


def test_a_pretrained_arm_shows_what_it_adds_first(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[np.ndarray] = []
    make = fine_tuning._sampler

    def spied(*arguments: Any) -> Sampler:
        sampler = make(*arguments)

        def sample(step: int) -> np.ndarray:
            shown.append(sampler(step))
            return shown[-1]

        return sample

    monkeypatch.setattr(fine_tuning, "_sampler", spied)
    loop = replace(PLAIN.loop, steps=8, validate_every=2)
    classifier = replace(PLAIN, loop=loop, balance="class")
    config = replace(SMALL, arms=["real+syn+pretrained"], classifier=classifier, pretraining_share=0.25)
    study = make_experiment(tmp_path, accelerator, config, corpus, split)
    study.cells(drawn_from(corpus, split.train, tmp_path, times=2))
    rows = len(split.train)
    assert [bool((batch >= rows).all()) for batch in shown] == [True] * 2 + [False] * 6
    assert all((batch < rows).all() for batch in shown[2:])
    log = next(iter(study.logs.values()))
    assert [row["step"] for row in log if "validation_balanced_accuracy" in row] == [2, 4, 6, 8]
    # All of these were looked at, but weights from before the first real image are not kept.
    assert fine_tuning._Selection(classifier, tmp_path / "best", 2).score(log[1]) > float("-inf")
    assert fine_tuning._Selection(classifier, tmp_path / "best", 3).score(log[1]) == float("-inf")


def test_mixing_shows_drawn_images_in_place_of_their_own_source(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)
    config = replace(SMALL, arms=["real+syn+mixed"], mixing_probability=0.3)
    study = make_experiment(tmp_path, accelerator, config, corpus, split)
    synthetic = drawn_from(corpus, split.train[:4], tmp_path, times=2)
    study.cells(synthetic)
    mixing, rows = trainings.calls[0][8].mixing, len(split.train)
    assert mixing.partners[0] == (rows, rows + 4)
    assert mixing.partners[4] == ()
    shown = np.concatenate([mixing.sampler(lambda step: np.arange(rows), "t")(step) for step in range(2000)])
    shown = shown.reshape(-1, rows)
    replaced = shown != np.arange(rows)
    assert abs(replaced[:, :4].mean() - 0.3) < 0.02
    assert not replaced[:, 4:].any()
    assert set(shown[replaced[:, 0], 0].tolist()) == {rows, rows + 4}


@pytest.mark.parametrize("part", ["validation", "test"])
def test_images_drawn_from_held_out_ones_are_refused(
    part: str, accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path
) -> None:
    held_out = split.validation if part == "validation" else split.test["all"]
    study = make_experiment(tmp_path, accelerator, replace(SMALL, arms=["real+syn"]), corpus, split)
    leaking = drawn_from(corpus, [*split.train[:3], held_out[0]], tmp_path)
    with pytest.raises(SplitError, match="use its training rows as sources"):
        study.cells(leaking)
    # The group counts, not the image: its twin was trained on, but belongs to a tested patient.
    groups = list(corpus["group_id"])
    groups[split.train[0]] = groups[held_out[0]]
    related = corpus.remove_columns("group_id").add_column("group_id", groups)
    study = make_experiment(tmp_path, accelerator, replace(SMALL, arms=["real+syn"]), related, split)
    with pytest.raises(SplitError, match="whose group"):
        study.cells(drawn_from(related, split.train[:3], tmp_path))
    assert not list((tmp_path / "stages").glob("cell-*"))


def test_a_label_that_differs_from_its_sources_is_refused(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path
) -> None:
    study = make_experiment(tmp_path, accelerator, replace(SMALL, arms=["real+syn"]), corpus, split)
    drawn = drawn_from(corpus, split.train, tmp_path)
    flipped = drawn.dataset.map(lambda row: {"label": 1 - row["label"]}, load_from_cache_file=False)
    with pytest.raises(SplitError, match=r"is labelled ring, its source \S+ nodule"):
        study.cells(replace(drawn, dataset=flipped))
    renamed = drawn.dataset.cast_column("label", ClassLabel(names=["ring", "nodule"]))
    with pytest.raises(ConfigError, match="cannot be joined"):
        study.cells(replace(drawn, dataset=renamed))


def test_copies_across_the_split_and_unequal_steps_are_flagged(corpus: Dataset, split: Split) -> None:
    assert copies_crossing(corpus, split) == 0
    rows = list(range(len(corpus)))
    rows[split.test["all"][0]] = split.train[0]
    planted = corpus.select(rows)
    assert copies_crossing(planted, split) == 1
    cells = make_cells({"real": 0.0, "real+syn": 0.0})
    fair = [{"seed": 5, "groups_crossing": 0, "copies_crossing": 0}]
    assert comparison_flags(cells, fair, {"images": 9}) == []
    (unknown,) = comparison_flags(cells, fair, {"images": 9, "ungrouped": 4})
    assert unknown.startswith("Patients unknown: leakage not excluded. 4 of 9 images")
    unfair = [{"seed": 5, "groups_crossing": 2, "copies_crossing": 1}]
    longer = [replace(c, optimiser_steps=700) if c.key.arm != "real" else c for c in cells]
    first, second, third = comparison_flags(longer, unfair, {})
    assert "2 in split 5" in first
    assert "1 in split 5" in second
    assert "byte for byte" in second
    assert "real+syn 700" in third


@pytest.mark.slow  # tests/test_accelerate_configs.py has two processes of a whole study
def test_two_processes_train_the_cells_of_one(tmp_path: Path) -> None:
    alone = run_spread(tmp_path / "one", Accelerator(cpu=True))
    command = [
        sys.executable,
        *TWO_PROCESSES,
        "-m",
        "tests.classification.engine",
        str(tmp_path / "two"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    together = run_spread(tmp_path / "two", Accelerator(cpu=True))
    assert [cell.key for cell in together] == [cell.key for cell in alone]
    assert len(alone) == len(SPREAD.arms) * len(SPREAD.train_seeds)
    for one, two in zip(alone, together, strict=True):
        assert np.array_equal(one.probabilities, two.probabilities)


def test_several_trainings_of_a_cell_are_averaged(
    tmp_path: Path, accelerator: Accelerator, corpus: Dataset
) -> None:
    several = replace(SMALL, trainings=2, classifier=replace(PLAIN, keep_weights=True))
    experiment = make_experiment(tmp_path, accelerator, several, corpus, make_split(corpus))
    (cell,) = experiment.cells()
    (folder,) = (tmp_path / "stages").glob("cell-real-*")
    models = [load_classifier(place) for place in (folder, folder / "training-1")]
    (test,) = experiment.study.tests.values()
    alone = [predict(accelerator, model, test) for model in models]
    np.testing.assert_allclose(cell.probabilities, np.mean(alone, axis=0), atol=1e-6)
    assert np.abs(alone[0] - alone[1]).max() > 1e-4
    with pytest.raises(ConfigError, match="trainings: 2 are averaged for networks"):
        replace(PROBES, trainings=2).validate()


def test_where_nothing_is_selected_the_last_averaged_weights_stay(
    tmp_path: Path, accelerator: Accelerator, corpus: Dataset
) -> None:
    config = replace(PLAIN, keep_weights=True, loop=replace(PLAIN.loop, steps=6, ema_decay=0.5))
    split, names = make_split(corpus), corpus.features["label"].names
    train, validation = corpus.select(split.train), corpus.select(split.validation)
    weights = {}
    for name, own, judged in (
        ("last", config, None),
        ("none", replace(config, selection="none"), validation),
        ("raw", replace(config, loop=replace(config.loop, ema_decay=0.0)), None),
    ):
        model = train_classifier(accelerator, own, train, judged, names, tmp_path / name, 0)
        weights[name] = torch.cat([part.detach().flatten() for part in model.parameters()])
    assert torch.equal(weights["none"], weights["last"])
    assert not torch.equal(weights["raw"], weights["last"])


def test_a_split_that_is_known_to_cut_groups_may_transfer_all_it_trains_on(
    accelerator: Accelerator, corpus: Dataset, split: Split, tmp_path: Path
) -> None:
    groups = list(corpus["group_id"])
    groups[split.train[0]] = groups[split.test["all"][0]]
    related = corpus.remove_columns("group_id").add_column("group_id", groups)
    published = replace(split, groups_crossing=1)
    study = make_experiment(tmp_path, accelerator, replace(SMALL, arms=["real+syn"]), related, published)
    assert study.cells(drawn_from(related, split.train, tmp_path))
    with pytest.raises(SplitError, match="use its training rows as sources"):
        study.cells(drawn_from(related, [split.test["all"][0]], tmp_path))
