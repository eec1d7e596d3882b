"""What a report says first: the verdicts, what would change them, and whether the comparison is fair."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from skindiff.evaluation.statistics.verdicts import points, series_name
from skindiff.report.study_section import markdown_table

KEY = ("scenario", "test_group", "generator", "strategy", "arm", "ratio", "architecture", "preset")
"""What names a series in `summary` and `verdicts`."""
_HOPELESS = 100
"""Times as much data, from which on the number does not matter."""


def judged(content: Mapping[str, Any], verdict: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the difference that a verdict is about: the fields of its row of `summary`.

    Args:
        content: of ``report.json``.
        verdict: a row of its ``verdicts``.
    """
    wanted = {name: verdict[name] for name in (*KEY, "metric")}
    row = next(row for row in content["summary"] if all(row[name] == value for name, value in wanted.items()))
    found: Mapping[str, Any] = row if verdict["reference"] == "real" else row["against"][verdict["reference"]]
    return found


def decided(found: Mapping[str, Any]) -> bool:
    """Return whether the interval that a verdict follows from leaves out zero."""
    low, high = deciding_interval(found)
    return low is not None and high is not None and not low <= 0 <= high


def deciding_interval(found: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the ends of a difference's interval, corrected for the number of arms where that was done."""
    if found.get("delta_ci_low_corrected") is not None:
        return found["delta_ci_low_corrected"], found["delta_ci_high_corrected"]
    return found["delta_ci_low"], found["delta_ci_high"]


def would_change(found: Mapping[str, Any]) -> str:
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


def at_chance(content: Mapping[str, Any]) -> str:
    """Return in a sentence that classifiers of real images do no better than chance, if that is so."""
    rows = [
        row for row in content["summary"] if row["arm"] == "real" and row["metric"] == "balanced_accuracy"
    ]
    if not rows or not content["results"]:
        return ""
    classes = len(content["results"][0]["per_class_f1"])
    low = [row for row in rows if row["ci_low"] is not None and row["ci_low"] <= 1 / classes]
    if not low:
        return ""
    scores = f"{100 * low[0]['mean']:.1f}% balanced accuracy, {100 / classes:.1f}% by chance"
    return (
        f"Classifiers of `real` images are not known to do better than chance ({scores}): what is compared "
        "with them says little of synthetic images. Train longer, or on more images."
    )


def verdict_text(content: Mapping[str, Any]) -> list[str]:
    """Return the verdicts against `real` and against the controls as a table, and what would change them."""
    if not content["verdicts"]:
        return [at_chance(content)]
    found = [judged(content, one) for one in content["verdicts"]]
    names = [named(content["summary"], one) for one in content["verdicts"]]
    lines = [
        [f"{name} - {one['reference']}", one["verdict"], _amount(value), _least(value)]
        for name, one, value in zip(names, content["verdicts"], found, strict=True)
    ]
    metric = content["verdicts"][0]["metric"].replace("_", " ")
    headings = ["difference", "verdict", f"points of {metric} [95%, corrected]", "could be seen from"]
    cautions = {value["caution"]: None for value in found if value["caution"]}
    more = [
        f"- {name}: {change}"
        for name, one, value in zip(names, content["verdicts"], found, strict=True)
        if one["reference"] == "real" and (change := would_change(value))
    ]
    notes = [f"- {text[0].upper()}{text[1:]}." for text in cautions]
    return [at_chance(content), markdown_table(headings, lines), "\n".join(more + notes)]


def named(summary: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any]) -> str:
    """Return the series of a verdict, and its population where there are several."""
    names = ("scenario", "test_group", "architecture", "preset")
    same = [row for row in summary if all(row[name] == verdict[name] for name in names)]
    several = [name for name in names if len({row[name] for row in summary}) > 1]
    return ", ".join([series_name(verdict, same), *(str(verdict[name]) for name in several)])


def _amount(found: Mapping[str, Any]) -> str:
    low, high = deciding_interval(found)
    return f"{points(found['delta'])} [{points(low)}, {points(high)}]"


def _least(found: Mapping[str, Any]) -> str:
    least = found.get("minimum_effect_corrected") or found.get("minimum_effect")
    return "nothing varied" if least is None else f"{100 * least:.1f}"


def comparison_text(content: Mapping[str, Any]) -> list[str]:
    """Return the flags; without any, what was looked at and found in order."""
    if content["flags"]:
        return ["\n".join(f"- {flag}" for flag in content["flags"])]
    checked = _checked(content["splits"], content["results"])
    return ["Nothing was found against it: " + "; ".join(checked) + "."] if checked else []


def _checked(splits: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> list[str]:
    if not splits or not results:
        return []
    found = [f"no group stands in training and test at once ({_number(len(splits), 'split')})"]
    if all(split.get("copies_crossing") == 0 for split in splits):
        found.append("no held-out image is byte for byte a training image")
    steps = {row["architecture"]: row["optimiser_steps"] for row in results if row["optimiser_steps"]}
    if steps and len({row["arm"] for row in results}) > 1:
        counts = ", ".join(f"{count} of {name}" for name, count in steps.items())
        found.append(f"all arms took the same number of optimiser steps ({counts})")
    return found


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
