"""The demo in a real Chromium: Debian's, through Playwright."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from skindiff.demo.app import DemoApp
from tests.browser import playwright

PATIENCE = 120_000
"""How long a step may take on a machine that has other things to do, in milliseconds."""
LAPTOP, PHONE = {"width": 1366, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def page(browser: playwright.Browser, demo: DemoApp) -> Iterator[playwright.Page]:
    context = browser.new_context(viewport=LAPTOP, accept_downloads=True)
    found = opened(context, demo)
    yield found
    context.close()


def opened(context: playwright.BrowserContext, demo: DemoApp) -> playwright.Page:
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(demo.local_url)
    button(page, "Generate").wait_for()
    return page


def button(page: playwright.Page, name: str) -> playwright.Locator:
    return page.get_by_role("button", name=name, exact=True).and_(page.locator(":visible"))


def images(page: playwright.Page, gallery: str) -> playwright.Locator:
    return page.locator(f"#{gallery} .grid-wrap img")


def go_to(page: playwright.Page, name: str) -> None:
    """Choose a page, out of the menu where the screen is too narrow for all tabs."""
    tab = page.get_by_role("tab", name=name).and_(page.locator(":visible"))
    if tab.count() == 0:
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.first.click()


def on_photograph_page(page: playwright.Page) -> None:
    go_to(page, "Photograph")
    button(page, "Transfer").wait_for()


def upload_until(page: playwright.Page, path: Path, said: playwright.Locator) -> None:
    """Upload a file; again if the page was there but not yet listening, which no hand is fast enough for."""
    for patience in (PATIENCE // 8, PATIENCE // 8, PATIENCE):
        page.locator("#photograph input[type=file]").set_input_files(str(path))
        try:
            said.wait_for(timeout=patience)
        except playwright.TimeoutError:
            if patience == PATIENCE:
                raise
        else:
            return


def test_draw_by_class_and_download(page: playwright.Page, tmp_path: Path):
    assert "Not for clinical use" in page.locator(".sd-notice").inner_text()
    button(page, "Generate").click()
    page.get_by_text("6 images in").wait_for()
    playwright.expect(images(page, "drawn")).to_have_count(6)
    with page.expect_download() as download:
        button(page, "Download images and provenance (zip)").click()
    kept = tmp_path / "got.zip"
    download.value.save_as(kept)
    names = zipfile.ZipFile(kept).namelist()
    assert "provenance.csv" in names
    assert sum(name.endswith(".png") for name in names) == 6


def test_upload_and_transfer(page: playwright.Page, photograph: Path):
    on_photograph_page(page)
    upload_until(page, photograph, page.get_by_text("its metadata is removed"))
    button(page, "Transfer").click()
    page.locator(".sd-ita svg").wait_for()
    playwright.expect(images(page, "redrawn")).to_have_count(6)
    playwright.expect(page.locator("#slider img").first).to_be_visible()
    assert len(page.locator("#redrawn .caption-label").all_inner_texts()) == 6


def test_cancel(page: playwright.Page):
    page.get_by_label("number input for Images").fill("48")
    page.get_by_label("number input for Images").press("Enter")
    page.get_by_text("Generation settings").and_(page.locator(":visible")).first.click()
    steps = page.get_by_label("number input for Steps").and_(page.locator(":visible"))
    steps.fill("100")
    steps.press("Enter")
    button(page, "Generate").click()
    page.get_by_text(re.compile(r"([2468]|1[02]) of 48")).wait_for()
    button(page, "Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    page.wait_for_timeout(3000)
    assert 1 <= images(page, "drawn").count() < 48
    page.get_by_text("Cancelled.").wait_for()


def test_bad_uploads_are_refused_in_words(
    page: playwright.Page, corrupt: Path, oversized: Path, tmp_path: Path
):
    on_photograph_page(page)
    upload_until(page, corrupt, page.locator(".sd-status").get_by_text("This photograph is damaged"))
    page.screenshot(path=tmp_path / "damaged.png")
    page.reload()
    button(page, "Generate").wait_for()
    on_photograph_page(page)
    said = page.get_by_text(re.compile("exceed the maximum allowed size"))
    upload_until(page, oversized, said.first)
    page.screenshot(path=tmp_path / "refused.png")


@pytest.mark.parametrize(("viewport", "scheme"), [(LAPTOP, "light"), (PHONE, "dark")])
def test_every_page_fits_the_screen_and_nothing_comes_from_elsewhere(
    browser: playwright.Browser, demo: DemoApp, tmp_path: Path, viewport: dict, scheme: str
):
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = opened(context, demo)
    for name in ("Generate", "Photograph", "Compare", "Report"):
        go_to(page, name)
        page.wait_for_timeout(500)
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("#report").get_by_text("A made-up run").is_visible()
    local = (demo.local_url, "data:", "blob:")
    assert [url for url in asked if not url.startswith(local)] == []
    context.close()
