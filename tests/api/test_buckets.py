"""Photographs that are not square, from the folder to a classifier: whole in training and transfer."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import skindiff
from skindiff.api.synthetic_input import keep_synthetic
from skindiff.corpora.crops import Crop
from skindiff.study import RunConfig, all_studies, open_run
from tests.tiny import save_tiny_pipeline

SIZES = {"1:1": (60, 60), "3:2": (90, 60), "2:3": (60, 90)}
SEEN = {"1:1": (32, 32), "3:2": (40, 24), "2:3": (24, 40)}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(12):
        width, height = list(SIZES.values())[number // 2 % 3]
        path = folder / ("eczema", "squamous cell carcinoma")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.array([180, 130, 110]) + rng.integers(0, 60, (height, width, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def corpus(photographs: Path) -> Any:
    return skindiff.load_corpus(photographs, image_size=32, audit=False, crop="longest")


@pytest.mark.slow
def test_shapes_travel_from_photographs_to_a_classifier(
    corpus: Any, photographs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    split = skindiff.make_split(corpus, test_fraction=0.5, validation_fraction=0.0)
    base = save_tiny_pipeline(tmp_path / "base")
    small = {"steps": 2, "batch_size": 2, "validation_examples": 2}
    pipeline = skindiff.train_lora(corpus, split, str(base), rank=2, **small)
    assert pipeline.skindiff.crop == "longest"
    made = skindiff.transfer(pipeline, corpus, split, targets=["V"], tone="none", steps=4, batch_size=2)
    buckets = [made.sources[number]["bucket"] for number in range(len(made))]
    assert set(buckets) == set(SEEN)
    assert [row["image"].size for row in made.dataset] == [SEEN[bucket] for bucket in buckets]
    for number in range(len(made)):
        assert np.array_equal(np.asarray(made.redraw([number])[0]), np.asarray(made.dataset[number]["image"]))
    settings = {
        "architecture": "test_resnet",
        "image_size": 32,
        "steps": 2,
        "batch_size": 4,
        "warmup_steps": 0,
    }
    classifier = skindiff.train_classifier(corpus, split, made, **settings)
    again = skindiff.load(classifier.save(tmp_path / "classifier"))
    assert again.architecture.crop == "longest"
    photograph = Image.fromarray(np.random.default_rng(1).integers(0, 255, (60, 90, 3)).astype(np.uint8))
    square = Crop("longest").square(photograph, 32, "")[0]
    assert again.predict([photograph]).equals(again.predict([square]))
    # Of another corpus' crop, the images become squares as its real ones do.
    folder = made.save(tmp_path / "made")
    for crop in ("longest", "centre", "pad"):
        whole = skindiff.load_corpus(photographs, image_size=32, audit=False, crop=crop)
        run = open_run(RunConfig(str(tmp_path / crop)))
        (study,) = all_studies(run, whole, [split])
        found = keep_synthetic(study, folder).dataset
        assert {row["image"].size for row in found} == {(32, 32)}
        real = {row["image_id"]: row.get("shown") for row in whole.dataset}
        for row in found:
            assert row["shown"] == pytest.approx(real[row["source_id"]], abs=1.01 / 32) or crop == "centre"
    middle = Crop("centre").square(photograph, 32, "")[0]
    assert not again.predict([photograph]).equals(again.predict([middle]))
    again.architecture = type(again.architecture)(**{**vars(again.architecture), "crop": "box"})
    with caplog.at_level(logging.WARNING):
        assert again.predict([photograph]).equals(again.predict([middle]))
    assert "learnt from squares around a box" in caplog.text


def test_a_study_saves_transfers_in_squares_like_the_real_ones(corpus: Any, tmp_path: Path) -> None:
    split = skindiff.make_split(corpus, test_fraction=0.5, validation_fraction=0.0)
    base = save_tiny_pipeline(tmp_path / "base")
    run = open_run(RunConfig(str(tmp_path / "run")))
    (study,) = all_studies(run, corpus, [split])
    made = skindiff.transfer(
        str(base), corpus, split, targets=["V"], output_dir=study, tone="none", steps=4, batch_size=2
    )
    real = {row["image_id"]: row["shown"] for row in study.train.select_columns(["image_id", "shown"])}
    for row in made.dataset:
        assert row["image"].size == (32, 32)
        assert row["shown"] == real[row["source_id"]]
