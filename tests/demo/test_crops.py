"""A photograph is cut as the images were that a generator learnt from."""

from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator

from skindiff.corpora.crops import CropKind
from skindiff.demo.asked import TransferRequest
from skindiff.demo.config import DemoConfig
from skindiff.demo.drawing import image_size
from skindiff.demo.generator_cache import GeneratorCache
from skindiff.demo.photographs import Pixels, cut_like
from skindiff.demo.pieces import ita_strip
from skindiff.demo.transferring import before, enlarged, original_part, transfer
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from tests.tiny import bucketed_corpus, save_tiny_pipeline, tiny_corpus, tiny_pipeline

SKIN, RIM = (200, 160, 140), (110, 70, 50)
SKIN_ITA = 49.79
"""By the formulas of CIE L*a*b* under D65: L* 68.98 and b* 16.05."""


@pytest.fixture
def photograph() -> Pixels:
    """Skin, wider than high, with a rim of another colour, which is what a crop fills its square with."""
    pixels = np.full((60, 120, 3), RIM, np.uint8)
    pixels[2:-2, 2:-2] = SKIN
    return pixels


def test_columns_say_how_a_photograph_is_cut(photograph: Pixels) -> None:
    assert cut_like(photograph, "longest", 64)["bucket"] == "2:1"
    assert cut_like(photograph, "longest", 64)["bucketed"].size == (88, 48)
    padded = cut_like(photograph, "pad", 64)
    assert padded["shown"] == [0, 0.25, 1, 0.75]
    middle = cut_like(photograph, "centre", 64)
    assert set(middle) == {"image"}
    for kind in ("box", "mask"):
        assert np.array_equal(cut_like(photograph, kind, 64)["image"], middle["image"])


@pytest.mark.parametrize(("crop", "shape"), [("longest", (24, 48)), ("pad", (32, 32)), ("centre", (32, 32))])
def test_an_adapter_keeps_its_crop_and_the_demo_follows(
    tmp_path: Path, photograph: Pixels, crop: CropKind, shape: tuple[int, int]
) -> None:
    dataset = bucketed_corpus("2:1", "1:1", "1:2", "2:1") if crop == "longest" else tiny_corpus(4)
    config = LoRAConfig(loop=LoopConfig(steps=1, batch_size=2), rank=2, validation_examples=0)
    base = str(save_tiny_pipeline(tmp_path / "base"))
    adapter = train_lora(
        Accelerator(cpu=True), tiny_pipeline(), config, dataset, tmp_path / "lora", base_model=base, crop=crop
    )
    assert ("crop" in adapter.config) == (crop != "centre")
    cache = GeneratorCache(DemoConfig(generators=[str(tmp_path / "lora")], adapter_base=base, tone_draws=2))
    loaded = cache.generator("lora")
    assert loaded.generator.crop == crop
    start = before(photograph, image_size(loaded), loaded.generator.crop)
    assert start.pixels.shape == (*shape, 3)
    assert start.ita == pytest.approx(SKIN_ITA, abs=0.5)
    request = TransferRequest(photograph, "lora", "eczema", steps=4, tone="none")
    pictures = list(transfer(cache, request))[-1].pictures
    original = original_part(photograph, crop)
    if crop == "centre":  # as it is, and not as it is seen
        assert np.array_equal(original, photograph[:, 30:90])
    assert enlarged(pictures[0].pixels, original).shape == original.shape
    assert f"Generated at {shape[1]} x {shape[0]} pixels" in ita_strip(start, pictures, crop)
    assert "learnt from squares around a mask" in ita_strip(start, pictures, "mask")
    assert [picture.pixels.shape for picture in pictures] == [(*shape, 3)] * 6
