"""What two generators are compared by, whatever each of them tells."""

import html
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from skindiff.corpora.attribute import SKIN_TYPE
from skindiff.demo.compare_events import CompareEvents
from skindiff.demo.config import DemoConfig
from skindiff.demo.events import DemoEvents
from skindiff.demo.files import SessionFiles
from skindiff.demo.pages import compare_page, draw_page
from skindiff.generators.resolve import Generator
from tests.tiny_generators import tiny_ddpm

VISITOR: Any = SimpleNamespace(session_hash="ann", query_params={})


@pytest.fixture
def events(generators: list[str], tmp_path: Path) -> DemoEvents:
    tiny_ddpm().save_pretrained(tmp_path / "second")
    files = SessionFiles(tmp_path / "held")
    files.folder.mkdir()
    offered = [generators[2], str(tmp_path / "second"), *generators[:2]]
    return DemoEvents(DemoConfig(generators=offered, conditions=["eczema"], keep_generators=4), files)


def compared(events: DemoEvents, first: str, second: str, condition: str, skin_type: str) -> Any:
    asked = (first, second, condition, skin_type, 2, 2.0, 2, "0", VISITOR)
    return list(CompareEvents(events).compare(*asked))[-1]


def test_generators_that_tell_no_skin_types_are_compared_without_one(events: DemoEvents):
    condition, skin_type, *_ = CompareEvents(events).describe("ddpm", "second", "eczema", "V")
    assert (skin_type["value"], skin_type["choices"], skin_type["interactive"]) == (
        "any",
        [("any", "any")],
        False,
    )
    assert condition["value"] == "one"
    rows, *_ = compared(events, "ddpm", "second", "one", "any")
    assert len(rows) == 6
    with gr.Blocks():
        pages = [draw_page(events), compare_page(events)]
    fields = {field.elem_id: field for page in pages for field in page.fields}
    for page in ("generate", "compare"):  # before any of them is loaded
        assert (fields[f"{page}-skin_type"].value, fields[f"{page}-skin_type"].interactive) == ("any", False)


def test_of_two_generators_that_which_tells_skin_types_is_asked_for_one(events: DemoEvents):
    _, skin_type, *_ = CompareEvents(events).describe("ddpm", "tiny", "one", "any")
    assert skin_type["value"] == "VI"
    assert skin_type["info"] == "asked of the second generator; the other knows none"
    rows, table, *_ = compared(events, "ddpm", "tiny", "one", "V")
    assert len(rows) == 6
    commands = re.findall('sd-command">(.*?)</pre>', html.unescape(table), re.DOTALL)
    assert ["--groups" in one for one in commands] == [False, True]


def test_the_command_of_a_comparison_names_all_types_that_were_made(events: DemoEvents):
    rows, table, *_ = compared(events, "tiny", "other", "eczema", "any")
    assert len(rows) == 3 * 12
    commands = re.findall('sd-command">(.*?)</pre>', html.unescape(table), re.DOTALL)
    assert len(commands) == 2
    assert all('\'["I", "II", "III", "IV", "V", "VI"]\'' in one for one in commands)


def test_generators_that_tell_different_things_are_refused_when_they_are_chosen(
    events: DemoEvents, monkeypatch: pytest.MonkeyPatch
):
    sex = SimpleNamespace(known=["female", "male"], name="sex", is_skin_tone=False)
    told = property(lambda one: sex if one.place.model.endswith("other") else SKIN_TYPE)
    monkeypatch.setattr(Generator, "attribute", told)
    said = "second generator: it tells sex, and the first skin type; choose two alike"
    with pytest.raises(gr.Error, match=said):
        CompareEvents(events).describe("tiny", "other", "eczema", "V")
    with pytest.raises(gr.Error, match=said):
        compared(events, "tiny", "other", "eczema", "any")
