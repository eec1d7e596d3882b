"""The page of a run that came without its ``report.html``, as from the Hub: whoever wrote what came."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

from markdown_it import MarkdownIt
from markdown_it.token import Token

from skindiff.errors import RunFolderError
from skindiff.evaluation.statistics.rows import SERIES, HalfWidths, agree
from skindiff.files import lies_in
from skindiff.foreign import Malformed, refuse_unlike
from skindiff.report.content import ReportContent, SettingsName, Timings
from skindiff.report.page import fill_page, render_page
from skindiff.report.read import REPORT_FILE, read_report
from skindiff.report.text import CLOSING, Section, lead, told

logger = logging.getLogger(__name__)

_WHOLE = "Report"
"""Title of all of a text that has no sections."""


class _Versions(TypedDict, total=False):
    versions: dict[str, Any]


class _Judged(TypedDict, total=False):
    """What is read of a row of ``summary``, besides what every reader of reports checks."""

    half_widths: HalfWidths | None


class _Shown(TypedDict):
    """What a page shows of ``report.json``, besides what every reader of reports checks."""

    settings: NotRequired[SettingsName]
    summary: list[_Judged]
    timings: Timings
    environment: _Versions


class ReportText(NamedTuple):
    """The parts of a ``report.md``: ``opening`` is what stands between its title and its first section."""

    title: str
    opening: str
    sections: list[Section]
    closing: str


def page_from_markdown(folder: Path, text: str) -> str:
    """Return the page of a run from its ``report.md``.

    With its ``report.json`` it is the page that the run itself has, with cards of the verdicts; where that is
    missing or damaged, the verdicts are a table, as in the text. HTML inside is shown as text.

    Args:
        folder: with the pictures and, where there is one, ``report.json``.
        text: of ``report.md``.
    """
    parts = split_text(text)
    content = _content(folder)
    if content is None:
        return fill_page(
            parts.title or folder.name,
            parts.sections,
            folder,
            kicker="skindiff",
            opening=parts.opening,
            closing=parts.closing,
        )
    # The page has them as badges, and in lines of their own.
    opening = parts.opening.removeprefix(told(content)).removesuffix(lead(content)).strip("\n")
    return render_page(content, parts.sections, folder, opening)


def split_text(text: str) -> ReportText:
    """Return the parts of a ``report.md``; a text without sections is one, so that its contents name it."""
    tokens = MarkdownIt("commonmark", {"html": False}).parse(text)
    lines = re.split(r"\r\n?|\n", text)
    start, title = 0, ""
    if tokens and _opens(tokens[0], "#"):
        title, start = _words(tokens[1]), _lines(tokens[0])[1]
    headings = [place for place, token in enumerate(tokens) if _opens(token, "##")]
    cuts = [_lines(tokens[place]) for place in headings]
    ends = [*(first for first, _ in cuts), len(lines)]
    opening = _joined(lines[start : ends[0]])
    if not cuts:
        return ReportText(title, "", [Section(_WHOLE, opening)], "")
    titles = [tokens[place + 1].content for place in headings]
    bodies = [_joined(lines[after:end]) for (_, after), end in zip(cuts, ends[1:], strict=True)]
    closing = CLOSING if bodies[-1].endswith(CLOSING) else ""
    bodies[-1] = _joined([bodies[-1].removesuffix(CLOSING)])
    return ReportText(title, opening, [*map(Section, titles, bodies)], closing)


def _opens(token: Token, markup: str) -> bool:
    return token.type == "heading_open" and token.level == 0 and token.markup == markup


def _lines(token: Token) -> tuple[int, int]:
    first, after = token.map or (0, 0)
    return first, after


def _words(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines).strip("\n")


def _content(folder: Path) -> ReportContent | None:
    """Return what a page shows of the run's ``report.json``, None where it has none that could be shown."""
    path = folder / REPORT_FILE
    if not path.is_file() or not lies_in(path, folder):
        return None
    try:
        content = read_report(folder)
        refuse_unlike(content, _Shown, "the report")
        _refuse_unjudged(content)
        return content
    except (RunFolderError, Malformed) as error:
        logger.warning("run %s: its verdicts are shown as in report.md: %s", folder.name, error)
        return None


def _refuse_unjudged(content: ReportContent) -> None:
    """Refuse verdicts that follow from no difference of the summary, or from half an interval."""
    wanted = (*SERIES, "metric", "reference")
    for verdict in content["verdicts"]:
        row = next((row for row in content["summary"] if agree(row, verdict, wanted)), None)
        if row is None:
            raise Malformed("a verdict of the report is about no row of its summary")
        for kind in ("", "_corrected"):
            if (row.get(f"delta_ci_low{kind}") is None) != (row.get(f"delta_ci_high{kind}") is None):
                raise Malformed("a row of the report's summary has half an interval of a difference")
