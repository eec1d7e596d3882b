"""What the pages show before anybody has asked for something."""

import html
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from skindiff.demo.app import DemoApp, build_app
from skindiff.demo.config import DemoConfig

VISITOR: Any = SimpleNamespace(session_hash="first", query_params={})


@pytest.fixture(scope="module")
def opened() -> Iterator[DemoApp]:
    """A demo of the default generators, whose examples are made in few steps."""
    app = build_app(DemoConfig(port=None, threads=1, max_steps=4, tone_draws=1))
    app.opening.start()
    yield app
    app.close(verbose=False)


def test_the_page_of_photographs_opens_on_a_phantom_of_every_type(opened: DemoApp):
    shown, strip, download, line, pairs, choice = opened.opening.transferred(VISITOR)
    assert [words.split(" · ")[0] for _, words in shown] == [
        f"type {name}" for name in ("I", "II", "III", "IV", "V", "VI")
    ]
    assert "<svg" in strip
    assert "skindiff sample" in strip
    assert download["interactive"]
    assert "An example:" in line
    assert pairs[0][1].startswith("original · ITA")
    assert len(pairs) == 7
    assert [name for name, _ in choice["choices"]] == ["I", "II", "III", "IV", "V", "VI"]
    assert opened.opening.transferred(VISITOR)[0] == gr.skip()  # it has been shown, and comes once
    assert opened.visits.of("first").results["photograph"].total == 6


def test_the_example_of_a_comparison_says_which_side_was_never_taught_its_word(opened: DemoApp):
    _, _, _, line, _, condition, _ = opened.opening.compared(VISITOR)
    assert f"The first generator, bundled, was never taught '{condition}'" in html.unescape(line)
