"""What follows from an interval, in plain words."""

from collections.abc import Mapping, Sequence
from typing import Any

HELPS, HURTS, CANNOT_TELL = "helps", "hurts", "can't tell"


def call(low: float | None, high: float | None) -> str:
    """Return :data:`HELPS`, :data:`HURTS` or :data:`CANNOT_TELL` from the ends of a difference's interval."""
    if low is None or high is None or low <= 0 <= high:
        return CANNOT_TELL
    return HELPS if low > 0 else HURTS


def points(value: float | None) -> str:
    """Return a difference of scores in [-1, 1] as signed points, ``"n/a"`` where there is none."""
    return "n/a" if value is None else f"{100 * value + 0.0:+.1f}"


def series_name(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
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


def several_generators(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether other generators made images for the same arm by the same strategy."""
    drawn = {
        other["generator"] for other in rows if all(other[name] == row[name] for name in ("arm", "strategy"))
    }
    return len(drawn) > 1


def judged_differences(
    row: Mapping[str, Any], summary: Sequence[Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Return the differences that matter by reference: to `real`, and to controls unless the row is one."""
    controls = {arm for other in summary for arm in other["against"]}
    found = {"real": row} | (row["against"] if row["arm"] not in {"real", *controls} else {})
    return {reference: one for reference, one in found.items() if one["delta"] is not None}


def verdicts(summary: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Return a verdict for every series against `real`, and for every arm under test against the controls.

    A verdict follows from the interval corrected for the number of arms, and from nothing else.

    Args:
        summary: rows of `summary`; arms that they name as further references are the controls.
        metric: the score that is judged.

    Returns:
        Dicts with the key of the series, ``metric``, ``reference``, ``verdict`` (:func:`call`),
        ``minimum_effect`` (the corrected one) and ``sentence``.
    """
    found = []
    for row in summary:
        if row["metric"] != metric:
            continue
        for reference, difference in judged_differences(row, summary).items():
            verdict = call(difference["delta_ci_low_corrected"], difference["delta_ci_high_corrected"])
            found.append(
                {
                    **{name: row[name] for name in _KEY},
                    "metric": metric,
                    "reference": reference,
                    "verdict": verdict,
                    "minimum_effect": difference["minimum_effect_corrected"],
                    "sentence": _sentence(row, summary, reference, difference, verdict),
                }
            )
    return found


_KEY = ("scenario", "test_group", "generator", "strategy", "arm", "ratio", "architecture", "preset")
_POPULATION = ("scenario", "architecture", "preset")


def _sentence(
    row: Mapping[str, Any],
    summary: Sequence[Mapping[str, Any]],
    reference: str,
    difference: Mapping[str, Any],
    verdict: str,
) -> str:
    says = {HELPS: "is better than", HURTS: "is worse than", CANNOT_TELL: "can't be told apart from"}[verdict]
    several = [name for name in _POPULATION if len({other[name] for other in summary}) > 1]
    where = f"{row['test_group']} test images"
    where += f" ({', '.join(f'{name} {row[name]}' for name in several)})" if several else ""
    first = f"{series_name(row, summary)} {says} {reference} on {where}: {_amount(row, difference)}"
    more = [f"{one[0].upper()}{one[1:]}." for one in (_least(difference), difference["caution"]) if one]
    return " ".join([f"{first}.", *more])


def _amount(row: Mapping[str, Any], difference: Mapping[str, Any]) -> str:
    low, high = difference["delta_ci_low_corrected"], difference["delta_ci_high_corrected"]
    count = difference["comparisons"]
    corrected = f", corrected for {count} comparisons" if count > 1 else ""
    name = row["metric"].replace("_", " ")
    return f"{points(difference['delta'])} points of {name} [{points(low)}, {points(high)}]{corrected}"


def _least(difference: Mapping[str, Any]) -> str:
    least = difference["minimum_effect_corrected"]
    if least is None:
        return "nothing varied, so nothing is known of smaller effects"
    return f"effects below {100 * least:.1f} points could not have been seen reliably"
