"""A section that only some reports have, made where its numbers are, placed by the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from skindiff.escaping import prose
from skindiff.report.content import ReportContent

Picture = tuple[str, str, Callable[[Path], None]]
"""A picture of a section: its file name (a PNG, of its own in the report), caption, and what plots it."""


@dataclass(frozen=True)
class StudySection:
    """A section that only some reports have.

    Attributes:
        title: its heading.
        text: Markdown below the heading.
        pictures: of numbers.
        photographs: pictures that show images of the corpus, or synthetic images made from them; they are
            left out of reports that include no images.
        after: title of the section of every report that it follows (see
            :data:`skindiff.report.text.TITLES`); those after the same section keep their order.
    """

    title: str
    text: str = ""
    pictures: tuple[Picture, ...] = ()
    photographs: tuple[Picture, ...] = ()
    after: str = "Samples"


StudySectionOf = Callable[[ReportContent], StudySection]
"""Makes a section from the whole content of ``report.json``."""


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is words and whose others are numbers; names in it are escaped."""
    rule = ["---"] + ["---:"] * (len(headings) - 1)
    lines = [[prose(cell, in_table=True) for cell in cells] for cells in (headings, *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], rule, *lines[1:]))
