"""Means, intervals and paired differences over test images, split seeds and training seeds.

What is bootstrapped. A study is a grid: every split seed and training seed gives one *cell* of predictions,
and one test image may stand in the test sets of several splits. Three things could have come out otherwise:
which patients were photographed, how they were split, and how training was seeded. The pigeonhole bootstrap
(McCullagh 2000; Owen 2007, "The pigeonhole bootstrap") resamples the three independently, each with
replacement: groups (``group_id``: patients, lesions or duplicate clusters), split seeds, training seeds. In a
replicate, an image has the weight of its group in every cell, a cell the product of its two seeds' weights;
every score is recomputed with these weights and averaged over cells. The interval holds the middle 95% of
the replicates. A difference between arms is taken inside the replicate, over the cells that both arms have,
with the same weights: it is paired by image and by seed.

Its limits. It covers what was varied: one corpus, one recipe, these seeds. What is particular to one image in
one cell is counted up to three times (seven with several training seeds), so an interval is too wide rather
than too narrow where such noise dominates (97% to 99% covered in simulations). Where differences between a
handful of seeds dominate it is too narrow: with three seeds a nominal 95% covers about 90%. With one seed
nothing is resampled over seeds, and the interval speaks for that one split and training run only. It is not
corrected for the number of arms that are compared. Scores are averaged over the classes that occur in a
resampled test set.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skindiff.evaluation.downstream.cells import Cell, CellKey
from skindiff.evaluation.downstream.metrics import METRICS, SkinClassificationMetric
from skindiff.evaluation.downstream.weighted_scores import weighted_scores
from skindiff.seeding import numpy_generator

FloatArray = NDArray[np.float64]

REFERENCE_ARM = "real"


def result_row(cell: Cell) -> dict[str, Any]:
    """Return the cell's row of `results`: its key, optimiser steps, number of test images and scores."""
    scores = SkinClassificationMetric().compute(
        predictions=cell.probabilities,
        references=cell.labels,
        skin_types=[name or "" for name in cell.skin_types],
        class_names=cell.class_names,
    )
    return {
        **cell.key._asdict(),
        "optimiser_steps": cell.optimiser_steps,
        "test_images": len(cell.labels),
        **(scores or {}),
    }


class _Weights:
    """Weights of a population's groups, split seeds and training seeds; row 0 is the data as observed."""

    def __init__(self, cells: Sequence[Cell], replicates: int, seed: int) -> None:
        population = cells[0].key.population
        self.groups = sorted({group for cell in cells for group in cell.group_ids})
        self.rows = {group: row for row, group in enumerate(self.groups)}
        self.group_weights = _resample(len(self.groups), replicates, "groups", *population, seed)
        self.seed_weights: list[dict[int | None, FloatArray]] = []
        for part, name in enumerate(("split", "train")):
            values = sorted(
                {cell.key.seeds[part] for cell in cells}, key=lambda value: (value is None, value or 0)
            )
            drawn = _resample(len(values), replicates, name, *population, seed)
            self.seed_weights.append({value: drawn[:, column] for column, value in enumerate(values)})

    def of_images(self, cell: Cell) -> FloatArray:
        """Return the images' weights in every replicate, shape ``(replicates + 1, n)``."""
        return self.group_weights[:, [self.rows[group] for group in cell.group_ids]]

    def of_cell(self, seeds: tuple[int | None, int | None]) -> FloatArray:
        """Return the cell's weight in every replicate, shape ``(replicates + 1,)``."""
        return self.seed_weights[0][seeds[0]] * self.seed_weights[1][seeds[1]]


def _resample(units: int, replicates: int, *key: str | int) -> FloatArray:
    """Return how often each unit is drawn, shape ``(replicates + 1, units)``, with a first row of ones."""
    drawn = numpy_generator("bootstrap", *key).multinomial(
        units, np.full(units, 1.0 / units), size=replicates
    )
    return np.concatenate([np.ones((1, units)), drawn.astype(np.float64)])


class Series:
    """All cells of one `summary` row, scored in every replicate."""

    def __init__(self, cells: Sequence[Cell], weights: _Weights) -> None:
        self.key = cells[0].key.series
        self.images = len({image for cell in cells for image in cell.image_ids})
        self.groups = len({group for cell in cells for group in cell.group_ids})
        self.weights = weights
        self.scores: dict[tuple[int | None, int | None], dict[str, FloatArray]] = {
            cell.key.seeds: weighted_scores(cell.labels, cell.probabilities, weights.of_images(cell))
            for cell in cells
        }

    def mean(self, metric: str, seeds: Sequence[tuple[int | None, int | None]]) -> FloatArray:
        """Return the weighted mean over the cells of ``seeds`` in every replicate (NaN where all weigh 0)."""
        weights = np.stack([self.weights.of_cell(pair) for pair in seeds])
        scores = np.stack([self.scores[pair][metric] for pair in seeds])
        weights = np.where(np.isnan(scores), 0.0, weights)
        with np.errstate(invalid="ignore"):
            return np.asarray((np.nan_to_num(scores) * weights).sum(0) / weights.sum(0))


def _interval(replicates: FloatArray, level: float) -> tuple[float, float] | tuple[None, None]:
    drawn = replicates[1:][np.isfinite(replicates[1:])]
    if len(drawn) < 0.5 * (len(replicates) - 1):
        return None, None
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _reference_of(series: Series, candidates: Sequence[Series]) -> Series | None:
    """Return the candidate that shares most of generator, strategy and ratio; None if none is nearest."""

    def agreement(other: Series) -> int:
        pairs = zip(
            (series.key.generator, series.key.strategy, series.key.ratio),
            (other.key.generator, other.key.strategy, other.key.ratio),
            strict=True,
        )
        return sum(mine == theirs for mine, theirs in pairs)

    ranked = sorted(candidates, key=agreement, reverse=True)
    if not ranked or (len(ranked) > 1 and agreement(ranked[0]) == agreement(ranked[1])):
        return None
    return ranked[0]


def _difference(series: Series, other: Series | None, metric: str, level: float) -> dict[str, Any]:
    """Return delta, its interval and the number of cells that were paired."""
    seeds = [pair for pair in series.scores if other is not None and pair in other.scores]
    if other is None or not seeds:
        return {"delta": None, "delta_ci_low": None, "delta_ci_high": None, "paired_cells": 0}
    delta = series.mean(metric, seeds) - other.mean(metric, seeds)
    low, high = _interval(delta, level)
    return {
        "delta": _finite(delta[0]),
        "delta_ci_low": low,
        "delta_ci_high": high,
        "paired_cells": len(seeds),
    }


def _population_rows(
    series: Sequence[Series], references: Sequence[str], metrics: Sequence[str], level: float
) -> list[dict[str, Any]]:
    rows = []
    by_arm: dict[str, list[Series]] = {}
    for one in series:
        by_arm.setdefault(one.key.arm, []).append(one)
    for one in series:
        name = {field: value for field, value in one.key._asdict().items() if not field.endswith("_seed")}
        others = {
            arm: _reference_of(one, by_arm.get(arm, []))
            for arm in (REFERENCE_ARM, *references)
            if arm != one.key.arm
        }
        for metric in metrics:
            replicates = one.mean(metric, list(one.scores))
            low, high = _interval(replicates, level)
            row = {**name, "metric": metric, "mean": _finite(replicates[0]), "ci_low": low, "ci_high": high}
            row |= _difference(one, others.get(REFERENCE_ARM), metric, level)
            row["against"] = {
                arm: _difference(one, others[arm], metric, level) for arm in references if arm in others
            }
            row |= {"cells": len(one.scores), "groups": one.groups, "images": one.images}
            rows.append(row)
    return rows


def summarise(
    cells: Sequence[Cell],
    *,
    references: Sequence[str] = (),
    metrics: Sequence[str] = METRICS,
    replicates: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the rows of `summary`, one for each series of cells and each metric.

    Args:
        cells: predictions of every arm and seed; no key may occur twice.
        references: further arms to compare with besides ``real`` (``real+duplicates`` for one). Where an arm
            has several series, the one that shares generator, strategy and ratio is taken.
        metrics: names from :data:`~skindiff.evaluation.downstream.metrics.METRICS`.
        replicates: bootstrap replicates; 2,000 settle the ends of a 95% interval to about 5% of its width.
        level: share of the replicates inside the interval, in (0, 1).
        seed: names the bootstrap's random stream.

    Returns:
        Rows with the key but for seeds, ``metric``, ``mean`` (of the cells), ``ci_low``, ``ci_high``; against
        ``real``: ``delta``, ``delta_ci_low``, ``delta_ci_high``, ``paired_cells``; ``against`` with the same
        four for every other reference arm; ``cells``, ``groups``, ``images`` (counted over all cells). All
        scores in [0, 1], ``None`` where there is nothing to compute. In the order of first appearance.

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
    rows = []
    for members in populations.values():
        weights = _Weights(members, replicates, seed)
        by_series: dict[CellKey, list[Cell]] = {}
        for cell in members:
            by_series.setdefault(cell.key.series, []).append(cell)
        series = [Series(group, weights) for group in by_series.values()]
        rows += _population_rows(series, references, metrics, level)
    return rows


def find_row(rows: Sequence[Mapping[str, Any]], **wanted: Any) -> Mapping[str, Any]:
    """Return the one row with all the ``wanted`` values; raise ValueError if there is none or several."""
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows match {wanted}; expected one")
    return found[0]
