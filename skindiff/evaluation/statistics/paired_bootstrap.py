"""Means, intervals and paired differences over test images, split seeds and training seeds.

What is resampled. A study is a grid: every split seed and training seed gives one *cell* of predictions, and
one test image may stand in the test sets of several splits. The bootstrap draws groups (``group_id``:
patients, lesions or duplicate clusters) with replacement, the same draw for every cell of a population, and
scores every cell again; a difference between arms is taken inside the draw, over the cells that both have, so
it is paired by image and by seed. What the draw moves in all splits together is the images' part of the
variance. The seeds' part comes from the spread between splits (between training seeds where there is one
split), which a handful of seeds is too few to resample. :mod:`.estimates` adds the two and chooses Student's
quantile; intervals of means are made on the logit scale.

Coverage. Two arms of equal distribution, 2,000 simulated studies of each design, 95% intervals of balanced
accuracy, macro F1, AUROC and sensitivity at 90% specificity; two binomial standard errors are one point
(``scripts/calibrate_intervals.py`` prints this again, with the intervals of the means and the power):

=============================================  ====  ====  =====  ===========
design (``simulated_studies``)                 BA    F1    AUROC  sensitivity
=============================================  ====  ====  =====  ===========
clinical, 3 splits                             94.9  94.0  94.5   94.7
clinical, 5 splits                             95.1  94.3  95.5   95.8
clinical, 10 splits                            95.5  95.3  95.2   95.2
clinical, 3 splits x 3 trainings               94.5  94.8  94.2   94.9
phantom, 3 splits                              95.8  96.0  95.3   96.7
phantom, 5 splits                              96.2  96.4  95.5   96.2
lesions as in HAM10000, 5 splits               94.5  94.3  94.4   94.2
long tail of groups, 5 splits                  94.5  94.5  94.8   95.0
images dominate, 5 splits                      95.1  94.7  95.3   94.8
what is particular to image and run, 3 splits  95.0  94.5  95.0   94.8
what is particular to image and run, 5 splits  96.1  95.8  94.9   95.6
seeds dominate, 3 splits                       94.6  94.7  94.4   95.2
seeds dominate, 5 splits                       95.0  95.1  95.2   95.1
one test set for 5 splits                      94.5  94.8  95.1   95.3
one split x 5 trainings                        95.2  95.0  95.2   94.8
one run, where seeds do nothing                94.4  94.0  95.2   97.0
seven arms, 5 splits                           94.8  94.8  95.3   95.4
two splits                                     95.2  94.4  94.8   94.9
one run, where seeds matter                    85.8  85.9  77.1   88.9
splits whose luck correlates by 0.2            87.6  87.8  85.6   87.4
=============================================  ====  ====  =====  ===========

After the correction, one of six null differences was called real in 5.3%, 5.3%, 4.8% and 5.6% of the studies
with seven arms. Five points planted in the balanced accuracy were found in 22.4% of the clinical studies with
5 splits (power stated in the median: 20.9%), 12.8% with 3 (11.1%), 42.4% with 10 (41.3%), 48.1% of the
phantom studies (46.8%), 25.9% of those with lesions (24.5%) and 96.8% of clinical ones of 800 groups, 5
splits and 3 trainings (96.5%). An effect as large as the median of the minimum effects that studies with such
an effect state (found in 80 of 100, they say) was found in 80.0% of the clinical studies with 5 splits and
79.5% of the phantom ones (2,500 each). An effect widens the spread: as large as studies without one state,
it was found in 80.1% and 75.7% (6,000 and 8,000).

Limits. The last two lines of the table: with one run there is no spread between seeds, and ``caution`` says
so in the row; and what all splits have in common, one corpus of training images above all, is not varied, so
no interval from such data covers it, and the answer is for this corpus. Two splits are covered, by intervals
too wide to be of use. Training seeds are taken as repeats within a split. Scores are averaged over the
classes that occur in a resampled test set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from skindiff.classification.cells import Cell
from skindiff.classification.metrics import SPECIFICITY, SkinClassificationMetric, recalls_by_column
from skindiff.classification.rows import BALANCED_BRIER, Scores
from skindiff.classification.weighted_scores import weighted_scores
from skindiff.evaluation.statistics.estimates import Estimate, estimate
from skindiff.evaluation.statistics.rows import ResultRow
from skindiff.measures.group_bootstrap import resampled

FloatArray = NDArray[np.float64]
Seeds = tuple[int | None, int | None]
RowT = TypeVar("RowT", bound=Mapping[str, object])


_OF_RANKS = {
    "auroc": 0.5,
    "sensitivity_at_90_specificity": 1 - SPECIFICITY,
    "calibration_error": None,
    BALANCED_BRIER: None,
}
"""Scores that follow from all probabilities and not from the predicted class alone, with their chance."""


class _ByAttribute(TypedDict, total=False):
    per_group_recall: dict[str, dict[str, float | None]]


def result_row(cell: Cell) -> ResultRow:
    """Return the cell's row of `results`: its key, optimiser steps, number of test images and scores."""
    scores: Scores = SkinClassificationMetric().compute(
        predictions=cell.probabilities,
        references=cell.labels,
        skin_types=[name or "" for name in cell.skin_types],
        class_names=cell.class_names,
    )
    return {
        **cell.key.columns,
        "optimiser_steps": cell.optimiser_steps,
        "test_images": len(cell.labels),
        **scores,
        **_by_attribute(cell),
    }


def _by_attribute(cell: Cell) -> _ByAttribute:
    found = recalls_by_column(cell.labels, cell.probabilities.argmax(1), cell.attributes)
    return {"per_group_recall": found} if found else {}


class Resampling:
    """How often every group of a population is drawn; row 0 is the data as observed."""

    def __init__(self, cells: Sequence[Cell], replicates: int, *key: str | int) -> None:
        self.groups = sorted({group for cell in cells for group in cell.group_ids})
        self._rows = {group: row for row, group in enumerate(self.groups)}
        self._weights = resampled(len(self.groups), replicates, *key)

    def of_images(self, cell: Cell) -> FloatArray:
        """Return the images' weights in every replicate, shape ``(replicates + 1, n)``."""
        return self._weights[:, [self._rows[group] for group in cell.group_ids]]


class Series:
    """All cells of one `summary` row, scored in every replicate."""

    def __init__(self, cells: Sequence[Cell], drawn: Resampling, metrics: Sequence[str]) -> None:
        self.key = cells[0].key.series
        self.images = len({image for cell in cells for image in cell.image_ids})
        self.groups = len({group for cell in cells for group in cell.group_ids})
        self.cells = {cell.key.seeds: cell for cell in cells}
        self.scores: dict[Seeds, dict[str, FloatArray]] = {
            cell.key.seeds: weighted_scores(cell.labels, cell.probabilities, drawn.of_images(cell), metrics)
            for cell in cells
        }

    def mean(self, metric: str) -> Estimate | None:
        """Return the mean over cells, None where it cannot be estimated."""
        return mean_over_seeds({pair: found[metric] for pair, found in self.scores.items()}, self.groups)

    def difference(self, other: "Series", metric: str) -> Estimate | None:
        """Return the mean difference over the cells that both series have, None where there is none."""
        both = {
            pair: found[metric] - other.scores[pair][metric]
            for pair, found in self.scores.items()
            if pair in other.scores
        }
        return mean_over_seeds(both, min(self.groups, other.groups))

    def paired_cells(self, other: "Series") -> int:
        """Return the number of cells that both series have."""
        return len(self.scores.keys() & other.scores.keys())

    def chance(self, metric: str) -> float | None:
        """Return what guessing reaches.

        In accuracy the share of the largest class, in AUROC one half, in sensitivity at a specificity the
        share of false alarms, in other scores one in as many classes as have test images; None of the
        calibration error and the Brier score, of which less is better.
        """
        if metric in _OF_RANKS:
            return _OF_RANKS[metric]
        labels = np.concatenate([cell.labels for cell in self.cells.values()])
        counts = np.bincount(labels)
        if metric == "accuracy":
            return float(counts.max() / counts.sum())
        return 1 / int((counts > 0).sum())

    def differing_groups(self, other: "Series", metric: str) -> int:
        """Return the number of test groups of which any image is scored otherwise in any run."""
        differing: set[str] = set()
        for pair in self.scores.keys() & other.scores.keys():
            mine, theirs = self.cells[pair], other.cells[pair]
            if metric in _OF_RANKS:
                changed = np.abs(mine.probabilities - theirs.probabilities).max(1) > 1e-9
            else:
                changed = mine.probabilities.argmax(1) != theirs.probabilities.argmax(1)
            differing |= {mine.group_ids[row] for row in np.flatnonzero(changed)}
        return len(differing)


def mean_over_seeds(cells: Mapping[Seeds, FloatArray], groups: int) -> Estimate | None:
    """Estimate the mean of a score over cells, with splits as the units of chance.

    Args:
        cells: by split and training seed, the score as observed and then under every resample; a cell whose
            score does not exist (NaN) is left out. The units are the splits, or the training seeds where
            there is only one split.
        groups: number of groups that were resampled.
    """
    known = {pair: scores for pair, scores in cells.items() if np.isfinite(scores[0])}
    if not known:
        return None
    part = 0 if len({split for split, _ in known}) > 1 else 1
    units: dict[int | None, list[FloatArray]] = {}
    for pair, scores in known.items():
        units.setdefault(pair[part], []).append(scores)
    means = np.stack([np.mean(members, axis=0) for members in units.values()])
    found = estimate(means, [len(members) for members in units.values()], groups)
    if found is None or part == 1:
        return found and replace(found, units_are="trainings" if len(units) > 1 else "splits")
    trained = _of_trainings(list(units.values()))
    return (
        found if trained is None else replace(found, training_variance=trained[0], training_floor=trained[1])
    )


def _of_trainings(units: Sequence[Sequence[FloatArray]]) -> tuple[float, float] | None:
    """Return what of a mean's variance trainings within splits make, and what of that their images make."""
    counts = np.array([len(members) for members in units])
    if counts.max() < 2:
        return None
    shares = counts / counts.sum()
    spreads, floors = [], []
    for members in units:
        if len(members) > 1:
            seen = np.stack(members)
            seen = seen[:, np.isfinite(seen).all(0)]
            own, together = seen[:, 1:].var(1, ddof=1).mean(), seen[:, 1:].mean(0).var(ddof=1)
            spreads.append(float(seen[:, 0].var(ddof=1)))
            floors.append(float(max(own - together, 0.0) * len(members) / (len(members) - 1)))
    scale = float((shares**2 / counts).sum())
    return scale * float(np.mean(spreads)), scale * float(np.mean(floors))


def find_row(rows: Sequence[RowT], **wanted: object) -> RowT:
    """Return the one row with all the ``wanted`` values; raise ValueError if there is none or several."""
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows match {wanted}; expected one")
    return found[0]
