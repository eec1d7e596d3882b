"""The demo finds the generators that ``skindiff sample`` finds, and draws the same with them."""

import html
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline

from skindiff.demo.asked import DrawRequest, TransferRequest
from skindiff.demo.config import DemoConfig
from skindiff.demo.drawing import draw
from skindiff.demo.events import DemoEvents
from skindiff.demo.files import SessionFiles
from skindiff.demo.generator_cache import GeneratorCache, Loaded
from skindiff.demo.space import write_space
from skindiff.demo.transferring import transfer
from skindiff.errors import RunFolderError
from skindiff.synthesis.draw import redraw
from skindiff.synthesis.writer import load_synthetic
from tests.commands.conftest import Run, run_command
from tests.demo.conftest import phantom
from tests.generators.made_adapter import BASE, RECORDED, Made, make_adapter

__all__ = ["run_command"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_adapter(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def made(trained: Made, monkeypatch: pytest.MonkeyPatch) -> Made:
    trained.use_cache(monkeypatch)
    return trained


@pytest.mark.parametrize("kind", ["base", "adapter", "run"])
def test_the_demo_and_sample_draw_the_same_for_the_same_word(
    made: Made, kind: str, tmp_path: Path, run_command: Run
) -> None:
    word = getattr(made, kind)
    run_command(
        "sample", "--threads", "1", "--generator", word, "--output_dir", tmp_path / "drawn",
        "--classes", '["eczema"]', "--groups", '["V"]', "--images", "2", "--synthesis.steps", "2",
        "--synthesis.batch_size", "2", "--same_noise", "true",
    )  # fmt: skip
    rows = load_synthetic(tmp_path / "drawn" / "data")
    cache = GeneratorCache(DemoConfig(generators=[str(word)], batch_size=2))
    (name,) = cache.offered
    pictures = list(draw(cache, DrawRequest(name, ("eczema",), ("V",), count=2, steps=2)))[-1].pictures

    assert {picture.row["generator"] for picture in pictures} == set(rows["generator"])
    assert {picture.row["strategy"] for picture in pictures} == set(rows["strategy"])
    assert {picture.row["prompt"] for picture in pictures} == set(rows["prompt"])
    pipeline = cache.generator(name).generator.pipeline
    for row, picture in zip(rows, pictures, strict=True):
        np.testing.assert_array_equal(picture.pixels, np.array(row["image"]))
        np.testing.assert_array_equal(np.array(redraw(row, pipeline)), np.array(row["image"]))


def test_the_revision_that_an_adapter_records_reaches_the_loader(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    fetch = StableDiffusionPipeline.download

    def download(model: str, **options: object) -> object:
        asked.append((model, options["revision"]))
        return fetch(model, **options)

    monkeypatch.setattr(StableDiffusionPipeline, "download", download)
    cache = GeneratorCache(DemoConfig(generators=[str(made.run)], tone_draws=2, tone_subject="skin"))
    loaded = cache.generator("lora")
    assert asked == [(BASE, RECORDED)] * 2  # the adapter's, and the one that is asked for colours of skin
    assert loaded.generator.name.startswith(f"{BASE}@{RECORDED}+adapter@")
    assert loaded.conditions == ["eczema", "squamous cell carcinoma"]
    request = TransferRequest(phantom(), generator="lora", condition="eczema", steps=4, strengths=(0.5,))
    pictures = list(transfer(cache, request))[-1].pictures
    assert {picture.row["strategy"] for picture in pictures} == {"ti+lora"}
    assert all("<skindiff-eczema>" in picture.row["prompt"] for picture in pictures)


def test_another_base_is_put_under_adapters_alone(made: Made) -> None:
    cache = GeneratorCache(DemoConfig(generators=[str(made.adapter), "bundled"], adapter_base=str(made.base)))
    assert cache.generator("alone").generator.name.startswith("base@")
    assert cache.generator("bundled").generator.name.startswith("tiny-skin-sd@")


def test_what_is_shown_to_make_images_again_names_the_base_that_they_were_made_on(
    made: Made, tmp_path: Path, run_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DemoConfig(generators=[str(made.adapter)], adapter_base=str(made.base), batch_size=2, threads=1)
    events = DemoEvents(config, SessionFiles(tmp_path / "held"))
    events.files.folder.mkdir()
    visitor: Any = SimpleNamespace(session_hash="ann")
    *_, (_, _, _, again) = events.draw("alone", "eczema", "V", 2, 2.0, 2, "3", visitor)
    pictures = events.visits.of("ann").results["generate"].pictures
    command, python = (
        html.unescape(re.search(f'sd-{kind}">(.*?)</pre>', again, re.DOTALL)[1])
        for kind in ("command", "python")
    )
    assert f"--base_model {made.base}" in command
    monkeypatch.chdir(tmp_path)
    run_command(*shlex.split(command)[1:])
    rows = load_synthetic(tmp_path / "runs" / "again" / "data")
    known: dict = {}
    exec(python, known)
    for row, other, picture in zip(rows, known["made"].dataset, pictures, strict=True):
        np.testing.assert_array_equal(picture.pixels, np.array(row["image"]))
        np.testing.assert_allclose(picture.pixels, np.array(other["image"]), atol=2)


def test_a_closed_demo_shows_no_folder_of_a_generator_in_one_file(tmp_path: Path) -> None:
    for name in ("secret/model.safetensors", "secret/base.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    word, base = str(tmp_path / "secret" / "model.safetensors"), str(tmp_path / "secret" / "base.safetensors")
    options = {"base_model": base, "model_config": "sd15"}
    for open_choice in (True, False):
        config = DemoConfig(generators=[word], open_choice=open_choice)
        events = DemoEvents(config, SessionFiles(tmp_path / "held"))
        events.cache._loaded["model"] = Loaded(None, [], options=options)
        source = events.findable("model")
        assert ("secret" in repr(source)) == open_choice
    assert source.words == [
        "--generator", "FOLDER/model.safetensors", "--base_model", "FOLDER/base.safetensors",
        "--model_config", "sd15",
    ]  # fmt: skip
    assert source.loaded == (
        "skindiff.load('FOLDER/model.safetensors', base_model='FOLDER/base.safetensors', model_config='sd15')"
    )


def test_a_space_holds_the_adapter_of_a_run_and_nothing_else_of_it(made: Made, tmp_path: Path) -> None:
    place = write_space(tmp_path / "space", DemoConfig(generators=[str(made.run)]))
    copied = {path.relative_to(place / "generators" / "lora").as_posix() for path in _files(place)}
    assert copied == {
        path.relative_to(made.run / "adapter").as_posix() for path in (made.run / "adapter").rglob("*.*")
    }
    assert (made.run / "trained_on.json").is_file()  # whose ids of photographs stay here
    with pytest.raises(RunFolderError, match="not empty"):
        write_space(place)


def _files(place: Path) -> list[Path]:
    return [path for path in (place / "generators" / "lora").rglob("*") if path.is_file()]
