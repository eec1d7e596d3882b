import numpy as np
import pytest

from skindiff.measures.copying.planted import HARDER, KINDS, cropped, plant
from skindiff.measures.copying.structure import comparable
from tests.measures.copying.photographs import photograph


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return comparable([photograph(seed) for seed in range(4)])


@pytest.mark.parametrize("kind", [*KINDS, *HARDER])
def test_copies_are_the_same_for_the_same_key_and_leave_the_original(kind: str, pixels: np.ndarray) -> None:
    before = pixels.copy()
    copies = plant(pixels, kind, 1)
    assert copies.shape == pixels.shape
    assert copies.dtype == np.uint8
    assert np.array_equal(copies, plant(pixels, kind, 1))
    assert np.array_equal(pixels, before)
    changed = [not np.array_equal(one, other) for one, other in zip(copies, pixels, strict=True)]
    assert changed == [kind != "exact"] * 4
    if kind not in ("exact", "mirrored", "upside down", "turned"):
        assert not np.array_equal(copies, plant(pixels, kind, 2))


def test_a_crop_shows_seven_tenths_of_the_area_or_more() -> None:
    side = 64
    ramp = np.zeros((side, side, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(side) * 4, np.arange(side)[:, None] * 4
    for seed in range(20):
        crop = cropped(ramp, np.random.default_rng(seed)).astype(float)
        middle = slice(8, side - 8)
        width = np.diff(crop[side // 2, middle, 0]).mean() / 4
        height = np.diff(crop[middle, side // 2, 1]).mean() / 4
        assert 0.68 < width * height < 0.97
        assert 0.88 < width / height < 1.13
