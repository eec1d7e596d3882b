"""The check itself: it finds what is wrong, or it would prove nothing of the pages."""

from __future__ import annotations

import pytest

from tests.accessibility import serious_problems
from tests.browser import playwright

GOOD = "<!doctype html><html lang='en'><title>A page</title><main><h1>A page</h1>{}</main></html>"
FAULTS = {
    "color-contrast": "<p style='color: #aaa; background: #fff'>pale</p>",
    "image-alt": "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' width='9' height='9'>",
    "button-name": "<button></button>",
    "label": "<input>",
    "target-size": "<button style='width:9px;height:9px'>a</button><button style='width:9px'>b</button>",
}


@pytest.mark.parametrize("rule", FAULTS)
def test_a_fault_is_found_by_its_rule(browser: playwright.Browser, rule: str) -> None:
    page = browser.new_page()
    page.set_content(GOOD.format(FAULTS[rule]))
    problems = serious_problems(page)
    assert {problem.partition(":")[0] for problem in problems} == {rule}
    page.close()


def test_a_page_in_order_has_none(browser: playwright.Browser) -> None:
    page = browser.new_page()
    page.set_content(GOOD.format("<p>Words.</p>"))
    assert serious_problems(page) == []
    page.close()
