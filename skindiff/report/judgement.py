"""What a report says first: the verdicts, what would change them, and whether the comparison is fair."""

import math
from collections.abc import Sequence

from skindiff.classification.rows import SplitRow
from skindiff.evaluation.statistics.rows import Difference, ResultRow, Verdict, agree
from skindiff.report.content import ReportContent

KEY = ("scenario", "test_group", "generator", "strategy", "arm", "ratio", "architecture", "preset")
"""What names a series in `summary` and `verdicts`."""
_HOPELESS = 100
"""Times as much data, from which on the number does not matter."""


def judged(content: ReportContent, verdict: Verdict) -> Difference:
    """Return the difference that a verdict is about: the fields of its row of `summary`.

    Args:
        content: of ``report.json``.
        verdict: a row of its ``verdicts``.
    """
    row = next(row for row in content["summary"] if agree(row, verdict, (*KEY, "metric")))
    return row if verdict["reference"] == "real" else row["against"][verdict["reference"]]


def decided(found: Difference) -> bool:
    """Return whether the interval that a verdict follows from leaves out zero."""
    low, high = deciding_interval(found)
    return low is not None and high is not None and not low <= 0 <= high


def deciding_interval(found: Difference) -> tuple[float | None, float | None]:
    """Return the ends of a difference's interval, corrected for the number of arms where that was done."""
    if found.get("delta_ci_low_corrected") is not None:
        return found["delta_ci_low_corrected"], found["delta_ci_high_corrected"]
    return found["delta_ci_low"], found["delta_ci_high"]


def would_change(found: Difference) -> str:
    """Return in a sentence what it would take to tell a difference that could not be told from none.

    The factor is that by which a standard error must shrink for the difference that was seen to be the least
    that is found with 80% power; an error shrinks as the root of what it comes from.

    Args:
        found: a difference. Says nothing where it is decided, or where its row holds no minimum effect.
    """
    least = found.get("minimum_effect_corrected") or found.get("minimum_effect")
    if least is None or decided(found):
        return ""
    factor = (least / abs(found["delta"])) ** 2 if found["delta"] else math.inf
    times = f"about {factor:.0f} times" if factor < _HOPELESS else f"more than {_HOPELESS} times"
    share, why = found.get("delta_seed_share"), ""
    if share is not None and found["paired_cells"] > 1:  # one run says nothing about seeds
        why = f" ({_percent(share)} of the variance comes from seeds, {_percent(1 - share)} from patients)"
    return (
        f"What would change this: {times} as many seeds and tested patients, should the true difference be "
        f"the one seen{why}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def at_chance(content: ReportContent) -> str:
    """Return in a sentence that classifiers of real images do no better than chance, if that is so."""
    rows = [
        row for row in content["summary"] if row["arm"] == "real" and row["metric"] == "balanced_accuracy"
    ]
    if not rows or not content["results"]:
        return ""
    classes = len(content["results"][0]["per_class_f1"])
    low = [
        row["mean"]
        for row in rows
        if row["mean"] is not None and row["ci_low"] is not None and row["ci_low"] <= 1 / classes
    ]
    if not low:
        return ""
    scores = f"{100 * low[0]:.1f}% balanced accuracy, {100 / classes:.1f}% by chance"
    return (
        f"Classifiers of `real` images are not known to do better than chance ({scores}): what is compared "
        "with them says little of synthetic images. Train longer, or on more images."
    )


def verdict_text(content: ReportContent) -> list[str]:
    """Return the verdicts against `real`, and the sentences against the controls, as lists."""
    lines, others = [], []
    for one in content["verdicts"]:
        if one["reference"] == "real":
            more = would_change(judged(content, one))
            lines.append(f"- **{one['verdict']}**: {one['sentence']}" + (f" {more}" if more else ""))
        else:
            others.append(f"- {one['sentence']}")
    against = "Against the controls:\n\n" + "\n".join(others) if others else ""
    return [at_chance(content), "\n".join(lines), against]


def comparison_text(content: ReportContent) -> list[str]:
    """Return the flags; without any, what was looked at and found in order."""
    if content["flags"]:
        return ["\n".join(f"- {flag}" for flag in content["flags"])]
    checked = _checked(content["splits"], content["results"])
    return ["Nothing was found against it: " + "; ".join(checked) + "."] if checked else []


def _checked(splits: Sequence[SplitRow], results: Sequence[ResultRow]) -> list[str]:
    if not splits or not results:
        return []
    found = [f"no group stands in training and test at once ({_number(len(splits), 'split')})"]
    if all(split.get("copies_crossing") == 0 for split in splits):
        found.append("no held-out image is byte for byte a training image")
    steps = {row["architecture"]: row["optimiser_steps"] for row in results}
    if len({row["arm"] for row in results}) > 1:
        counts = ", ".join(f"{count} of {name}" for name, count in steps.items())
        found.append(f"all arms took the same number of optimiser steps ({counts})")
    return found


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
