"""Drawing with less memory: the autoencoder in tiles, networks off the device while they wait."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset

import skindiff
from skindiff.errors import ConfigError, SynthesisError
from skindiff.generators.text_to_image.loading import architecture_of, load_pipeline
from skindiff.hub.synthetic import _refuse_unknown_columns
from skindiff.synthesis.config import DTYPES, SynthesisConfig, same_noise
from skindiff.synthesis.draw import Drawer, redraw
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.writer import load_synthetic, write_synthetic
from tests.tiny import (
    TINY_BUILDERS,
    TINY_SIZE,
    bucketed_corpus,
    save_tiny_pipeline,
    tiny_corpus,
    tiny_flux,
    tiny_pipeline,
)

half_precision = pytest.mark.skipif(
    not same_noise(torch.bfloat16), reason=f"torch {torch.__version__} draws other noise in bfloat16"
)
SOURCES = tiny_corpus(2, size=2 * TINY_SIZE)
CONFIG = SynthesisConfig(
    strategy="vanilla", images_per_source=1, batch_size=2, steps=4, strength=0.5, tone="none",
    image_size=2 * TINY_SIZE, detail=0.5,
)  # fmt: skip


def plan(pipeline: Any, **settings: Any) -> Dataset:
    config = replace(CONFIG, **settings).sampled_by(architecture_of(pipeline))
    return make_plan(SOURCES, config, seed=1, generator="tiny@0")


def draw(pipeline: Any, **settings: Any) -> np.ndarray:
    drawn = Drawer(pipeline, SOURCES).draw(plan(pipeline, **settings).to_list()).images
    return np.stack([drawn[number] for number in sorted(drawn)])


@pytest.mark.parametrize("mode", ["img2img", "txt2img"])
def test_tiles_are_what_the_row_says_and_draws_again(tmp_path: Path, mode: str) -> None:
    pipeline, shapes = tiny_pipeline(), []
    pipeline.vae.decoder.register_forward_hook(lambda _, given, __: shapes.append(given[0].shape))
    tiled = draw(pipeline, mode=mode, tiling=True)
    tile = pipeline.vae.tile_latent_min_size
    assert all(shape[0] == 1 and max(shape[2:]) <= tile for shape in shapes)
    assert (pipeline.vae.use_tiling, pipeline.vae.use_slicing) == (False, False)
    whole = draw(pipeline, mode=mode)
    assert shapes[-1][2] > tile
    assert not np.array_equal(tiled, whole)
    rows = plan(pipeline, mode=mode, tiling=True)
    write_synthetic(Accelerator(cpu=True), rows, pipeline, SOURCES, tmp_path)
    kept = load_synthetic(tmp_path)
    _refuse_unknown_columns(kept)
    assert np.array_equal(np.array(redraw(kept[1], pipeline, SOURCES)), np.array(kept[1]["image"]))
    assert "tiling" not in plan(pipeline, mode=mode).column_names


def test_tiling_that_changes_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        draw(tiny_pipeline(), tiling=True)
        assert "tiling" not in caplog.text
        draw(tiny_pipeline(), tiling=True, image_size=TINY_SIZE, batch_size=1)
    assert caplog.text.count("tiling changes nothing: images up to 32 pixels are one tile") == 1


@pytest.mark.parametrize("build", TINY_BUILDERS.values(), ids=TINY_BUILDERS)
@pytest.mark.parametrize("mode", ["img2img", "txt2img"])
def test_networks_that_wait_elsewhere_draw_the_same(
    tmp_path: Path, build: Callable[..., Any], mode: str
) -> None:
    pipeline, found = build(), []
    rows = plan(pipeline, mode=mode, steps=2, tone="offset_noise", image_size=TINY_SIZE)
    for offload in (False, True):
        folder = tmp_path / str(offload)
        write_synthetic(Accelerator(cpu=True), rows, pipeline, SOURCES, folder, offload=offload)
        found.append(np.stack([np.array(image) for image in load_synthetic(folder)["image"]]))
        assert not any(hasattr(part, "_hf_hook") for part in pipeline.components.values())
    assert np.array_equal(found[0], found[1])


@pytest.mark.gpu
def test_on_a_gpu_networks_wait_off_it_and_draw_the_same(tmp_path: Path) -> None:
    for name, build in TINY_BUILDERS.items():
        pipeline, found = build(), []
        rows = plan(pipeline, steps=2, tone="offset_noise", image_size=TINY_SIZE)
        for offload in (False, True):
            folder = tmp_path / name / str(offload)
            pipeline.to("cpu" if offload else "cuda")
            write_synthetic(Accelerator(), rows, pipeline, SOURCES, folder, offload=offload)
            found.append(np.stack([np.array(image) for image in load_synthetic(folder)["image"]]))
            assert pipeline.device.type == ("cpu" if offload else "cuda")
        assert np.array_equal(found[0], found[1]), name


@half_precision
@pytest.mark.parametrize("build", TINY_BUILDERS.values(), ids=TINY_BUILDERS)
@pytest.mark.parametrize("mode", ["img2img", "txt2img"])
def test_half_precision_draws_nearly_the_same_and_again_bit_for_bit(
    tmp_path: Path, build: Callable[..., Any], mode: str
) -> None:
    save_tiny_pipeline(tmp_path / "tiny", build=build)
    found = {}
    for dtype in ("float32", "bfloat16"):
        pipeline = load_pipeline(str(tmp_path / "tiny"), dtype=DTYPES[dtype])
        rows = plan(pipeline, mode=mode, tone="offset_noise", image_size=TINY_SIZE, dtype=dtype)
        write_synthetic(Accelerator(cpu=True), rows, pipeline, SOURCES, tmp_path / dtype)
        found[dtype] = load_synthetic(tmp_path / dtype)
        _refuse_unknown_columns(found[dtype])
        again = redraw(found[dtype][1], pipeline, SOURCES)
        assert np.array_equal(np.array(again), np.array(found[dtype][1]["image"]))
    assert architecture_of(pipeline).network(pipeline).dtype == torch.bfloat16
    assert pipeline.vae.dtype == torch.float32
    assert "dtype" not in found["float32"].column_names
    assert set(found["bfloat16"]["dtype"]) == {"bfloat16"}
    whole, half = (np.stack([np.array(one) for one in found[name]["image"]]).astype(int) for name in found)
    assert 0 < np.abs(whole - half).mean() < 4


@half_precision
def test_a_transfer_of_packed_latents_in_half_precision_keeps_its_shape(tmp_path: Path) -> None:
    save_tiny_pipeline(tmp_path / "tiny", build=tiny_flux)
    sources = bucketed_corpus("2:3", "1:1", "3:2")
    pipeline = load_pipeline(str(tmp_path / "tiny"), dtype=torch.bfloat16)
    config = replace(CONFIG, dtype="bfloat16", image_size=TINY_SIZE).sampled_by(architecture_of(pipeline))
    rows = make_plan(sources, config, seed=1, generator="tiny@0").to_list()
    drawn = Drawer(pipeline, sources).draw(rows).images
    shapes = {rows[number]["bucket"]: image.shape for number, image in drawn.items()}
    assert len({shape for shape in shapes.values() if shape[0] != shape[1]}) > 1


@half_precision
def test_a_row_is_not_drawn_in_another_precision() -> None:
    pipeline = tiny_pipeline()
    row = plan(pipeline, dtype="bfloat16").to_list()[0]
    with pytest.raises(SynthesisError, match=r"^dtype 'bfloat16' of row .* is held in torch.float32; load"):
        redraw(row, pipeline, SOURCES)


@half_precision
def test_a_word_is_loaded_in_the_precision_and_a_pipeline_must_have_it(tmp_path: Path) -> None:
    word = str(save_tiny_pipeline(tmp_path / "tiny"))
    made = skindiff.generate(word, ["red patch"], ["V"], 1, steps=2, dtype="bfloat16")
    assert made.dataset[0]["dtype"] == "bfloat16"
    assert np.array_equal(np.array(made.redraw([0])[0]), np.array(made.dataset[0]["image"]))
    with pytest.raises(
        ConfigError,
        match=r"dtype is bfloat16, but tiny@.* is held in float32, its autoencoder in float32: give",
    ):
        skindiff.generate(skindiff.load(word), ["red patch"], ["V"], 1, steps=2, dtype="bfloat16")
    with pytest.raises(ConfigError, match="dtype: 'half' is unknown; use one of float32, bfloat16, float16"):
        skindiff.generate(word, ["red patch"], ["V"], 1, dtype="half")
