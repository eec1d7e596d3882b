from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from skindiff.classification.cells import load_cell, save_cell
from skindiff.classification.rows import METRICS
from skindiff.classification.weighted_scores import weighted_auroc, weighted_scores, weighted_sensitivity
from skindiff.errors import RunFolderError
from skindiff.evaluation.statistics.paired_bootstrap import find_row, result_row
from skindiff.evaluation.statistics.summary import summarise
from skindiff.evaluation.statistics.verdicts import verdicts
from tests.evaluation.made_up import make_cells

KEY = {"scenario", "test_group", "generator", "strategy", "arm", "ratio", "architecture", "preset"}


def test_means_are_the_means_of_the_result_rows() -> None:
    cells = make_cells({"real": 1.0, "real+syn": 1.5}, train_seeds=(0, 1))
    rows = [result_row(cell) for cell in cells]
    assert KEY | {"split_seed", "train_seed", "optimiser_steps", *METRICS} <= set(rows[0])
    summary = summarise(cells, replicates=50)
    assert len(summary) == 2 * len(METRICS)
    for metric in METRICS:
        by_arm = {
            arm: np.mean([row[metric] for row in rows if row["arm"] == arm]) for arm in ("real", "real+syn")
        }
        row = find_row(summary, arm="real+syn", metric=metric)
        assert row["mean"] == pytest.approx(by_arm["real+syn"], abs=1e-12)
        assert row["delta"] == pytest.approx(by_arm["real+syn"] - by_arm["real"], abs=1e-12)
        assert row["ci_low"] < row["mean"] < row["ci_high"]
        assert (row["cells"], row["paired_cells"], row["images"]) == (10, 10, 120)
        assert find_row(summary, arm="real", metric=metric)["delta"] is None


def test_the_calibration_error_is_described_and_not_judged() -> None:
    summary = summarise(make_cells({"real": 1.0, "real+syn": 3.0}, seed=3), replicates=200)
    row = find_row(summary, arm="real+syn", metric="calibration_error")
    assert row["delta_ci_low"] < row["delta"] < row["delta_ci_high"]
    assert (row["role"], row["chance"], row["above_chance"]) == (None, None, None)
    assert verdicts(summary, "calibration_error") == []
    sensitivity = find_row(summary, arm="real+syn", metric="sensitivity_at_90_specificity")
    assert (sensitivity["role"], sensitivity["chance"]) == ("exploratory", pytest.approx(0.1))


def test_weights_count_like_repeated_rows() -> None:
    rng = np.random.default_rng(1)
    labels, chances = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60).round(1)
    weights = rng.integers(0, 4, (3, 60)).astype(float)
    scores = weighted_scores(labels, chances, weights)
    for replicate in range(3):
        rows = np.repeat(np.arange(60), weights[replicate].astype(int))
        repeated = weighted_scores(labels[rows], chances[rows], np.ones((1, len(rows))))
        for metric in METRICS:
            assert scores[metric][replicate] == pytest.approx(repeated[metric][0], abs=1e-12)
        auroc = roc_auc_score(labels == 1, chances[:, 1], sample_weight=weights[replicate])
        mine = weighted_auroc(labels == 1, chances[:, 1], weights)[replicate]
        assert mine == pytest.approx(auroc, abs=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_class_of_few_and_one_of_many_are_scored_alike(share: float) -> None:
    rng = np.random.default_rng(2)
    positive, scores = rng.random(200) < share, rng.random(200).round(1)
    weights = rng.integers(0, 3, (4, 200)).astype(float)
    weights[1, positive], weights[2, ~positive] = 0, 0
    found = weighted_auroc(positive, scores, weights)
    assert np.isnan(found[1:3]).all()
    for replicate in (0, 3):
        assert found[replicate] == pytest.approx(
            roc_auc_score(positive, scores, sample_weight=weights[replicate]), abs=1e-12
        )


def test_the_threshold_is_found_far_below_the_highest_negatives() -> None:
    positive = np.arange(100) % 2 == 0
    scores = np.arange(100) / 100
    weights = np.ones((3, 100))
    weights[1, 40:] = positive[40:]  # the thirty highest negatives weigh nothing
    weights[2] = positive
    found = weighted_sensitivity(positive, scores, weights, 0.9)
    rows = np.flatnonzero(weights[1])
    alone = weighted_sensitivity(positive[rows], scores[rows], np.ones((1, len(rows))), 0.9)
    assert found[0] == 0.1
    assert found[1] == alone[0] == 0.64  # of 20 negatives two may be called, and 35 is the third
    assert np.isnan(found[2])


def test_a_planted_gain_is_found_and_a_planted_loss_too() -> None:
    cells = make_cells({"real": 1.0, "syn": 0.4, "real+syn": 1.6, "real+duplicates": 1.0}, seed=3)
    summary = summarise(cells, replicates=500)
    gained = find_row(summary, arm="real+syn", metric="balanced_accuracy", reference="real")
    lost = find_row(summary, arm="syn", metric="balanced_accuracy", reference="real")
    nothing = find_row(summary, arm="real+duplicates", metric="balanced_accuracy")
    control = find_row(summary, arm="real+syn", metric="balanced_accuracy", reference="real+duplicates")
    assert gained["delta_ci_low"] > 0 > lost["delta_ci_high"]
    assert nothing["delta_ci_low"] <= 0 <= nothing["delta_ci_high"]
    assert control["delta_ci_low"] > 0
    assert control["paired_cells"] == 5
    assert find_row(summary, arm="real", metric="f1")["reference"] is None


def test_pairing_makes_a_difference_sharper_than_its_parts() -> None:
    row = find_row(
        summarise(make_cells({"real": 1.0, "syn": 1.2}), replicates=500), arm="syn", metric="accuracy"
    )
    assert row["delta_ci_high"] - row["delta_ci_low"] < 0.7 * (row["ci_high"] - row["ci_low"])


def test_images_of_one_group_count_together() -> None:
    cells = make_cells({"real": 1.0}, copies=6, images=120)
    alone = [replace(cell, group_ids=cell.image_ids) for cell in cells]
    clustered, naive = (
        find_row(summarise(kind, replicates=500), metric="accuracy") for kind in (cells, alone)
    )
    assert (clustered["groups"], naive["groups"]) == (20, 120)
    assert clustered["ci_high"] - clustered["ci_low"] > 1.6 * (naive["ci_high"] - naive["ci_low"])


def test_a_spread_between_seeds_widens_the_interval() -> None:
    def width(spread: float) -> float:
        cells = make_cells({"real": 0.5}, seed_spread=spread, seed=5)
        row = find_row(summarise(cells, replicates=500), metric="accuracy")
        return float(row["ci_high"] - row["ci_low"])

    assert width(1.5) > 1.3 * width(0.0)


def test_coverage_of_a_null_difference_is_about_what_it_says() -> None:
    """Two arms of equal skill, with seeds that matter: the interval holds 0 about 95 times in 100."""
    covered = []
    for study in range(120):
        cells = make_cells({"real": 1.0, "syn": 1.0}, images=80, seed_spread=0.25, seed=100 + study)
        row = find_row(summarise(cells, metrics=["accuracy"], replicates=200), arm="syn")
        covered.append(row["delta_ci_low"] <= 0 <= row["delta_ci_high"])
    assert np.mean(covered) >= 0.9


def test_the_summary_depends_on_nothing_but_the_cells() -> None:
    cells = make_cells({"real": 1.0, "syn": 1.2}, train_seeds=(0, 1))
    once = summarise(cells, replicates=100)
    assert once == summarise(cells, replicates=100)
    assert once != summarise(cells, replicates=100, seed=1)
    names = ("mean", "ci_low", "ci_high", "delta_ci_low", "delta_ci_high")
    for row in summarise(cells[::-1], replicates=100):
        same = find_row(once, arm=row["arm"], metric=row["metric"])
        for name in names:
            assert row[name] is same[name] is None or row[name] == pytest.approx(same[name], abs=1e-12)


def test_only_cells_of_both_arms_are_paired() -> None:
    cells = make_cells({"real": 1.0, "syn": 1.2})
    kept = [cell for cell in cells if cell.key.arm == "syn" or cell.key.split_seed in (1, 3)]
    row = find_row(summarise(kept, replicates=50), arm="syn", metric="accuracy")
    assert (row["cells"], row["paired_cells"]) == (5, 2)
    strangers = [
        replace(cell, key=cell.key._replace(preset="published")) for cell in cells if cell.key.arm == "real"
    ]
    apart = [cell for cell in cells if cell.key.arm == "syn"] + strangers
    assert find_row(summarise(apart, replicates=50), arm="syn", metric="accuracy")["delta"] is None


def test_one_seed_and_seedless_cells_are_summarised() -> None:
    cells = make_cells({"real": 1.0, "syn": 1.2}, split_seeds=(0,))
    seedless = [replace(cell, key=cell.key._replace(split_seed=None, train_seed=None)) for cell in cells]
    row = find_row(summarise(seedless, replicates=100), arm="syn", metric="auroc")
    assert row["delta_ci_low"] < row["delta"] < row["delta_ci_high"]


def test_one_key_twice_is_refused() -> None:
    cells = make_cells({"real": 1.0}, split_seeds=(0,))
    with pytest.raises(ValueError, match="two cells have the key"):
        summarise(cells + cells)


def test_a_cell_survives_the_disk_byte_for_byte(tmp_path: Path) -> None:
    cell = make_cells({"syn": 1.0}, split_seeds=(0,))[0]
    cell = replace(cell, skin_types=(None, *cell.skin_types[1:]))
    save_cell(cell, tmp_path / "one.npz")
    save_cell(load_cell(tmp_path / "one.npz"), tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert result_row(load_cell(tmp_path / "two.npz")) == result_row(cell)
    (tmp_path / "torn.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:500])
    for name in ("torn.npz", "absent.npz"):
        with pytest.raises(RunFolderError, match=f"{name}: no readable predictions"):
            load_cell(tmp_path / name)
