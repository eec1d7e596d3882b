"""What follows from an interval, in plain words."""

from collections.abc import Sequence

from skindiff.classification.cells import REAL, is_probe
from skindiff.classification.rows import METRICS, SeriesColumns
from skindiff.evaluation.statistics.rows import (
    SERIES,
    PopulationColumn,
    Role,
    SummaryRow,
    Verdict,
    agree,
    series_columns,
    values_of,
)

HELPS, HURTS, CANNOT_TELL, NO_VERDICT = "helps", "hurts", "can't tell", "no verdict"


def reference_rows(summary: Sequence[SummaryRow], reference: str | None = REAL) -> list[SummaryRow]:
    """Return one row of every series and metric: that against a reference, or the first that it has.

    The first of a series is against itself without the factor under test; None takes it always.
    """
    found: dict[tuple[object, ...], SummaryRow] = {}
    for row in summary:
        key = values_of(row, (*SERIES, "metric"))
        if key not in found or row["reference"] == reference:
            found[key] = row
    return list(found.values())


def call(low: float | None, high: float | None) -> str:
    """Return :data:`HELPS`, :data:`HURTS` or :data:`CANNOT_TELL` from the ends of a difference's interval."""
    if low is None or high is None or low <= 0 <= high:
        return CANNOT_TELL
    return HELPS if low > 0 else HURTS


def points(value: float | None) -> str:
    """Return a difference of scores in [-1, 1] as signed points, ``"n/a"`` where there is none."""
    return "n/a" if value is None else f"{100 * value + 0.0:+.1f}"


def series_name(row: SeriesColumns, rows: Sequence[SeriesColumns]) -> str:
    """Return the arm, with strategy, generator and ratio where other rows of the same arm differ in them."""
    same_arm = [other for other in rows if other["arm"] == row["arm"]]
    parts = [str(row["arm"])]
    if len({other["strategy"] for other in same_arm}) > 1:
        parts.append(str(row["strategy"]))
    if several_generators(row, rows):
        parts.append(f"by {row['generator']}")
    if len({other["ratio"] for other in same_arm}) > 1:
        parts.append(f"x {row['ratio']:g}" if row["ratio"] is not None else "")
    return " ".join(part for part in parts if part)


def several_generators(row: SeriesColumns, rows: Sequence[SeriesColumns]) -> bool:
    """Whether other generators made images for the same arm by the same strategy."""
    drawn = {other["generator"] for other in rows if agree(other, row, ("arm", "strategy"))}
    return len(drawn) > 1


FEWEST_UNITS, FEWEST_GROUPS = 3, 10
"""Splits (or trainings of one split), and test groups on which two arms differ, that a verdict needs."""
_NO_SPREAD = 1e-9


def why_no_verdict(row: SummaryRow) -> str | None:
    """Return in words why nothing follows from a difference, None where something may.

    Args:
        row: of `summary`, with a reference.
    """
    chance = row["chance"]
    if chance is not None and row["above_chance"] is False and row["reference_above_chance"] is False:
        return f"neither arm is known to do better than chance ({100 * chance:.1f}%)"
    if row["delta_units"] is not None and row["delta_units"] < FEWEST_UNITS:
        return f"it rests on {row['delta_units']} of the {FEWEST_UNITS} splits or trainings that it needs"
    if row["groups_differing"] == 0:
        same = "both arms say the same of every test image"
        repeated = row["arm"] == "real+duplicates" and is_probe(row["architecture"])
        return f"{same}, as repeats do not move the optimum of a probe" if repeated else same
    if row["delta_seed_share"] is not None and row["delta_seed_share"] < _NO_SPREAD:
        return "the runs do not differ at all, so their spread is not known"
    if row["groups_differing"] is not None and row["groups_differing"] < FEWEST_GROUPS:
        return (
            f"the arms differ on {row['groups_differing']} of the {FEWEST_GROUPS} test groups that it needs"
        )
    return None


def verdicts(summary: Sequence[SummaryRow], metric: str) -> list[Verdict]:
    """Return a verdict for every judged difference in a score.

    A verdict follows from the interval that decides, and from nothing else; where that interval stands on
    nothing (see :func:`why_no_verdict`) there is none. The second reference of a primary contrast has one
    only if the first is decided.

    Args:
        summary: rows of :func:`~skindiff.evaluation.statistics.summary.summarise`.
        metric: the score that is judged.

    Returns:
        Dicts with the key of the series, ``metric``, ``reference``, ``role``, ``verdict`` (:func:`call`, or
        :data:`NO_VERDICT`), ``why`` (of no verdict), ``minimum_effect`` and ``sentence``; the primary
        contrast first.
    """
    judged = [row for role in ROLES for row in summary if row["metric"] == metric and row["role"] == role]
    found: list[Verdict] = []
    for row in judged:
        why = why_no_verdict(row)
        if row["role"] == "then" and found[0]["verdict"] not in (HELPS, HURTS):
            why = f"it is asked only if {row['arm']} is decided against {found[0]['reference']}"
        verdict = NO_VERDICT if why else call(row["delta_ci_low_corrected"], row["delta_ci_high_corrected"])
        found.append(
            {
                **series_columns(row),
                "metric": metric,
                "reference": row["reference"],
                "role": row["role"],
                "verdict": verdict,
                "why": why,
                "minimum_effect": row["minimum_effect_corrected"],
                "sentence": _sentence(row, summary, verdict, why),
            }
        )
    return found


ROLES: tuple[Role, ...] = ("primary", "then", "exploratory")
"""Of contrasts, in their order."""


def _sentence(row: SummaryRow, summary: Sequence[SummaryRow], verdict: str, why: str | None) -> str:
    says = {
        HELPS: "helps against",
        HURTS: "hurts against",
        CANNOT_TELL: "can't be told from",
        NO_VERDICT: "has no verdict against",
    }[verdict]
    names: tuple[PopulationColumn, ...] = ("architecture", "scenario", "test_group")
    same = [other for other in summary if all(other[name] == row[name] for name in names)]
    where = [str(row[name]) for name in names if len({other[name] for other in summary}) > 1]
    least = row["minimum_effect_corrected"]
    if why:
        rest = f"{why}; {_amount(row)}"
    elif verdict == CANNOT_TELL and least is not None:
        rest = f"{_amount(row)}; a true effect under {100 * least:.1f} would probably be missed"
    else:
        rest = _amount(row)
    place = f" ({', '.join(where)})" if where else ""
    return f"{series_name(row, same)} {says} {row['reference']}: {rest}{place}."


def _amount(row: SummaryRow) -> str:
    low, high = row["delta_ci_low_corrected"], row["delta_ci_high_corrected"]
    name = METRICS[row["metric"]]
    return f"{points(row['delta'])} points of {name} [{points(low)}, {points(high)}]"
