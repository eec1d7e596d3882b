"""What the demo draws, without a server."""

import csv
import io
import itertools
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from skindiff.corpora.schema import SKIN_TYPES
from skindiff.demo.asked import DrawRequest, TransferRequest
from skindiff.demo.captions import caption
from skindiff.demo.config import DemoConfig
from skindiff.demo.downloads import Result, zip_bytes
from skindiff.demo.drawing import Picture, draw, image_size
from skindiff.demo.generator_cache import GeneratorCache
from skindiff.demo.seeds import read_seed
from skindiff.demo.settings import page_settings
from skindiff.demo.transferring import LEAST_KEPT, before, misses, transfer
from skindiff.errors import ConfigError, GeneratorError, SynthesisError
from skindiff.synthesis.class_draw import redraw_class
from skindiff.synthesis.draw import redraw
from tests.demo.conftest import phantom
from tests.tiny import save_tiny_pipeline, tiny_flux


@pytest.fixture(scope="module")
def cache(generators: list[str]) -> GeneratorCache:
    return GeneratorCache(DemoConfig(generators=generators, batch_size=2, tone_draws=2, tone_subject="skin"))


@pytest.fixture(scope="module")
def bundled() -> GeneratorCache:
    return GeneratorCache(DemoConfig(tone_draws=4, batch_size=3))


def drawn(cache: GeneratorCache, request: DrawRequest) -> list[Picture]:
    return list(draw(cache, request))[-1].pictures


def test_every_image_can_be_drawn_again_from_its_row(cache: GeneratorCache):
    pictures = drawn(cache, DrawRequest("tiny", ("eczema",), ("V",), count=3, steps=3, seed=4))
    pipeline = cache.generator("tiny").generator.pipeline
    for picture in pictures:
        assert (np.array(redraw(picture.row, pipeline)) == picture.pixels).all()
    third = drawn(cache, DrawRequest("tiny", ("eczema",), ("V",), count=1, steps=3, seed=6))[0]
    assert third.row["seed"] == pictures[2].row["seed"]  # image n of seed s is the first of seed s + n
    (classes,) = drawn(cache, DrawRequest("ddpm", ("two",), count=1, steps=2))
    again = redraw_class({"label": 1, **classes.row}, cache.generator("ddpm").generator.pipeline)
    assert (np.array(again) == classes.pixels).all()


def test_progress_comes_batch_by_batch_and_stopping_stops(cache: GeneratorCache):
    work = draw(cache, DrawRequest("tiny", ("eczema",), ("V",), count=5, steps=2))
    assert [len(progress.pictures) for progress in work] == [0, 0, 2, 4, 5]
    work = draw(cache, DrawRequest("tiny", ("eczema",), ("V",), count=5, steps=2))
    assert [next(work).total for _ in range(3)] == [5, 5, 5]
    work.close()
    with cache.drawing():
        pass


def test_the_bundled_pipeline_redraws_a_phantom_from_light_to_dark(bundled: GeneratorCache):
    photograph = phantom("III")
    request = TransferRequest(photograph, steps=6, strengths=(0.5,))
    pictures = list(transfer(bundled, request))[-1].pictures
    assert [picture.row["skin_type"] for picture in pictures] == list(SKIN_TYPES)
    angles = [picture.ita for picture in pictures]
    assert None not in angles
    assert angles[0] - angles[5] > 40
    assert all(lighter > darker - 5 for lighter, darker in itertools.pairwise(angles))
    start = before(photograph, image_size(bundled.generator("bundled")))
    assert start.pixels.shape == (64, 64, 3)
    assert start.ita is not None
    assert len({picture.row["seed"] for picture in pictures}) == 1
    assert list(bundled.learn_tones(bundled.generator("bundled"))) == []


def test_all_types_start_from_one_noise(cache: GeneratorCache):
    """Nothing said of the skin type meant light skin alone."""
    pictures = drawn(cache, DrawRequest("tiny", ("eczema", "psoriasis"), count=1, steps=2, seed=3))
    asked = [(picture.row["condition"], picture.row["skin_type"]) for picture in pictures]
    assert asked == list(itertools.product(("eczema", "psoriasis"), SKIN_TYPES))
    assert len({picture.row["seed"] for picture in pictures}) == 1


def test_an_image_says_whether_tone_and_lesion_were_kept(bundled: GeneratorCache):
    """A lesion that is hardly there any more was shown without a word."""
    request = TransferRequest(phantom("II"), "bundled", "red patch", targets=("II", "VI"), steps=6)
    gentle = list(transfer(bundled, replace(request, strengths=(0.2,))))[-1].pictures
    assert all(picture.kept is not None and picture.aim is not None for picture in gentle)
    assert gentle[0].kept > LEAST_KEPT
    torn = list(transfer(bundled, replace(request, strengths=(1.0,), targets=("VI",))))[-1].pictures[0]
    assert torn.kept < gentle[0].kept
    assert "lesion lost" in misses(replace(torn, kept=LEAST_KEPT - 0.1))
    assert "tone missed" in misses(replace(torn, ita=40.0))
    assert caption(replace(torn, ita=40.0, kept=0.1)).endswith("⚠ tone missed · ⚠ lesion lost")
    assert "⚠" not in caption(replace(torn, ita=torn.aim, kept=0.9))
    assert misses(replace(torn, ita=torn.aim, kept=0.9)) == []


def test_a_seed_is_read_as_it_was_typed(cache: GeneratorCache):
    assert read_seed(" 9223372036854775807 ") == 2**63 - 1
    assert len({read_seed("") for _ in range(5)}) > 1
    for wrong in ("1.5", "-1", "1e3", "9" * 19, "9" * 500, "x", "١"):
        with pytest.raises(SynthesisError, match=r"seed: .* is no whole number from 0 to 92233720368547"):
            read_seed(wrong)


def test_what_cannot_be_drawn_is_said(cache: GeneratorCache, generators: list[str]):
    good = DrawRequest("tiny", ("eczema",), ("V",), steps=2, count=1)
    for wrong, said in (
        (replace(good, steps=500), "steps: 500 is outside 1 to 50"),
        (replace(good, seed=10**400), "seed: 1000"),
        (replace(good, guidance_scale=float("nan")), "guidance"),
        (replace(good, count=0), "images: 0"),
        (replace(good, seed=-1), "seed"),
    ):
        with pytest.raises(SynthesisError, match=said):
            drawn(cache, wrong)
    for words in ("", "\ud800", "a\0b", "x" * 10**5):
        with pytest.raises(GeneratorError, match="condition: give one in"):
            drawn(cache, replace(good, conditions=(words,)))
    with pytest.raises(GeneratorError, match="no learned token"):
        drawn(cache, replace(good, conditions=("<skindiff-x>",)))
    with pytest.raises(GeneratorError, match="no such folder"):
        drawn(cache, replace(good, generator="/nowhere"))
    shut = GeneratorCache(DemoConfig(generators=generators, open_choice=False))
    with pytest.raises(GeneratorError, match="not offered here; choose from tiny, other, ddpm"):
        drawn(shut, replace(good, generator=generators[0]))
    with pytest.raises(GeneratorError, match="transfers no photographs"):
        list(transfer(cache, TransferRequest(phantom(), generator="ddpm")))
    with pytest.raises(ConfigError, match="strength"):
        list(transfer(cache, TransferRequest(phantom(), generator="tiny", strengths=(0.0,))))


def test_a_zip_tells_how_each_image_was_made(cache: GeneratorCache):
    pictures = drawn(cache, DrawRequest("tiny", ("eczema",), ("II",), count=2, steps=2))
    pictures += drawn(cache, DrawRequest("ddpm", ("one",), count=1, steps=2))
    result = Result(page_settings("compare", seed="7", condition="eczema"), pictures)
    archive = zipfile.ZipFile(io.BytesIO(zip_bytes(result)))
    assert zip_bytes(result) == zip_bytes(result)
    assert json.loads(archive.read("settings.json"))["seed"] == "7"
    assert b"must not be used for the care of patients" in archive.read("README.txt")
    rows = list(csv.DictReader(io.StringIO(archive.read("provenance.csv").decode())))
    table = pq.read_table(io.BytesIO(archive.read("provenance.parquet"))).to_pylist()
    assert [row["file"] for row in table] == [row["file"] for row in rows]
    for row, picture in zip(table, pictures, strict=True):
        image = Image.open(io.BytesIO(archive.read(row["file"])))
        assert (np.array(image) == picture.pixels).all()
        assert image.info == {}
        assert row["seed"] == picture.row["seed"]
        assert (row["request_seed"], row["index"]) == (picture.row["request_seed"], picture.row["index"])
    assert rows[1]["file"] == "images/002-eczema-type-ii-seed-1.png"
    with pytest.raises(SynthesisError, match="nothing to download"):
        zip_bytes(Result(page_settings("generate")))


def test_generators_make_room_for_one_another(generators: list[str]):
    cache = GeneratorCache(DemoConfig(generators=generators, keep_generators=1))
    first = cache.generator("tiny")
    assert cache.generator("tiny") is first
    cache.generator("ddpm")
    assert cache.generator("tiny") is not first


def test_settings_that_cannot_work(tmp_path: Path):
    for wrong, said in (
        (DemoConfig(generators=[]), "demo.generators"),
        (DemoConfig(runs=[str(tmp_path)]), "no report.md"),
        (DemoConfig(queue_size=0), "demo.queue_size: 0"),
        (DemoConfig(port=80), "demo.port: 80"),
        (DemoConfig(max_upload_mb=0), "demo.max_upload_mb"),
    ):
        with pytest.raises(ConfigError, match=said):
            wrong.validate("demo.")
    logins = tmp_path / "logins"
    logins.write_text("ann:good:word\n\n")
    assert DemoConfig(login_file=str(logins)).logins() == [("ann", "good:word")]
    logins.write_text("ann\n")
    with pytest.raises(ConfigError, match=r"line 1 is not NAME:PASSWORD") as caught:
        DemoConfig(login_file=str(logins)).logins()
    assert "ann" not in str(caught.value)


@pytest.mark.usefixtures("tiny_sizes")
def test_a_model_of_flow_matching_draws_and_transfers(tmp_path: Path):
    folder = save_tiny_pipeline(tmp_path / "flux", build=tiny_flux)
    cache = GeneratorCache(
        DemoConfig(generators=[str(folder)], batch_size=2, tone_draws=2, tone_subject="skin")
    )
    (picture,) = drawn(cache, DrawRequest("flux", ("eczema",), ("V",), count=1, steps=2))
    pipeline = cache.generator("flux").generator.pipeline
    assert picture.row["scheduler"] == "euler"
    assert (np.array(redraw(picture.row, pipeline)) == picture.pixels).all()
    request = TransferRequest(
        phantom("II"), generator="flux", condition="eczema", steps=4, strengths=(0.5,), targets=("II", "V")
    )
    pictures = list(transfer(cache, request))[-1].pictures
    assert {one.row["skin_type"] for one in pictures} == {"II", "V"}
    assert {one.row["scheduler"] for one in pictures} == {"euler"}
