"""The rows of `summary`: the mean of every series, and its difference from each of its references."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from skindiff.classification.cells import REAL, Cell, CellKey
from skindiff.classification.contrasts import PrimaryContrast, references_of
from skindiff.classification.rows import JUDGED, METRICS
from skindiff.evaluation.statistics.comparisons import SINGLE, Correction, comparison, holm
from skindiff.evaluation.statistics.estimates import LEVEL, Estimate
from skindiff.evaluation.statistics.paired_bootstrap import Resampling, Series
from skindiff.evaluation.statistics.rows import Role, SummaryRow
from skindiff.renamed import in_streams

_CHANCE_LEVEL = 0.998
"""Of the interval that must lie above chance: many studies are looked at, and one in 1,000 may be lucky."""

_ONE_CORPUS = 1.0
"""Times the variance that is added here. All splits have one corpus and its labels in common, which no
interval covers: with labels permuted, the means of 60 studies spread 1.2 times as widely as their standard
errors say, and 2 of 70 studies had an arm above chance (``scripts/calibrate_verdicts.py``)."""


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


@dataclass(frozen=True)
class _Contrast:
    """A series and what it is compared with in one metric."""

    series: Series
    reference: str
    other: Series | None
    metric: str
    found: Estimate | None
    role: Role | None


def summarise(
    cells: Sequence[Cell],
    *,
    primary: PrimaryContrast | None = None,
    metrics: Sequence[str] = tuple(METRICS),
    replicates: int = 2000,
    level: float = LEVEL,
    seed: int = 0,
) -> list[SummaryRow]:
    """Return the rows of `summary`: one for each series of cells, metric and reference.

    A series is compared with itself without the factor under test, with the controls of that factor (see
    :func:`~skindiff.classification.contrasts.references_of`) and, always, with ``real``. Where an arm has
    several series, the one that shares generator, strategy and ratio is the reference. The primary contrast
    is tested at ``level``; all others, of all populations, are corrected together, metric by metric (Holm).
    The calibration error is described and not judged.

    Args:
        cells: predictions of every arm and seed; no key may occur twice.
        primary: the study's question; None makes every contrast exploratory.
        metrics: names from :data:`~skindiff.classification.rows.METRICS`.
        replicates: bootstrap replicates; with 2,000 the images' part of a standard error is known to 2%.
        level: of the intervals, in (0, 1).
        seed: names the bootstrap's random stream.

    Returns:
        Rows with the key but for seeds, ``metric``, ``mean`` (of the cells), ``ci_low``, ``ci_high``,
        ``chance`` and ``above_chance``; ``reference`` (an arm; None in the rows of series without one) and
        ``role`` (``primary``, ``then``, ``exploratory``; None where nothing is judged); ``delta`` and the
        other fields of :func:`~skindiff.evaluation.statistics.comparisons.comparison`;
        ``reference_above_chance``, ``groups_differing``; ``cells``, ``groups``, ``images`` (counted over all
        cells). All scores in [0, 1], ``None`` where there is nothing to compute. In the order of first
        appearance.

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
    contrasts: list[_Contrast] = []
    for members in populations.values():
        drawn = Resampling(members, replicates, "summary", *in_streams(*members[0].key.population), seed)
        by_series: dict[CellKey, list[Cell]] = {}
        for cell in members:
            by_series.setdefault(cell.key.series, []).append(cell)
        series = [Series(group, drawn, metrics) for group in by_series.values()]
        contrasts += [one for own in series for metric in metrics for one in _contrasts(own, series, metric)]
    contrasts = _with_primary(contrasts, primary)
    corrections = _corrections(contrasts, level)
    return [_row(one, corrections.get(place), level) for place, one in enumerate(contrasts)]


def _contrasts(own: Series, series: Sequence[Series], metric: str) -> list[_Contrast]:
    """Return what a series is compared with: judged references first, `real` in any case."""
    arms = list(dict.fromkeys(other.key.arm for other in series))
    judged = references_of(own.key.arm, arms)
    rest = [REAL] if own.key.arm != REAL and REAL not in judged else []
    by_key = {other.key: other for other in series}
    found = []
    for reference in [*judged, *rest]:
        nearest = nearest_reference(own.key, [key for key in by_key if key.arm == reference])
        other = by_key[nearest] if nearest else None
        estimate = own.difference(other, metric) if other else None
        role: Role | None = "exploratory" if estimate and reference in judged and metric in JUDGED else None
        found.append(_Contrast(own, reference, other, metric, estimate, role))
    return found or [_Contrast(own, "", None, metric, None, None)]


def _with_primary(contrasts: Sequence[_Contrast], primary: PrimaryContrast | None) -> list[_Contrast]:
    """Return the contrasts with the study's question marked: the first series that it can be about."""
    found = list(contrasts)
    if primary is None:
        return found
    asked = [
        one.series
        for one in contrasts
        if one.found and one.metric == primary.metric and one.reference == primary.reference
        and primary.matches(one.series.key)
    ]  # fmt: skip
    roles: dict[str | None, Role] = {primary.reference: "primary", primary.then: "then"}
    for place, one in enumerate(found):
        role = roles.get(one.reference)
        if role and one.found and asked and one.series is asked[0] and one.metric == primary.metric:
            found[place] = replace(one, role=role)
    return found


def _corrections(contrasts: Sequence[_Contrast], level: float) -> dict[int, Correction]:
    """Return what each judged contrast's interval is corrected for, by its place."""
    corrections: dict[int, Correction] = {}
    families: dict[str, dict[int, float]] = {}
    for place, one in enumerate(contrasts):
        if one.found is None or one.role is None:
            continue
        if one.role == "exploratory":
            families.setdefault(one.metric, {})[place] = one.found.p_value()
        else:
            corrections[place] = Correction(one.found.p_value(), level, SINGLE)
    for p_values in families.values():
        corrections |= dict(zip(p_values, holm(list(p_values.values()), level), strict=True))
    return corrections


def _row(one: _Contrast, correction: Correction | None, level: float) -> SummaryRow:
    series, metric = one.series, one.metric
    mean = series.mean(metric)
    low, high = mean.share_interval(level) if mean else (None, None)
    return {
        **series.key.series_columns,
        "metric": metric,
        "mean": mean.value if mean else None,
        "ci_low": low,
        "ci_high": high,
        "chance": series.chance(metric),
        "above_chance": _above_chance(series, metric),
        "reference": one.reference or None,
        "role": one.role,
        **comparison(one.found, series.paired_cells(one.other) if one.other else 0, level, correction),
        "reference_above_chance": _above_chance(one.other, metric) if one.other else None,
        "groups_differing": series.differing_groups(one.other, metric) if one.other else None,
        "cells": len(series.scores),
        "groups": series.groups,
        "images": series.images,
    }


def _above_chance(series: Series, metric: str) -> bool | None:
    found, chance = series.mean(metric), series.chance(metric)
    if chance is None:
        return None
    if found is None:
        return False
    wider = replace(found, image_variance=found.image_variance + _ONE_CORPUS * found.variance)
    return found.value > chance and wider.share_interval(_CHANCE_LEVEL)[0] > chance
