"""The page in a real Chromium: Debian's, through Playwright."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from skindiff.report.write import write_report
from tests.browser import playwright
from tests.report.test_hostile_names import SHOWN, write_hostile
from tests.report.test_write import small_report

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
      const badge = document.querySelector('.badge');
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
