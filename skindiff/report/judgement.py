"""What a report says first: the verdicts, what would change them, and whether the comparison is fair."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from skindiff.corpora.registry import shows_patients

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


def tested(content: Mapping[str, Any]) -> str:
    """Return what the groups of test images are called: patients, or groups where the corpus shows none."""
    return "patients" if shows_patients(content["corpus"].get("name")) else "groups of images"


def would_change(found: Mapping[str, Any], groups: str = "patients") -> str:
    """Return in a sentence how much more data would decide a difference that is not decided yet.

    The factor is that by which a standard error must shrink for the difference that was seen to be the least
    that is found with 80% power; an error shrinks as the root of what it comes from.

    Args:
        found: a difference. Says nothing where it is decided, or where its row holds no minimum effect.
        groups: of :func:`tested`.
    """
    least = found.get("minimum_effect_corrected") or found.get("minimum_effect")
    if least is None or decided(found):
        return ""
    factor = (least / abs(found["delta"])) ** 2 if found["delta"] else math.inf
    times = f"about {factor:.0f} times" if factor < _HOPELESS else f"more than {_HOPELESS} times"
    share, why = found.get("delta_seed_share"), ""
    if share is not None and found["paired_cells"] > 1:  # one run says nothing about seeds
        why = f" ({_percent(share)} of the variance comes from seeds, {_percent(1 - share)} from {groups})"
    return (
        f"If the true difference is the one seen, {times} as many seeds and tested {groups} would decide "
        f"it{why}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def at_chance(content: Mapping[str, Any]) -> str:
    """Return in a sentence that classifiers of real images are no better than chance, if that is so."""
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
        f"Classifiers of `real` images are not known to be better than chance ({scores}). So a comparison "
        "with them says little about synthetic images. Train longer, or on more images."
    )


def verdict_text(content: Mapping[str, Any]) -> list[str]:
    """Return the verdicts against `real`, and the sentences against the controls, as lists."""
    lines, others = [], []
    for one in content["verdicts"]:
        if one["reference"] == "real":
            more = would_change(judged(content, one), tested(content))
            lines.append(f"- **{one['verdict']}**: {one['sentence']}" + (f" {more}" if more else ""))
        else:
            others.append(f"- {one['sentence']}")
    against = "Against the controls:\n\n" + "\n".join(others) if others else ""
    return [at_chance(content), "\n".join(lines), against]


def comparison_text(content: Mapping[str, Any]) -> list[str]:
    """Return the flags; without any, what was checked and found in order."""
    if content["flags"]:
        return ["\n".join(f"- {flag}" for flag in content["flags"])]
    checked = _checked(content["splits"], content["results"])
    return ["No problem was found: " + "; ".join(checked) + "."] if checked else []


def _checked(splits: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> list[str]:
    if not splits or not results:
        return []
    found = [f"no group is in both training and test ({_number(len(splits), 'split')})"]
    if all(split.get("copies_crossing") == 0 for split in splits):
        found.append("no held-out image is byte for byte a training image")
    steps = {row["architecture"]: row["optimiser_steps"] for row in results}
    if len({row["arm"] for row in results}) > 1:
        counts = ", ".join(f"{count} of {name}" for name, count in steps.items())
        found.append(f"all arms took the same number of optimiser steps ({counts})")
    return found


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
