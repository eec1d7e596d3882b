"""The browser of the tests: Debian's Chromium, through Playwright."""

import shutil

try:
    from playwright import sync_api as playwright
except ImportError:  # the fixture ``browser`` of tests/conftest.py says so
    playwright = None  # type: ignore[assignment]

__all__ = ["FLAGS", "PATIENCE", "chromium", "playwright"]

PATIENCE = 120_000
"""How long a step may take on a machine that has other things to do, in milliseconds."""
if playwright is not None:
    playwright.expect.set_options(timeout=PATIENCE)

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Return the path of the browser, None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)
