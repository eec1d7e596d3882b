"""The section on what was tried: which was chosen on some groups, and whether it holds on others."""

from collections.abc import Sequence

from skindiff.classification.rows import METRICS
from skindiff.evaluation.statistics.rows import TriedRow
from skindiff.evaluation.statistics.verdicts import FEWEST_UNITS, NO_VERDICT, call, series_name
from skindiff.report.ladder import interval
from skindiff.report.study_section import StudySection, markdown_table

TITLE = "What was tried, and what holds"


def tried_section(rows: Sequence[TriedRow]) -> StudySection:
    """Return the table of every row of :func:`~skindiff.evaluation.statistics.choosing.tried_rows`."""
    if not rows:
        return StudySection(TITLE)
    lines = [
        [
            series_name(row, rows) + (" (chosen)" if row["chosen"] else ""),
            row["reference"],
            interval(row["gain"], row["gain_ci_low"], row["gain_ci_high"]),
            _confirmed(row),
        ]
        for row in sorted(rows, key=lambda row: row["gain"], reverse=True)
    ]
    best = next(row for row in rows if row["chosen"])
    headings = [
        "images used as",
        "against",
        f"gain on {best['groups']} groups that choose [95%]",
        f"on {best['confirming_groups']} others [95%]",
    ]
    about = (
        f"Points of {METRICS[best['metric']]}. The groups of the test images were cut in two before anything "
        "was compared. The row with the largest gain on the first part is the chosen one; as the best of "
        f"{len(rows)} it is partly lucky there. Its gain on the second part, which had no say, was computed "
        "once, and is the one to believe; no other was computed."
    )
    return StudySection(TITLE, f"{markdown_table(headings, lines)}\n\n{about}", after="Scores")


def tried_finding(rows: Sequence[TriedRow]) -> str:
    """Return in a sentence which was chosen, and whether it holds."""
    for row in rows:
        if row["chosen"]:
            name = series_name(row, rows)
            if row["runs"] < FEWEST_UNITS:
                verdict = f"{NO_VERDICT}, as it rests on {row['runs']} of the {FEWEST_UNITS} runs it needs"
            else:
                verdict = call(row["confirmed_ci_low"], row["confirmed_ci_high"])
            first = interval(row["gain"], row["gain_ci_low"], row["gain_ci_high"])
            return (
                f"The best of {len(rows)} is {name}: {first} points where it was chosen, "
                f"{_confirmed(row)} where it was not: {verdict}."
            )
    return ""


def _confirmed(row: TriedRow) -> str:
    value, low, high = row["confirmed"], row["confirmed_ci_low"], row["confirmed_ci_high"]
    return "" if value is None or low is None or high is None else interval(value, low, high)
