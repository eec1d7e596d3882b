"""The section that takes a published gain apart, step by step."""

from collections.abc import Sequence

from skindiff.classification.rows import METRICS
from skindiff.evaluation.statistics.comparisons import FEW_UNITS
from skindiff.evaluation.statistics.rows import RungRow
from skindiff.report.study_section import StudySection, markdown_table

TITLE = "How much of the published gain is the generator's"
HEADINGS = ("gain [95%]", "changed by [95%]", "runs, images")
"""Of the last columns of the table."""


def ladder_section(rows: Sequence[RungRow]) -> StudySection:
    """Return the table of every rung of :func:`~skindiff.evaluation.statistics.ladder.ladder_rows`."""
    if not rows:
        return StudySection(TITLE)
    several = len({row["strategy"] for row in rows}) > 1
    lines = [step_cells(row, several) for row in rows]
    metric = METRICS[rows[0]["metric"]]
    headings = ["step", "difference", "optimiser steps", metric, *HEADINGS]
    about = (
        "The first row compares as the paper does, at the size of this study; each further row takes away "
        "one more thing that is not the generator's. The order was stated before it ran and is one of "
        "several: what a step changes depends on those before it. On the same split a change is paired by "
        "image and seed; where the split changes, two independent intervals are set against each other. Each "
        "interval is of 95% on its own, and not corrected for their number. "
        "These are networks that are fine-tuned, and stand beside the study's own verdicts, not among them."
    )
    if min(row["runs"] for row in rows) < FEW_UNITS:
        about = f"Fewer than {FEW_UNITS} runs: these intervals hold for these runs alone. {about}"
    return StudySection(TITLE, f"{markdown_table(headings, lines)}\n\n{about}", after="Scores")


def step_cells(row: RungRow, several: bool = False) -> list[str]:
    """Return a row of the table; ``several`` says that strategies have to be told apart."""
    return [
        (f"{row['strategy']}: " if several else "") + row["rung"],
        f"`{row['arm']}` - `{row['reference']}`",
        f"{row['optimiser_steps']:.0f} / {row['reference_steps']:.0f}",
        f"{100 * row['mean']:.1f} / {100 * row['reference_mean']:.1f}",
        interval(row["gain"], row["gain_ci_low"], row["gain_ci_high"]),
        _change(row),
        f"{row['runs']} of {row['images']}",
    ]


def ladder_finding(rows: Sequence[RungRow]) -> str:
    """Return in a sentence for each strategy what the gain is at both ends."""
    lines = []
    for strategy in dict.fromkeys(row["strategy"] for row in rows):
        own = [row for row in rows if row["strategy"] == strategy]
        ends = [interval(row["gain"], row["gain_ci_low"], row["gain_ci_high"]) for row in (own[0], own[-1])]
        lines.append(
            f"{strategy}: {ends[0]} points as published, {ends[1]} at the end of {len(own) - 1} steps."
        )
    return " ".join(lines)


def interval(value: float, low: float, high: float) -> str:
    """Return a difference in points with its interval."""
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _change(row: RungRow) -> str:
    value, low, high = row["change"], row["change_ci_low"], row["change_ci_high"]
    if value is None or low is None or high is None:
        return ""
    return interval(value, low, high) + ("" if row["paired"] else " (unpaired)")
