"""What a page says of its progress, what a cancelled request leaves, and how an image of it is varied."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from skindiff.demo.compare_events import CompareEvents
from skindiff.demo.config import DemoConfig
from skindiff.demo.drawing import Picture
from skindiff.demo.events import DemoEvents
from skindiff.demo.files import SessionFiles
from skindiff.demo.photograph_events import PhotographEvents
from skindiff.demo.photographs import png_bytes
from skindiff.demo.visit_events import VisitEvents
from tests.demo.conftest import phantom

VISITOR: Any = SimpleNamespace(session_hash="ann", query_params={})


@pytest.fixture
def events(generators: list[str], tmp_path: Path) -> DemoEvents:
    files = SessionFiles(tmp_path / "held")
    files.folder.mkdir()
    config = DemoConfig(
        generators=generators, conditions=["eczema"], batch_size=2, tone_draws=2, tone_subject="skin"
    )
    return DemoEvents(config, files)


def compared(events: DemoEvents, count: int = 4) -> Iterator[Any]:
    return CompareEvents(events).compare("tiny", "other", "eczema", "V", count, 2.0, 2, "0", VISITOR)


def test_a_comparison_tells_the_progress_of_both_sides_as_one(events: DemoEvents):
    lines = [re.sub("<.*?>", "", line) for *_, line in compared(events)]
    assert [line.split(":")[0].strip() for line in lines] == [
        "0 of 8", "0 of 8", "2 of 8", "4 of 8", "6 of 8", "Done",
    ]  # fmt: skip
    assert re.search(r"Done: 8 images in .* s, seed 0\.", lines[-1])


def test_a_comparison_that_is_cancelled_says_of_how_many_images_there_are_some(events: DemoEvents):
    work = compared(events)
    for _ in range(3):
        next(work)
    work.close()
    line, download, _ = events.stop("compare", cancelled=True)(VISITOR)
    assert "2 images" in line
    assert download["label"] == "Download 2 of 8 (zip)"


def test_a_cancelled_transfer_leaves_what_its_zip_speaks_of(events: DemoEvents):
    photograph = events.files.keep("ann", png_bytes(phantom()), "photograph.png")
    work = PhotographEvents(events).transfer(
        photograph, "tiny", "eczema", "II", "(all)", 0.5, 2.0, 4, "0", "prototype_colour", VISITOR
    )
    while len(next(work)[0]) < 2:
        pass
    work.close()
    _, download, _ = events.stop("photograph", cancelled=True)(VISITOR)
    assert download["label"] == "Download 2 of 6 (zip)"
    names = zipfile.ZipFile(download["value"]).namelist()
    assert {"photograph/original.png", "generated-from-32px.png", "corpus.yaml"} <= set(names)
    assert "tone_prototypes.safetensors" in names
    assert [name.split("-")[0] for name in names if name.startswith("skin/")] == [
        "skin/000", "skin/001", "skin/002",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("generator", "condition", "value", "count"), [("tiny", "eczema", "V", 1), ("ddpm", "one", "any", 3)]
)
def test_an_image_that_is_to_be_varied_is_made_again_by_what_the_fields_become(
    events: DemoEvents, generator: str, condition: str, value: str, count: int
):
    def draw(count: int, seed: str) -> list[Picture]:
        list(events.draw(generator, condition, value, count, 2.0, 2, seed, VISITOR))
        return events.visits.of("ann").results["generate"].pictures

    third = draw(4, "5")[2]
    _, _, asked, seed, line = VisitEvents(events).vary(2, VISITOR)
    assert asked == count
    assert "the noise stays" in line
    assert ("of which it is the last image" in line) == (generator == "ddpm")
    assert ("Change the condition" in line) == (generator == "tiny")  # a class has noises of its own
    np.testing.assert_allclose(draw(asked, seed)[-1].pixels, third.pixels, atol=2)
