"""Playwright, None where it is not installed: the fixture ``browser`` of tests/conftest.py then says so."""

try:
    from playwright import sync_api as playwright
except ImportError:
    playwright = None  # type: ignore[assignment]

__all__ = ["playwright"]
