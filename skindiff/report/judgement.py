"""What a report says first: the verdicts, what would change them, and whether the comparison is fair."""

from collections.abc import Sequence
from typing import Literal

from skindiff.classification.cells import REAL, is_probe
from skindiff.classification.rows import METRICS, SplitRow
from skindiff.corpora.registry import shows_patients
from skindiff.escaping import prose
from skindiff.evaluation.statistics.rows import (
    SERIES,
    Difference,
    PopulationColumn,
    ResultRow,
    SummaryRow,
    Verdict,
    agree,
)
from skindiff.evaluation.statistics.verdicts import reference_rows, series_name
from skindiff.report.content import ReportContent
from skindiff.report.study_section import markdown_table
from skindiff.report.tables import deciding_interval, difference, percent

_TIMES: dict[Literal["twice_splits", "twice_trainings", "twice_patients"], str] = {
    "twice_splits": "splits",
    "twice_trainings": "trainings",
    "twice_patients": "test groups",
}
"""What there might be twice as much of."""


def judged(content: ReportContent, verdict: Verdict) -> SummaryRow:
    """Return the row of `summary` that a verdict is about.

    Args:
        content: of ``report.json``.
        verdict: a row of its ``verdicts``.
    """
    wanted = (*SERIES, "metric", "reference")
    return next(row for row in content["summary"] if agree(row, verdict, wanted))


def decided(found: Difference) -> bool:
    """Return whether the interval that a verdict follows from leaves out zero."""
    low, high = deciding_interval(found)
    return low is not None and high is not None and not low <= 0 <= high


def tested(content: ReportContent) -> str:
    """Return what the groups of test images are called: patients, or groups where the corpus shows none."""
    return "patients" if shows_patients(content["corpus"].get("name")) else "groups of images"


def would_change(found: Difference) -> str:
    """Return in a sentence what more splits, trainings and patients would each do to an interval.

    Args:
        found: a row of `summary`. Says nothing where the difference is decided, or was not taken apart.
    """
    widths = found.get("half_widths")
    if not widths or decided(found):
        return ""
    known = [
        f"±{100 * width:.1f} with twice the {what}"
        for name, what in _TIMES.items()
        if (width := widths[name])
    ]
    return f"the interval is ±{100 * widths['now']:.1f} points; it would be about {', '.join(known)}."


def at_chance(content: ReportContent) -> str:
    """Return in a sentence that classifiers of real images are no better than chance, if that is so."""
    rows = [
        row
        for row in reference_rows(content["summary"])
        if row["arm"] == REAL and row["above_chance"] is False and row["metric"] == "balanced_accuracy"
    ]
    if not rows:
        return ""
    scores = f"{percent(rows[0]['mean'])}% balanced accuracy, {percent(rows[0]['chance'])}% by chance"
    probes = all(is_probe(row["architecture"]) for row in rows)
    remedy = "Train on more images." if probes else "Train longer, or on more images."
    return (
        f"Classifiers of `real` images are not known to be better than chance ({scores}). So a comparison "
        f"with them says little. {remedy}"
    )


def verdict_text(content: ReportContent) -> list[str]:
    """Return the verdicts as a table, the primary contrast first, and what would change them."""
    verdicts = content["verdicts"]
    if not verdicts:
        return [at_chance(content)]
    found = [judged(content, one) for one in verdicts]
    names = [f"{named(content['summary'], one)} - {one['reference']}" for one in verdicts]
    lines = [
        [name, one.get("role") or "", one["verdict"], difference(row), _least(row)]
        for name, one, row in zip(names, verdicts, found, strict=True)
    ]
    metric = METRICS[verdicts[0]["metric"]]
    headings = ["difference", "role", "verdict", f"points of {metric} [95%]", "would be found from"]
    reasons = [f"{name}: {one['why']}." for name, one in zip(names, verdicts, strict=True) if one.get("why")]
    first = would_change(found[0])
    change = [f"{names[0]}: {first}"] if first else []
    cautions = dict.fromkeys(row["caution"] for row in found if row["caution"])
    notes = [f"{text[0].upper()}{text[1:]}." for text in cautions]
    return [
        at_chance(content),
        markdown_table(headings, lines),
        "\n".join(f"- {prose(text)}" for text in (*_shared(reasons, len(verdicts)), *change, *notes)),
        _HOW_JUDGED if any(one.get("role") == "exploratory" for one in verdicts) else "",
    ]


_HOW_JUDGED = (
    "The primary contrast is the study's one question and is tested on its own. All others are exploratory "
    "and corrected together (Holm); their intervals are the corrected ones. A true effect of the size in the "
    "last column would be decided in 80 of 100 such studies; it is more than half the interval, as the "
    "estimate varies too."
)


def _shared(reasons: Sequence[str], count: int) -> list[str]:
    """Return reasons, each once, with what it is a reason for: some of so many verdicts, or all."""
    by_reason: dict[str, list[str]] = {}
    for text in reasons:
        name, _, reason = text.partition(": ")
        by_reason.setdefault(reason, []).append(name)
    return [
        f"No verdict on {'any' if len(names) == count > 1 else ', '.join(names)}: {reason}"
        for reason, names in by_reason.items()
    ]


def named(summary: Sequence[SummaryRow], verdict: Verdict) -> str:
    """Return the series of a verdict, and its population where there are several."""
    names: tuple[PopulationColumn, ...] = ("scenario", "test_group", "architecture", "preset")
    same = [row for row in summary if agree(row, verdict, names)]
    several = [name for name in names if len({row[name] for row in summary}) > 1]
    return ", ".join([series_name(verdict, same), *(str(verdict[name]) for name in several)])


def _least(found: Difference) -> str:
    least = found.get("minimum_effect_corrected") or found.get("minimum_effect")
    return "nothing varied" if least is None else f"{100 * least:.1f}"


def comparison_text(content: ReportContent) -> list[str]:
    """Return the flags; without any, what was checked and found in order."""
    if content["flags"]:
        return ["\n".join(f"- {prose(flag)}" for flag in content["flags"])]
    checked = _checked(content["splits"], content["results"])
    return [prose("No problem was found: " + "; ".join(checked) + ".")] if checked else []


def _checked(splits: Sequence[SplitRow], results: Sequence[ResultRow]) -> list[str]:
    if not splits or not results:
        return []
    found = [f"no group is in both training and test ({_number(len(splits), 'split')})"]
    if all(split.get("copies_crossing") == 0 for split in splits):
        found.append("no held-out image is byte for byte a training image")
    steps = {row["architecture"]: row["optimiser_steps"] for row in results if row["optimiser_steps"]}
    if steps and len({row["arm"] for row in results}) > 1:
        counts = ", ".join(f"{count} of {name}" for name, count in steps.items())
        found.append(f"all arms took the same number of optimiser steps ({counts})")
    return found


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
