"""``report.html``: the sections of ``report.md`` as one page that needs no other file and no network."""

import base64
import io
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from skindiff.classification.cells import REAL
from skindiff.classification.rows import METRICS
from skindiff.evaluation.statistics.rows import Difference, Verdict
from skindiff.evaluation.statistics.verdicts import CANNOT_TELL, NO_VERDICT, points
from skindiff.files import lies_in
from skindiff.foreign import read_bytes
from skindiff.report.badges import badges
from skindiff.report.content import ReportContent, Surroundings
from skindiff.report.cost import timing_rows
from skindiff.report.drawing import DARK, DENSITY
from skindiff.report.judgement import decided, judged, named, would_change
from skindiff.report.tables import deciding_interval
from skindiff.report.text import CLOSING, COST, FOUND, Section, lead
from skindiff.report.words import contrast_words

_CSS = 96
"""CSS pixels of an inch."""
_IN_DARK = "screen and (prefers-color-scheme: dark)"
_LONG, _WORD, _MANY_ROWS = 36, 18, 18
"""Characters of a cell that need not break into lines, or of one word inside; rows that need not scroll."""
_MOST_PIXELS = 50_000_000
"""Of a picture; the largest of reports have a tenth of it."""
_INTERVAL = r"\[[^]]*]|\([^()]* to [^()]*\)|\S+ ± \S+"
"""Numbers that stay on one line."""
_FEW_CARDS = 6
"""Verdicts up to which all are shown in words at once."""
_HALF = 100.0
"""Half the width of a verdict's bar, in the units of its picture."""


def render_page(content: ReportContent, sections: Sequence[Section], folder: Path, opening: str = "") -> str:
    """Return the text of ``report.html``: the same for the same content and pictures.

    Args:
        content: of ``report.json``.
        sections: of :func:`~skindiff.report.text.report_sections`.
        folder: that the pictures' paths start from; they are put into the page.
        opening: of :func:`~skindiff.report.text.opening`.
    """
    return fill_page(
        content["title"],
        sections,
        folder,
        kicker=f"skindiff · {content['recipe']}",
        badges=badges(content),
        lead=lead(content),
        opening=opening,
        tally=_tally(content["verdicts"]),
        found=FOUND,
        cards=_cards(content),
        cards_open=len(content["verdicts"]) <= _FEW_CARDS,
        cost=COST,
        timings=timing_rows(content["timings"]),
        environment=_surroundings(content["environment"]),
        closing=CLOSING,
    )


def fill_page(
    title: str,
    sections: Sequence[Section],
    folder: Path,
    *,
    opening: str = "",
    closing: str = "",
    **more: Any,
) -> str:
    """Return a page of sections.

    Args:
        title: its heading.
        sections: its contents.
        folder: that the pictures' paths start from; those that lie in it are shown.
        opening: Markdown below the title.
        closing: Markdown below the last section.
        more: what the template shows besides: ``kicker``, ``lead``, and what a report alone has.
    """
    nothing = dict.fromkeys(
        ("lead", "badges", "tally", "found", "cards", "cards_open", "cost", "timings", "environment")
    )
    markdown = _markdown(folder)
    return _template().render(
        title=title,
        sections=page_sections(sections, folder),
        answer=markdown.render(opening),
        closing=markdown.render(closing),
        **{**nothing, **more},
    )


def page_sections(sections: Sequence[Section], folder: Path) -> list[dict[str, str]]:
    """Return ``id`` (unique), ``title`` and ``html`` of every section."""
    markdown = _markdown(folder)
    found: list[dict[str, str]] = []
    for section in sections:
        name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-") or "section"
        before = sum(one["id"].rstrip("-0123456789") == name for one in found)
        number = f"-{before + 1}" if before else ""
        found.append({"id": name + number, "title": section.title, "html": markdown.render(section.body)})
    return found


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("skindiff.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.jinja")


def _markdown(folder: Path) -> MarkdownIt:
    """Return what turns Markdown into HTML; HTML inside it is shown as text."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.core.ruler.push("figures", _figures)
    markdown.core.ruler.push("tables", _tables)
    markdown.add_render_rule("table_open", _table_open)
    markdown.add_render_rule("table_close", _table_close)

    def image(self: Any, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
        words = self.renderInlineAsText(tokens[place].children or [], options, env)
        return _figure(folder, str(tokens[place].attrs["src"]), words)

    markdown.add_render_rule("image", image)
    return markdown


def _table_open(self: Any, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
    tall = tokens[place].attrs.get("class", "")
    return f'<div class="{f"scroll {tall}".strip()}" tabindex="0" role="region" aria-label="table"><table>\n'


def _table_close(self: Any, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def _figures(state: Any) -> None:
    """Hide the paragraph around pictures that stand alone: a figure may not be inside one."""
    for before, inline, after in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        kinds = {child.type for child in inline.children or ()}
        if before.type == "paragraph_open" and "image" in kinds and kinds <= {"image", "softbreak"}:
            before.hidden = after.hidden = True


def _tables(state: Any) -> None:
    """Mark tables of many rows, columns of sentences, and long names, which are shown in other ways."""
    opened: list[Token] = []
    cells: list[tuple[int, Token, str]] = []
    for token, inner in zip(state.tokens, [*state.tokens[1:], None], strict=False):
        if token.type == "table_open":
            opened, cells = [token], []
        elif token.type == "tr_open":
            opened.append(token)
            column = 0
        elif token.type in ("th_open", "td_open"):
            cells.append((column, token, inner.content))
            for part in inner.children:
                part.content = re.sub(_INTERVAL, _unbroken, part.content)
            column += 1
        elif token.type == "table_close":
            _mark(opened[0], len(opened) - 2, cells)


def _mark(table: Token, rows: int, cells: Sequence[tuple[int, Token, str]]) -> None:
    if rows > _MANY_ROWS:
        table.attrJoin("class", "tall")
    long = {column for column, _, text in cells if len(text) > _LONG and " " in text}
    for column, token, text in cells:
        if column in long:
            token.attrJoin("class", "long")
        elif len(text) > _WORD and " " not in text:
            token.attrJoin("class", "word")


def _figure(folder: Path, name: str, caption: str) -> str:
    path, words = folder / name, escape(caption)
    shown = _embedded(path, folder)
    if shown is None:
        return f"<figure><figcaption>{words} (This picture is not here.)</figcaption></figure>\n"
    data, width, height = shown
    dark = _embedded(path.parent / DARK / path.name, folder)
    other = f'<source media="{_IN_DARK}" srcset="{dark[0]}">' if dark else ""
    return (
        f'<figure><div class="scroll picture" tabindex="0" role="region" aria-label="picture: {words}">'
        f'<picture>{other}<img src="{data}" alt="{words}" width="{width}" height="{height}" '
        f'style="--width: {width}px; --ratio: {width / height:.4f}"></picture>'
        f"</div><figcaption>{words}</figcaption></figure>\n"
    )


def _embedded(path: Path, folder: Path) -> tuple[str, int, int] | None:
    """Return a picture as an address, in half of the bytes that its PNG has, and its CSS pixels.

    None for what is no PNG of this folder that can be decoded: a report may be a stranger's.
    """
    stream = io.BytesIO()
    try:
        if not lies_in(path, folder):
            return None
        with Image.open(io.BytesIO(read_bytes(path)), formats=["PNG"]) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            picture.save(stream, "WEBP", lossless=True, exact=True)
            width, height = (max(1, round(side * _CSS / DENSITY)) for side in picture.size)
    # A damaged file can make a decoder raise nearly anything.
    except Exception:
        return None
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}", width, height


_MEANS = {CANNOT_TELL: "judged, and both more and less are possible", NO_VERDICT: "not judged; it says why"}
"""What tells verdicts apart that sound alike."""


def _tally(verdicts: Sequence[Verdict]) -> str:
    """Return how many differences have which verdict."""
    counts = Counter(one["verdict"] for one in verdicts)
    meant = {word: f" ({_MEANS[word]})" if word in _MEANS else "" for word in counts}
    return "; ".join(f"{count} × {word}{meant[word]}" for word, count in counts.items())


def _cards(content: ReportContent) -> list[dict[str, Any]]:
    """Return what the page shows of every verdict, the primary contrast first."""
    verdicts = content["verdicts"]
    asked = any(one.get("role") == "primary" for one in verdicts)
    found = [judged(content, one) for one in verdicts]
    ends = [abs(end) for one in found for end in deciding_interval(one) if end is not None]
    limit = max([0.01, *ends])
    return [
        {
            "word": one["verdict"],
            "mood": mood(value) if one["verdict"] != NO_VERDICT else "open",
            "role": one.get("role") or "",
            "first": one.get("role") != "exploratory" if asked else one["reference"] == REAL,
            "name": named(content["summary"], one),
            "reference": one["reference"],
            "meaning": contrast_words(one),
            "sentence": re.sub(_INTERVAL, _unbroken, one["sentence"]),
            "amount": _amount(value, one["metric"]),
            "change": would_change(value) if one.get("role") == "primary" else "",
            "bar": _bar(value, limit),
            "limit": points(limit),
        }
        for one, value in zip(verdicts, found, strict=True)
    ]


def _amount(found: Difference, metric: str) -> str:
    low, high = deciding_interval(found)
    interval = f" [{points(low)}, {points(high)}]" if low is not None else ""
    return f"{points(found['delta'])}{interval} points of {METRICS[metric]}".replace(", ", ",\u00a0")


def _unbroken(interval: re.Match[str]) -> str:
    return interval[0].replace(" ", "\u00a0")


def mood(found: Difference) -> str:
    """Return ``good``, ``bad`` or ``open``, as a difference's interval lies above, below or around zero."""
    if not decided(found):
        return "open"
    return "good" if (found["delta"] or 0) > 0 else "bad"


def _bar(found: Difference, limit: float) -> dict[str, float] | None:
    """Return where a difference and its intervals are drawn, from -100 to 100."""
    if found["delta_ci_low"] is None:
        return None
    low, high = deciding_interval(found)
    ends = {"low": found["delta_ci_low"], "high": found["delta_ci_high"], "delta": found["delta"]}
    ends |= {"outer_low": low, "outer_high": high}
    return {name: round(_HALF * max(-1.0, min(1.0, (end or 0.0) / limit)), 2) for name, end in ends.items()}


def _surroundings(environment: Surroundings) -> list[tuple[str, str]]:
    """Return the machine and versions as rows."""
    rows = [(name.replace("_", " "), str(value)) for name, value in environment.items() if name != "versions"]
    return rows + [(name, str(value)) for name, value in environment.get("versions", {}).items()]
