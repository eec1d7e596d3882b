"""What axe-core finds wrong with a page in a browser, by WCAG 2.2 at level AA and its own good practice."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser import playwright

SCREENS = {"desk": (1366, 850), "phone": (390, 844)}
"""Widths and heights at which every page is checked, in CSS pixels."""
SCHEMES = ("light", "dark")
VIEWS = [
    ("desk", "light"),
    ("phone", "dark"),
    *(pytest.param(*view, marks=pytest.mark.slow) for view in (("desk", "dark"), ("phone", "light"))),
]
"""Screens with schemes, each once in CI, and every pair with ``-m slow``."""

_SERIOUS = ("serious", "critical")
_OPTIONS = {
    "resultTypes": ["violations"],
    "rules": {"target-size": {"enabled": True}},  # of WCAG 2.2, and off by default
}


_UNFOLD = """() => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  for (const one of document.querySelectorAll("button.label-wrap:not(.open)"))
    if (one.offsetParent) one.click();
}"""


def unfold(page: playwright.Page) -> None:
    """Open what is folded on a page: of what is not shown axe says nothing."""
    page.evaluate(_UNFOLD)
    page.wait_for_timeout(300)


def serious_problems(page: playwright.Page) -> list[str]:
    """Return what is serious or critical on a page as it stands, a line for each element.

    Each line has axe's rule, where the element is, its HTML, and what is wrong. What stands in frames is
    not looked at: open their address as a page.
    """
    found = Axe().run(page, options=_OPTIONS).response["violations"]
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['html']}: {node['failureSummary']}"
        for rule in found
        if rule["impact"] in _SERIOUS
        for node in rule["nodes"]
    ]
