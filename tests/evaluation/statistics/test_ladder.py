"""Changes between rungs: paired on one cut, independent where the cut changes."""

import numpy as np
import pytest
from scipy import stats

from skindiff.classification.cells import Cell, CellKey
from skindiff.classification.ladder import Rung
from skindiff.evaluation.statistics.estimates import Estimate, unpaired
from skindiff.evaluation.statistics.ladder import ladder_rows

RUNGS = [
    Rung("as published", "published", "real+syn", "real", False, False),
    Rung("the same number of optimiser steps", "published", "real+syn", "real", True, False),
    Rung("no group across the split", "fair", "real+syn", "real", True, False),
]
IMAGES, SPLITS = 120, 4


def cells_of(rung: Rung, right: dict[str, float], prefix: str) -> list[Cell]:
    """Cells of a rung whose arms name so much of the images right; noise is shared by rungs of a cut."""
    found = []
    for split in range(SPLITS):
        noise = np.random.default_rng([split, len(prefix)]).random((IMAGES, 1))
        labels = np.arange(IMAGES) % 2
        for arm, share in right.items():
            hit = (noise[:, 0] < share).astype(float)
            first = np.where(labels == 0, hit, 1 - hit)
            strategy = None if arm == "real" else "ddpm"
            key = CellKey(rung.name, "all", None, strategy, arm, None, "net", "grouped", split, 0)
            ids = tuple(f"{prefix}{image}" for image in range(IMAGES))
            found.append(
                Cell(key, ("a", "b"), ids, ids, (None,) * IMAGES, labels, np.stack([first, 1 - first], 1), 10)
            )
    return found


def test_a_change_is_paired_on_one_cut_and_independent_between_cuts() -> None:
    cells = {
        "as published": cells_of(RUNGS[0], {"real": 0.6, "real+syn": 0.75}, "image"),
        "the same number of optimiser steps": cells_of(RUNGS[1], {"real": 0.7, "real+syn": 0.75}, "image"),
        "no group across the split": cells_of(RUNGS[2], {"real": 0.7, "real+syn": 0.75}, "other image"),
    }
    rows = ladder_rows(RUNGS, cells, strategy="ddpm", metric="accuracy", replicates=400)
    assert [row["rung"] for row in rows] == [rung.name for rung in RUNGS]
    assert [row["paired"] for row in rows] == [None, True, False]
    for row in rows:
        own = cells[row["rung"]]
        scores = {
            arm: np.mean([cell.probabilities.argmax(1) == cell.labels for cell in own if cell.key.arm == arm])
            for arm in ("real", "real+syn")
        }
        assert row["mean"] == pytest.approx(scores["real+syn"])
        assert row["gain"] == pytest.approx(scores["real+syn"] - scores["real"])
        assert row["gain_ci_low"] < row["gain"] < row["gain_ci_high"]
        assert (row["runs"], row["images"]) == (SPLITS, IMAGES)
    first, second, third = rows
    assert second["change"] == pytest.approx(second["gain"] - first["gain"])
    assert third["change"] == pytest.approx(third["gain"] - second["gain"])
    widths = {row["rung"]: row["change_ci_high"] - row["change_ci_low"] for row in rows[1:]}
    # What both rungs share is in a difference of independent gains, and not in a paired one.
    both = np.hypot(*(row["gain_ci_high"] - row["gain_ci_low"] for row in rows[:2]))
    assert widths["the same number of optimiser steps"] < 0.8 * both
    assert widths["no group across the split"] > widths["the same number of optimiser steps"]
    assert second["change_ci_high"] < 0


def test_a_row_is_of_the_runs_that_both_arms_have() -> None:
    whole = cells_of(RUNGS[0], {"real": 0.6, "real+syn": 0.75}, "image")
    part = [cell for cell in whole if cell.key.arm == "real" or cell.key.split_seed == 1]
    (row,) = ladder_rows(RUNGS[:1], {"as published": part}, strategy="ddpm", metric="accuracy", replicates=50)
    assert row["runs"] == 1
    assert row["gain"] == pytest.approx(row["mean"] - row["reference_mean"])


def test_unpaired_is_the_test_of_welch() -> None:
    samples = [np.random.default_rng(seed).normal(seed, 1 + seed, 6 + seed) for seed in (0, 1)]
    known = [
        Estimate(float(one.mean()), one.var(ddof=1) / len(one), 0.0, 0.0, len(one), 1) for one in samples
    ]
    theirs = stats.ttest_ind(*samples, equal_var=False).confidence_interval(0.95)
    freedoms = [one.degrees_of_freedom for one in known]
    assert freedoms == [len(one) - 1 for one in samples]
    assert unpaired(*known)[1:] == pytest.approx((theirs.low, theirs.high))
    nothing = Estimate(0.5, 0.0, 0.0, 0.0, 2, 2)
    assert unpaired(nothing, nothing) == (0.0, 0.0, 0.0)
