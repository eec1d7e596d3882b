"""Transfers of pictures that are not square: each in the shape of its own bucket."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset

from skindiff.corpora.buckets import bucket_place
from skindiff.corpora.crops import as_square, picture_of
from skindiff.errors import SynthesisError
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.draw import Drawer, redraw
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.tone import TonePrototypes
from skindiff.synthesis.writer import load_synthetic, write_synthetic
from tests.tiny import TINY_SIZE, bucketed_corpus, tiny_corpus, tiny_pipeline

BUCKETS = ("3:2", "1:1", "2:3", "3:2", "3:2")
SIZES = {"3:2": (40, 24), "1:1": (32, 32), "2:3": (24, 40)}
"""Width and height by bucket: 32 * sqrt(1.5) = 39.2 and 26.1, the nearest multiples of 8."""
TYPES = ("I", "II", "III", "IV", "V", "VI")
PROTOTYPES = TonePrototypes(
    {name: torch.full((4,), -0.1 * number) for number, name in enumerate(TYPES)},
    {name: (70.0 - 8 * number, 12.0, 18.0) for number, name in enumerate(TYPES)},
)


def plan(sources: Dataset, **settings: Any) -> Dataset:
    config = {"strategy": "vanilla", "images_per_source": 2, "batch_size": 3, "steps": 4, **settings}
    return make_plan(sources, SynthesisConfig(**config), seed=1, generator="tiny@0", threads=1)


def test_a_plan_says_the_shape_of_each_image_and_fills_batches_of_one_shape() -> None:
    sources = bucketed_corpus(*BUCKETS)
    rows = plan(sources).to_list()
    assert [row["bucket"] for row in rows] == [bucket for bucket in BUCKETS for _ in range(2)]
    assert all(row["shown"] is None for row in rows)
    lying = [row["batch_position"] for row in rows if row["bucket"] == "3:2"]
    assert lying == [0, 1, 2, 0, 1, 2]
    saved = plan(sources, output_size=48).to_list()
    assert saved[0]["shown"] == [edge / 48 for edge in bucket_place("3:2", 48)]
    words = plan(sources, mode="txt2img", tone="none")
    assert "bucket" not in words.column_names
    assert "bucket" not in plan(tiny_corpus(2)).column_names


@pytest.mark.parametrize(
    "settings", [{"tone": "none"}, {"tone": "latent_mean"}, {"tone": "prototype_colour", "detail": 1.0}]
)
def test_each_source_is_transferred_in_its_own_shape(settings: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    sources, pipeline = bucketed_corpus(*BUCKETS), tiny_pipeline()
    rows = plan(sources, **settings).to_list()
    drawn = Drawer(pipeline, sources, PROTOTYPES).draw(rows).images
    for number, row in enumerate(rows):
        width, height = SIZES[row["bucket"]]
        assert drawn[number].shape == (height, width, 3)
    for number in (0, 3, 5, 9):
        again = redraw(rows[number], pipeline, sources, PROTOTYPES)
        assert np.array_equal(np.asarray(again), drawn[number])


def test_little_strength_leaves_the_source_whole_in_its_square() -> None:
    """The square that is saved shows all of what was generated, and a border."""
    sources, pipeline = bucketed_corpus("3:2"), tiny_pipeline()
    as_it_is = Drawer(pipeline, sources).draw(plan(sources, tone="none").to_list()).images[0]
    rows = plan(sources, tone="none", output_size=64).to_list()
    square = Drawer(pipeline, sources).draw(rows).images[0]
    assert square.shape == (64, 64, 3)
    left, top, right, bottom = (round(64 * share) for share in rows[0]["shown"])
    assert (left, top, right, bottom) == (0, 11, 64, 53)
    border = np.concatenate([square[:top], square[bottom:]])
    assert (border == border[0, 0]).all()
    inside = square[top:bottom].astype(float)
    assert np.abs(inside.mean((0, 1)) - as_it_is.mean((0, 1))).max() < 3
    assert np.corrcoef(inside.mean((0, 2))[8:-8], np.interp(
        np.linspace(0, 1, 64), np.linspace(0, 1, 40), as_it_is.mean((0, 2)).astype(float))[8:-8]
    )[0, 1] > 0.5  # fmt: skip


def test_shards_hold_pictures_of_several_shapes(tmp_path: Path) -> None:
    sources, pipeline = bucketed_corpus(*BUCKETS), tiny_pipeline()
    rows = plan(sources, tone="none", images_per_source=1)
    write_synthetic(Accelerator(cpu=True), rows, pipeline, sources, tmp_path / "shapes", rows_per_shard=3)
    found = load_synthetic(tmp_path / "shapes")
    assert [row["image"].size for row in found] == [SIZES[bucket] for bucket in BUCKETS]
    assert picture_of(found[0]).size == SIZES["3:2"]
    rows = plan(sources, tone="none", images_per_source=1, output_size=TINY_SIZE)
    write_synthetic(Accelerator(cpu=True), rows, pipeline, sources, tmp_path / "squares")
    found = load_synthetic(tmp_path / "squares")
    assert [row["image"].size for row in found] == [(TINY_SIZE, TINY_SIZE)] * len(BUCKETS)
    assert [picture_of(row).size for row in found][:3] == [(32, 22), (32, 32), (22, 32)]


def test_squares_do_not_stand_for_shapes_but_whole_photographs_do() -> None:
    torch.set_num_threads(1)
    sources, pipeline = bucketed_corpus("3:2"), tiny_pipeline()
    rows = plan(sources, tone="none").to_list()
    with pytest.raises(SynthesisError, match="is a square, and the row has the shape 3:2"):
        Drawer(pipeline, sources.select_columns(["image_id", "image"])).draw(rows)
    whole = Dataset.from_dict({"image_id": ["tiny-0"], "image": [sources[0]["bucketed"]]})
    drawn, again = (Drawer(pipeline, images).draw(rows).images for images in (sources, whole))
    assert np.array_equal(drawn[0], again[0])


def test_a_photograph_is_cut_as_the_generator_learnt() -> None:
    torch.set_num_threads(1)
    photograph = bucketed_corpus("3:2")[0]["bucketed"]
    pipeline, drawn = tiny_pipeline(), {}
    rows = plan(tiny_corpus(1), tone="none").to_list()
    for crop in ("centre", "pad"):
        pipeline.skindiff = SimpleNamespace(crop=crop)
        square = as_square(photograph, TINY_SIZE, crop)
        sources = [
            Dataset.from_dict({"image_id": ["tiny-0"], "image": [one]}) for one in (photograph, square)
        ]
        whole, cut = (Drawer(pipeline, one).draw(rows).images[0] for one in sources)
        assert np.array_equal(whole, cut)
        drawn[crop] = whole
    assert not np.array_equal(drawn["centre"], drawn["pad"])
