"""Class words, titles and notes that are markup: shown letter by letter in report.md and in the pages."""

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from skindiff.report.class_sections import per_class_f1, per_class_section
from skindiff.report.from_markdown import page_from_markdown
from skindiff.report.write import write_report
from tests.report.test_page import Page
from tests.report.test_write import small_report
from tests.test_escaping import NAMES

FORMULA = "$\\frac$ $x^$"
"""What a plot takes for mathematics, and cannot read."""
SHOWN = ("<script>alert(1)<_script>", "**bold** | pipe", "[click](http:__x)", "$(touch x)", FORMULA)


def write_hostile(path: Path) -> Path:
    """Write a report whose title, classes and notes are markup."""
    report = small_report(
        title=NAMES[0], notes=[f"{name} has no image of {name} in `syn`." for name in NAMES]
    )
    names = (FORMULA, *(NAMES * 2))[: len(report.cells[0].class_names)]
    cells = [replace(cell, class_names=names) for cell in report.cells]
    (row, *_) = per_class_f1(cells)
    row["f1"] = dict.fromkeys((FORMULA, *NAMES), row["f1"][FORMULA])
    write_report(path, replace(report, cells=cells, study_sections=[per_class_section([row])]))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hostile(tmp_path_factory.mktemp("hostile"))


def test_the_text_shows_them(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    assert not set(re.findall(r"<(\w+)", page)) & {"script", "a", "s", "b"}
    assert "\x1b" not in text
    assert all(name in html.unescape(page) for name in SHOWN)
    pictures = {f"pictures/{path.name}" for path in (folder / "pictures").iterdir()}
    assert set(re.findall('src="([^"]*)"', page)) <= pictures


def test_the_pages_show_them(folder: Path) -> None:
    again = page_from_markdown(folder, (folder / "report.md").read_text())
    for text in ((folder / "report.html").read_text(), again):
        page = Page(text)
        assert page.open == []
        assert not {"script", "s", "b"} & {tag for tag, _ in page.tags}
        assert all((link["href"] or "").startswith("#") for link in page.all("a"))
        assert all(name in page.words for name in SHOWN)
        assert "\x1b" not in text
