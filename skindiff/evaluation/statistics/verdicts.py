"""What follows from an interval, in plain words."""

from collections.abc import Mapping, Sequence
from typing import Any

FEW_SEEDS = 3
"""With fewer cells a verdict says that it rests on few splits."""


def call(low: float | None, high: float | None) -> str:
    """Return ``"gained"``, ``"lost"`` or ``"cannot tell"`` from the ends of a difference's interval."""
    if low is None or high is None or low <= 0 <= high:
        return "cannot tell"
    return "gained" if low > 0 else "lost"


def points(value: float | None) -> str:
    """Return a difference of scores in [-1, 1] as signed points, ``"n/a"`` where there is none."""
    return "n/a" if value is None else f"{100 * value + 0.0:+.1f}"


def series_name(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the arm, with strategy and ratio where other rows of the same arm differ in them."""
    same_arm = [other for other in rows if other["arm"] == row["arm"]]
    parts = [str(row["arm"])]
    if len({other["strategy"] for other in same_arm}) > 1:
        parts.append(str(row["strategy"]))
    if len({other["ratio"] for other in same_arm}) > 1:
        parts.append(f"x {row['ratio']:g}" if row["ratio"] is not None else "")
    return " ".join(part for part in parts if part)


def judged_differences(
    row: Mapping[str, Any], summary: Sequence[Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Return the differences that matter by reference: to `real`, and to controls unless the row is one."""
    controls = {arm for other in summary for arm in other["against"]}
    found = {"real": row} | (row["against"] if row["arm"] not in {"real", *controls} else {})
    return {reference: one for reference, one in found.items() if one["delta"] is not None}


def verdicts(summary: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Return a verdict for every series against `real`, and for every arm under test against the controls.

    Args:
        summary: rows of `summary`; arms that they name as further references are the controls.
        metric: the score that is judged.

    Returns:
        Dicts with the key of the series, ``metric``, ``reference``, ``verdict`` (:func:`call`) and
        ``sentence``.
    """
    found = []
    for row in summary:
        if row["metric"] != metric:
            continue
        for reference, difference in judged_differences(row, summary).items():
            verdict = call(difference["delta_ci_low"], difference["delta_ci_high"])
            found.append(
                {
                    **{name: row[name] for name in _KEY},
                    "metric": metric,
                    "reference": reference,
                    "verdict": verdict,
                    "sentence": _sentence(row, reference, difference, verdict),
                }
            )
    return found


_KEY = ("scenario", "test_group", "generator", "strategy", "arm", "ratio", "architecture", "preset")


def _sentence(row: Mapping[str, Any], reference: str, difference: Mapping[str, Any], verdict: str) -> str:
    name = row["metric"].replace("_", " ")
    strategy = f" ({row['strategy']})" if row["strategy"] else ""
    where = f"{row['architecture']}, scenario {row['scenario']}, {row['test_group']} test images"
    interval = f"[{points(difference['delta_ci_low'])}, {points(difference['delta_ci_high'])}]"
    amount = f"{points(difference['delta'])} points of {name} {interval}"
    says = {
        "gained": f"gained over {reference}: {amount}",
        "lost": f"lost against {reference}: {amount}",
        "cannot tell": f"cannot be told from {reference}: {amount}",
    }[verdict]
    pairs = difference["paired_cells"]
    few = f"; only {pairs} paired run{'s' * (pairs != 1)}, so do not build on it" if pairs < FEW_SEEDS else ""
    return f"{row['arm']}{strategy} {says} ({where}{few})."
