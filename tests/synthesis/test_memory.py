"""Drawing with less memory: the autoencoder in tiles, networks off the device while they wait."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from datasets import Dataset

from skindiff.errors import ConfigError
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.hub.synthetic import _refuse_unknown_columns
from skindiff.synthesis import plan as plan_module
from skindiff.synthesis.draw import Drawer, redraw
from skindiff.synthesis.plan import SynthesisConfig, make_plan
from skindiff.synthesis.writer import load_synthetic, write_synthetic
from tests.tiny import TINY_BUILDERS, TINY_SIZE, tiny_corpus, tiny_pipeline

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


def test_offload_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "get_device", lambda: "cpu")
    with pytest.raises(ConfigError, match=r"^synthesis\.offload: true keeps networks off the GPU, and there"):
        SynthesisConfig(offload=True).validate("synthesis.")
    monkeypatch.setattr(plan_module, "get_device", lambda: "cuda")
    SynthesisConfig(offload=True).validate("synthesis.")
