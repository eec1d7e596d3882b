"""The pages in a real Chromium: Debian's, through Playwright."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from skindiff.corpora.audit import AuditRow
from skindiff.report.audit_page import render_audit
from skindiff.report.compare import PAGE_FILE, Run, write_comparison
from skindiff.report.from_markdown import page_from_markdown
from skindiff.report.page import fill_page
from skindiff.report.text import Section
from skindiff.report.write import write_report
from tests.accessibility import SCHEMES, SCREENS, VIEWS, serious_problems, unfold
from tests.browser import playwright
from tests.evaluation.made_up import make_cells
from tests.report.test_hostile_names import SHOWN, write_hostile
from tests.report.test_write import PICTURES, made_up_report, small_report

READ = """() => {
  const luminance = colour => colour.match(/\\d+/g).slice(0, 3).map(Number)
    .map(part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const contrast = (element, ground) => {
    const pair = [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor].map(luminance);
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  };
  const card = document.querySelector('section');
  return {
    width: document.documentElement.scrollWidth,
    ink: contrast(card, card),
    quiet: contrast(document.querySelector('figcaption'), card),
    badges: ['good', 'bad', 'open'].map(mood => {
      const badge = document.querySelector('.card .badge');
      badge.closest('article').className = `card ${mood}`;
      return contrast(badge, badge);
    }),
    letters: parseFloat(getComputedStyle(document.querySelector('td')).fontSize),
    wide: [...document.querySelectorAll('.scroll')].some(one => one.scrollWidth > one.clientWidth),
  };
}"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    write_report(folder, small_report())
    shutil.rmtree(folder / "pictures")  # it is to need nothing beside it
    return folder / "report.html"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read(browser: playwright.Browser, page_file: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    found = page.evaluate(READ)
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert found["width"] == width
    # 4.5 is what WCAG 2.1 asks of text at AA.
    assert min(found["ink"], found["quiet"], *found["badges"]) >= 4.5
    assert found["letters"] >= 13
    assert found["wide"] or width == 1280
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    context.close()


def test_names_that_are_markup_do_nothing(browser: playwright.Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((write_hostile(tmp_path) / "report.html").as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.querySelectorAll('script, main a').length") == 0
    text = page.evaluate("document.body.textContent")
    assert all(name in text for name in SHOWN)
    page.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pages of every kind: a study with all its pictures, an audit, runs side by side, a text alone."""
    folder = tmp_path_factory.mktemp("pages")
    write_report(folder, made_up_report(**LONG))
    rows = [
        AuditRow("a.png", "duplicate", "a.png", "exact copy of b.png"),
        AuditRow("b.png", "duplicate", "a.png", "exact copy of a.png"),
        AuditRow("c.png", "ok", "c.png", "").flagged({"blurred": "blur 0.50, more than 0.47"}),
    ]
    paths = {row.image_id: folder / row.image_id for row in rows}
    for path in paths.values():
        Image.new("RGB", (40, 30), "pink").save(path)
    (folder / "audit.html").write_text(render_audit(rows, paths))
    contents = [json.loads((folder / "report.json").read_text())] * 2
    runs = [Run(f"runs/{place}", content) for place, content in enumerate(contents)]
    write_comparison(folder, runs, ["balanced_accuracy"])
    (folder / "report.json").unlink()
    (folder / "text.html").write_text(page_from_markdown(folder, (folder / "report.md").read_text()))
    return [folder / name for name in ("report.html", "audit.html", PAGE_FILE, "text.html")]


LONG: dict[str, Any] = {
    "title": "Skin-type transfer with " + "Supercalifragilistic" * 4,
    "notes": ["Made by tiny-skin-sd@" + "0123456789abcdef" * 6],
    "settings": {"name": "smoke", "changed": False},
}
"""What does not break by itself, as ids of revisions do not."""


def opened(browser: playwright.Browser, file: Path, screen: str, scheme: str = "light") -> playwright.Page:
    width, height = SCREENS[screen]
    phone = screen == "phone"  # which widens its window to what is in it
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, is_mobile=phone, has_touch=phone
    )
    page.goto(file.as_uri())
    return page


@pytest.mark.parametrize(("screen", "scheme"), VIEWS)
def test_no_page_has_a_serious_problem(
    browser: playwright.Browser, pages: list[Path], screen: str, scheme: str
) -> None:
    for file in pages:
        page = opened(browser, file, screen, scheme)
        unfold(page)
        assert serious_problems(page) == [], file.name
        assert page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [SCREENS[screen][0]] * 2
        page.close()


def test_a_dark_page_shows_dark_pictures_undimmed(browser: playwright.Browser, pages: list[Path]) -> None:
    for file, count in ((pages[0], len(PICTURES)), (pages[2], 1)):
        sources = {}
        for scheme in SCHEMES:
            page = opened(browser, file, "desk", scheme)
            sources[scheme] = page.evaluate("[...document.images].map(image => image.currentSrc)")
            dimmed = "[...document.images].some(image => getComputedStyle(image).filter != 'none')"
            assert not page.evaluate(dimmed)
            page.close()
        assert len(set(sources["light"])) == count
        assert not set(sources["light"]) & set(sources["dark"])


def test_words_of_a_verdict_are_folded_on_a_phone_alone(browser: playwright.Browser, tmp_path: Path) -> None:
    cells = make_cells({"real": 1.0, "real+syn": 1.5}, images=40, split_seeds=(0, 1, 2))
    write_report(tmp_path, small_report(cells=cells))
    (verdict,) = json.loads((tmp_path / "report.json").read_text())["verdicts"]
    start = verdict["sentence"][:20]
    for screen, shown in (("desk", True), ("phone", False)):
        page = opened(browser, tmp_path / "report.html", screen)
        card = page.locator(".card")
        assert (start in card.inner_text()) == shown
        if not shown:
            card.get_by_text("In words").click()
            assert start in card.inner_text()
        page.close()


def test_tables_of_the_phantom_fit_a_desk_and_scroll_on_a_phone(
    browser: playwright.Browser, tmp_path: Path
) -> None:
    names = ("nodule", "ulcer", "papules", "plaque", "excoriations", "ring", "track")
    row = " | ".join(["real+duplicates, VI", *["44.4 [25.0, 66.7]"] * len(names)])
    table = "\n".join(
        f"| {line} |" for line in (" | ".join(["recall by class", *names]), "| ".join(["---"] * 8), row)
    )
    (tmp_path / "page.html").write_text(fill_page("Wide", [Section("Fairness", table)], tmp_path, kicker=""))
    for screen, scrolls in (("desk", False), ("phone", True)):
        page = opened(browser, tmp_path / "page.html", screen)
        frame = "document.querySelector('.scroll')"
        assert page.evaluate(f"{frame}.scrollWidth > {frame}.clientWidth") == scrolls
        assert page.evaluate("document.documentElement.scrollWidth") == SCREENS[screen][0]
        page.close()


def test_pictures_have_their_height_before_they_are_there(
    browser: playwright.Browser, pages: list[Path], tmp_path: Path
) -> None:
    text = re.sub(r"<source[^>]*>", "", pages[0].read_text())
    (tmp_path / "later.html").write_text(re.sub('src="data:[^"]*"', 'src="http://later.test/a.png"', text))
    heights = []
    for file in (pages[0], tmp_path / "later.html"):
        page = browser.new_page()
        page.route("http://later.test/**", lambda route: None)  # an answer that does not come
        page.goto(file.as_uri(), wait_until="domcontentloaded")
        page.wait_for_function("document.readyState != 'loading'")
        heights.append(page.evaluate("[...document.images].map(image => Math.round(image.clientHeight))"))
        page.close()
    assert heights[0] == heights[1]
    assert min(heights[0]) > 50
