"""What is said of a difference between two arms, and the correction for comparing many of them.

The correction is Holm's (1979, Scandinavian Journal of Statistics 6:65): it holds whatever the dependence
between arms. A max-t bootstrap would use that arms share a reference, but with 3 to 5 seeds the correlations
that it needs are not known: with six arms whose seed effects dominate it called at least one null difference
real in 11.5% (three seeds) and 7.5% (five) of simulated families, where Bonferroni's step took 4.8% and 4.5%
(normal errors, 3,000 families each).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skindiff.evaluation.statistics.estimates import LEVEL, Estimate
from skindiff.evaluation.statistics.rows import Difference, HalfWidths

SINGLE = 1
"""Size of a family of one: the primary contrast is not corrected."""
POINTS = 0.05
"""The planted effect whose power every comparison states: five points."""

FEW_UNITS = 3
"""From so many split (or training) seeds on an interval covers what it says."""


@dataclass(frozen=True)
class Correction:
    """What Holm's procedure made of one of ``comparisons`` p-values.

    ``level`` is that of the interval which leaves out zero just where the corrected p-value is at most
    1 - the family's level: the level at which the procedure tested it, or at which it had stopped before.
    """

    p_value: float
    level: float
    comparisons: int


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[Correction]:
    """Return the correction of every p-value of a family, in their order."""
    count, risk = len(p_values), 1 - level
    found: dict[int, Correction] = {}
    largest, stopped_at = 0.0, 0
    for step, place in enumerate(np.argsort(p_values, kind="stable").tolist()):
        p_value = p_values[place]
        largest = max(largest, min(1.0, (count - step) * p_value))
        stopped_at = stopped_at or (count - step if p_value > risk / (count - step) else 0)
        found[place] = Correction(largest, 1 - risk / (stopped_at or count - step), count)
    return [found[place] for place in range(count)]


def caution(found: Estimate) -> str | None:
    """Return what an interval does not cover, or why it may be too narrow; None where nothing is known."""
    if found.units == 1:
        return "one run per arm: the interval holds for its test images, not for other splits or trainings"
    if found.units < FEW_UNITS:
        return "two seeds per arm: the interval is approximate"
    if found.lucky:
        return "the seeds differ less than their test images would suggest: the interval is likely too narrow"
    return None


def no_comparison() -> Difference:
    """Return the fields of :func:`comparison` where there is nothing to compare."""
    return {
        "delta": None,
        "delta_ci_low": None,
        "delta_ci_high": None,
        "delta_se": None,
        "delta_df": None,
        "delta_p": None,
        "delta_seed_share": None,
        "delta_parts": None,
        "delta_units": None,
        "minimum_effect": None,
        "power_at_5_points": None,
        "delta_p_corrected": None,
        "delta_ci_low_corrected": None,
        "delta_ci_high_corrected": None,
        "corrected_level": None,
        "minimum_effect_corrected": None,
        "half_widths": None,
        "caution": None,
        "comparisons": 0,
        "paired_cells": 0,
    }


def comparison(
    found: Estimate | None, paired_cells: int, level: float = LEVEL, correction: Correction | None = None
) -> Difference:
    """Return what is said of one difference, in shares of one (0.05 is five points).

    Args:
        found: the difference; None gives :func:`no_comparison`.
        paired_cells: cells that both arms have.
        level: of the uncorrected interval.
        correction: of its family, None where it belongs to none.

    Returns:
        ``delta``, ``delta_ci_low``, ``delta_ci_high``, ``delta_se``, ``delta_df`` (degrees of freedom),
        ``delta_p`` (two-sided), ``delta_seed_share`` (of the variance), ``delta_parts`` (shares of the
        variance, :attr:`~skindiff.evaluation.statistics.estimates.Estimate.parts`), ``delta_units`` (splits,
        or trainings where there is one split), ``paired_cells``, ``minimum_effect`` (found with 80% power at
        ``level``; None where nothing varied), ``power_at_5_points``, ``caution`` (words, or None). With a
        correction also ``comparisons`` (size of the family), ``delta_p_corrected``, ``corrected_level`` and
        at that level ``delta_ci_low_corrected``, ``delta_ci_high_corrected``, ``minimum_effect_corrected``
        and ``half_widths``: of the interval ``now``, and with ``twice_splits``, ``twice_trainings`` and
        ``twice_patients`` (None where that is not known).
    """
    if found is None:
        return no_comparison()
    low, high = found.interval(level)
    said: Difference = no_comparison() | {
        "delta": found.value,
        "delta_ci_low": low,
        "delta_ci_high": high,
        "delta_se": found.standard_error,
        "delta_df": found.degrees_of_freedom,
        "delta_p": found.p_value(),
        "delta_seed_share": found.seed_share,
        "delta_parts": found.parts,
        "delta_units": found.units,
        "paired_cells": paired_cells,
        "minimum_effect": found.detectable(level),
        "power_at_5_points": found.power(POINTS, level),
        "caution": caution(found),
    }
    if correction is None:
        return said
    low, high = found.interval(correction.level)
    return said | {
        "comparisons": correction.comparisons,
        "delta_p_corrected": correction.p_value,
        "corrected_level": correction.level,
        "delta_ci_low_corrected": low,
        "delta_ci_high_corrected": high,
        "minimum_effect_corrected": found.detectable(correction.level),
        "half_widths": _half_widths(found, correction.level),
    }


def _half_widths(found: Estimate, level: float) -> HalfWidths:
    """Return half the width of the interval now, and with twice as much of what it comes from."""
    known = found.training_variance is not None or found.units_are == "trainings"
    splits = found.units_are == "splits"
    more = (
        {"trainings": 2} if splits else {"splits": 2}
    )  # where there is one split its trainings are the units
    return {
        "now": found.half_width(level),
        "twice_splits": found.with_more(splits=2).half_width(level) if splits else None,
        "twice_trainings": found.with_more(**more).half_width(level) if known else None,
        "twice_patients": found.with_more(patients=2).half_width(level),
    }
