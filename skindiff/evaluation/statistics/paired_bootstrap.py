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
accuracy, macro F1 and AUROC; two binomial standard errors are one point (``scripts/calibrate_intervals.py``
prints this again, with the intervals of the means and the power):

=============================================  ====  ====  =====
design (``simulated_studies``)                 BA    F1    AUROC
=============================================  ====  ====  =====
clinical, 3 splits                             94.9  94.0  94.5
clinical, 5 splits                             95.1  94.3  95.5
clinical, 10 splits                            95.5  95.3  95.2
clinical, 3 splits x 3 trainings               94.5  94.8  94.2
phantom, 3 splits                              95.8  96.0  95.3
phantom, 5 splits                              96.2  96.4  95.5
lesions as in HAM10000, 5 splits               94.5  94.3  94.4
long tail of groups, 5 splits                  94.5  94.5  94.8
images dominate, 5 splits                      95.1  94.7  95.3
what is particular to image and run, 3 splits  95.0  94.5  95.0
what is particular to image and run, 5 splits  96.1  95.8  94.9
seeds dominate, 3 splits                       94.6  94.7  94.4
seeds dominate, 5 splits                       95.0  95.1  95.2
one test set for 5 splits                      94.5  94.8  95.1
one split x 5 trainings                        95.2  95.0  95.2
one run, where seeds do nothing                94.4  94.0  95.2
seven arms, 5 splits                           94.8  94.8  95.3
two splits                                     95.2  94.4  94.8
one run, where seeds matter                    85.8  85.9  77.1
splits whose luck correlates by 0.2            87.6  87.8  85.6
=============================================  ====  ====  =====

After the correction, one of six null differences was called real in 5.3%, 5.3% and 4.8% of the studies with
seven arms. Five points planted in the balanced accuracy were found in 22.4% of the clinical studies with 5
splits (power stated in the median: 20.9%), 12.8% with 3 (11.1%), 42.4% with 10 (41.3%), 48.1% of the phantom
studies (46.8%), 25.9% of those with lesions (24.5%) and 96.8% of clinical ones of 800 groups, 5 splits and 3
trainings (96.5%).

Limits. The last two lines of the table: with one run there is no spread between seeds, and ``caution`` says
so in the row; and what all splits have in common, one corpus of training images above all, is not varied, so
no interval from such data covers it, and the answer is for this corpus. Two splits are covered, by intervals
too wide to be of use. Training seeds are taken as repeats within a split. Scores are averaged over the
classes that occur in a resampled test set.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from skindiff.classification.cells import Cell, CellKey
from skindiff.classification.metrics import METRICS, SkinClassificationMetric
from skindiff.classification.rows import Scores
from skindiff.classification.weighted_scores import weighted_scores
from skindiff.evaluation.statistics.comparisons import Correction, comparison, holm
from skindiff.evaluation.statistics.estimates import LEVEL, Estimate, estimate
from skindiff.evaluation.statistics.rows import Difference, Mean, ResultRow, SummaryRow
from skindiff.measures.group_bootstrap import resampled
from skindiff.renamed import in_streams

FloatArray = NDArray[np.float64]
Seeds = tuple[int | None, int | None]
RowT = TypeVar("RowT", bound=Mapping[str, object])

REFERENCE_ARM = "real"


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
    }


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
    return estimate(means, [len(members) for members in units.values()], groups)


def nearest_reference(key: CellKey, candidates: Sequence[CellKey]) -> CellKey | None:
    """Return the candidate that shares most of generator, strategy and ratio; None if none is nearest."""

    def agreement(other: CellKey) -> int:
        mine = (key.generator, key.strategy, key.ratio)
        theirs = (other.generator, other.strategy, other.ratio)
        return sum(one == another for one, another in zip(mine, theirs, strict=True))

    ranked = sorted(candidates, key=agreement, reverse=True)
    if not ranked or (len(ranked) > 1 and agreement(ranked[0]) == agreement(ranked[1])):
        return None
    return ranked[0]


def _mean(found: Estimate | None, level: float) -> Mean:
    if found is None:
        return {"mean": None, "ci_low": None, "ci_high": None}
    low, high = found.share_interval(level)
    return {"mean": found.value, "ci_low": low, "ci_high": high}


class _Comparisons:
    """The differences of a population's series in one metric, corrected by family of arms."""

    def __init__(
        self, series: Sequence[Series], references: Sequence[str], metric: str, level: float
    ) -> None:
        self.level = level
        self.others = {one.key: _others(one, series, references) for one in series}
        self.found: dict[tuple[CellKey, str], Estimate | None] = {
            (one.key, arm): one.difference(other, metric) if other else None
            for one in series
            for arm, other in self.others[one.key].items()
        }
        self.corrections: dict[tuple[CellKey, str], Correction] = {}
        controls = {REFERENCE_ARM, *references}
        for arm in controls:
            # Against `real` every arm is judged, against a control only the arms that are no control.
            judged = {
                (key, reference): found.p_value()
                for (key, reference), found in self.found.items()
                if found and reference == arm and (arm == REFERENCE_ARM or key.arm not in controls)
            }
            self.corrections |= dict(zip(judged, holm(list(judged.values()), level), strict=True))

    def said(self, series: Series, arm: str) -> Difference:
        """Return :func:`comparison` of a series with its reference of that arm."""
        other, place = self.others[series.key].get(arm), (series.key, arm)
        cells = series.paired_cells(other) if other else 0
        return comparison(self.found.get(place), cells, self.level, self.corrections.get(place))


def _others(one: Series, series: Sequence[Series], references: Sequence[str]) -> dict[str, Series | None]:
    """Return what a series is compared with, by arm; None where there is nothing or no one nearest."""
    by_key = {other.key: other for other in series}
    found = {
        arm: nearest_reference(one.key, [key for key in by_key if key.arm == arm])
        for arm in (REFERENCE_ARM, *references)
        if arm != one.key.arm and any(key.arm == arm for key in by_key)
    }
    return {arm: by_key[key] if key else None for arm, key in found.items()}


def _population_rows(
    series: Sequence[Series], references: Sequence[str], metrics: Sequence[str], level: float
) -> list[SummaryRow]:
    comparisons = {metric: _Comparisons(series, references, metric, level) for metric in metrics}
    return [
        {
            **one.key.series_columns,
            "metric": metric,
            **_mean(one.mean(metric), level),
            **comparisons[metric].said(one, REFERENCE_ARM),
            "against": {arm: comparisons[metric].said(one, arm) for arm in references if arm != one.key.arm},
            "cells": len(one.scores),
            "groups": one.groups,
            "images": one.images,
        }
        for one in series
        for metric in metrics
    ]


def summarise(
    cells: Sequence[Cell],
    *,
    references: Sequence[str] = (),
    metrics: Sequence[str] = METRICS,
    replicates: int = 2000,
    level: float = LEVEL,
    seed: int = 0,
) -> list[SummaryRow]:
    """Return the rows of `summary`, one for each series of cells and each metric.

    Args:
        cells: predictions of every arm and seed; no key may occur twice.
        references: further arms to compare with besides ``real`` (``real+duplicates`` for one). Where an arm
            has several series, the one that shares generator, strategy and ratio is taken.
        metrics: names from :data:`~skindiff.classification.metrics.METRICS`.
        replicates: bootstrap replicates; with 2,000 the images' part of a standard error is known to 2%.
        level: of the intervals, in (0, 1).
        seed: names the bootstrap's random stream.

    Returns:
        Rows with the key but for seeds, ``metric``, ``mean`` (of the cells), ``ci_low``, ``ci_high``; against
        ``real``: ``delta``, ``delta_ci_low``, ``delta_ci_high``, ``paired_cells`` and the other fields of
        :func:`~skindiff.evaluation.statistics.comparisons.comparison`; ``against`` with the same for every
        other reference arm; ``cells``, ``groups``, ``images`` (counted over all cells). All scores in [0, 1],
        ``None`` where there is nothing to compute. In the order of first appearance.

    Raises:
        ValueError: two cells have the same key.
    """
    keys = [cell.key for cell in cells]
    repeated = [key for key in set(keys) if keys.count(key) > 1]
    if repeated:
        raise ValueError(f"two cells have the key {tuple(repeated[0])}; scores of one run must be given once")
    populations: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in cells:
        populations.setdefault(cell.key.population, []).append(cell)
    rows: list[SummaryRow] = []
    for members in populations.values():
        drawn = Resampling(members, replicates, "summary", *in_streams(*members[0].key.population), seed)
        by_series: dict[CellKey, list[Cell]] = {}
        for cell in members:
            by_series.setdefault(cell.key.series, []).append(cell)
        series = [Series(group, drawn, metrics) for group in by_series.values()]
        rows += _population_rows(series, references, metrics, level)
    return rows


def find_row(rows: Sequence[RowT], **wanted: object) -> RowT:
    """Return the one row with all the ``wanted`` values; raise ValueError if there is none or several."""
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows match {wanted}; expected one")
    return found[0]
