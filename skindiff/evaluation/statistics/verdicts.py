"""What follows from an interval, in plain words."""

from collections.abc import Sequence

from skindiff.classification.rows import SeriesColumns
from skindiff.evaluation.statistics.rows import Difference, SummaryRow, Verdict, agree, series_columns

HELPS, HURTS, CANNOT_TELL = "helps", "hurts", "can't tell"


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
    """Whether other generators have drawn for the same arm in the same way."""
    drawn = {other["generator"] for other in rows if agree(other, row, ("arm", "strategy"))}
    return len(drawn) > 1


def judged_differences(row: SummaryRow, summary: Sequence[SummaryRow]) -> dict[str, Difference]:
    """Return the differences that matter by reference: to `real`, and to controls unless the row is one."""
    controls = {arm for other in summary for arm in other["against"]}
    found: dict[str, Difference] = {"real": row}
    found |= row["against"] if row["arm"] not in {"real", *controls} else {}
    return {reference: one for reference, one in found.items() if one["delta"] is not None}


def verdicts(summary: Sequence[SummaryRow], metric: str) -> list[Verdict]:
    """Return a verdict for every series against `real`, and for every arm under test against the controls.

    A verdict follows from the interval corrected for the number of arms, and from nothing else.

    Args:
        summary: rows of `summary`; arms that they name as further references are the controls.
        metric: the score that is judged.

    Returns:
        Dicts with the key of the series, ``metric``, ``reference``, ``verdict`` (:func:`call`),
        ``minimum_effect`` (the corrected one) and ``sentence``.
    """
    found: list[Verdict] = []
    for row in summary:
        if row["metric"] != metric:
            continue
        for reference, difference in judged_differences(row, summary).items():
            verdict = call(difference["delta_ci_low_corrected"], difference["delta_ci_high_corrected"])
            found.append(
                {
                    **series_columns(row),
                    "metric": metric,
                    "reference": reference,
                    "verdict": verdict,
                    "minimum_effect": difference["minimum_effect_corrected"],
                    "sentence": _sentence(row, summary, reference, difference, verdict),
                }
            )
    return found


def _sentence(
    row: SummaryRow,
    summary: Sequence[SummaryRow],
    reference: str,
    difference: Difference,
    verdict: str,
) -> str:
    by = f" by {row['generator']}" if several_generators(row, summary) else ""
    strategy = f" ({row['strategy']}{by})" if row["strategy"] else ""
    says = {
        HELPS: f"helps against {reference}",
        HURTS: f"hurts against {reference}",
        CANNOT_TELL: f"can't be told from {reference}",
    }[verdict]
    where = f"{row['architecture']}, scenario {row['scenario']}, {row['test_group']} test images"
    parts = [f"{_amount(row, difference)} ({where})", _least(difference), difference["caution"]]
    return f"{row['arm']}{strategy} {says}: {'; '.join(part for part in parts if part)}."


def _amount(row: SummaryRow, difference: Difference) -> str:
    low, high = difference["delta_ci_low_corrected"], difference["delta_ci_high_corrected"]
    count = difference["comparisons"]
    corrected = f", corrected for {count} comparisons" if count > 1 else ""
    name = row["metric"].replace("_", " ")
    return f"{points(difference['delta'])} points of {name} [{points(low)}, {points(high)}]{corrected}"


def _least(difference: Difference) -> str:
    least = difference["minimum_effect_corrected"]
    if least is None:
        return "nothing varied, so nothing is known of smaller effects"
    return f"an effect below {100 * least:.1f} points could not have been seen reliably"
