from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from skindiff.corpora.phantom import render_phantom
from skindiff.corpora.phantom_lesions import LESION_CLASSES
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.measures.skin.segmentation import lesion_mask, segment
from skindiff.measures.skin.tone import image_ita

Pixels = NDArray[np.uint8]


def _under_another_lamp(pixels: Pixels, number: int) -> Pixels:
    """Return a picture with up to a third of the light gone towards one side, and a tint."""
    height, width = pixels.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    angle = 2.4 * number
    light = 0.85 * (1 + 0.2 * (np.cos(angle) * x + np.sin(angle) * y))
    linear = (pixels / 255) ** 2.2 * light[..., None] * [1.05, 1, 0.95]
    return np.asarray(np.clip(linear, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def _overlap(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("skin_type", SKIN_TYPES)
def test_tone_with_the_estimated_mask_is_within_two_degrees_of_the_known_one(skin_type: str) -> None:
    errors = []
    for lesion in LESION_CLASSES:
        for number in range(2):
            drawn = render_phantom(skin_type, lesion, 64, "ITA of the mask", lesion, number)
            lit = _under_another_lamp(drawn.pixels, number)
            estimate, known = image_ita(lit), image_ita(lit, drawn.lesion_mask)
            assert estimate is not None
            assert known is not None
            errors.append(abs(estimate - known))
    assert np.mean(errors) < 1
    assert np.quantile(errors, 0.9) < 2


def test_masks_overlap_with_the_true_lesions() -> None:
    overlaps = {
        skin_type: [
            _overlap(lesion_mask(drawn.pixels), drawn.lesion_mask)
            for lesion in LESION_CLASSES
            for number in range(2)
            for drawn in (render_phantom(skin_type, lesion, 64, "masks of a test", lesion, number),)
        ]
        for skin_type in SKIN_TYPES
    }
    assert np.mean([np.mean(scores) for scores in overlaps.values()]) >= 0.7
    assert min(np.mean(scores) for scores in overlaps.values()) >= 0.55, "dark skin is the hardest"


def test_a_disc_is_found_whatever_the_colour_of_light_and_skin() -> None:
    y, x = np.mgrid[:96, :96]
    disc = np.hypot(y - 44, x - 52) < 20
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 12, (96, 96)), 1)
    for skin, lesion in (
        ((228, 188, 170), (120, 70, 60)),
        ((178, 168, 184), (110, 90, 70)),  # the bluish white balance of some dermatoscopes
        ((70, 48, 38), (160, 120, 110)),  # a pale lesion on dark skin
    ):
        picture = np.where(disc[..., None], lesion, skin) + noise[..., None]
        found = segment(np.clip(picture, 0, 255).astype(np.uint8))
        assert _overlap(found.lesion, disc) > 0.8, skin
        assert found.background.mean() < 0.05, skin


def test_bare_skin_has_no_lesion_and_a_wall_is_background() -> None:
    noise = gaussian_filter(np.random.default_rng(1).normal(0, 12, (96, 96)), 1)
    bare = np.clip(np.array([205, 160, 140]) + noise[..., None], 0, 255).astype(np.uint8)
    assert segment(bare).lesion.mean() < 0.02
    bare[:, :24] = (20, 120, 60)
    found = segment(bare)
    assert found.background[:, :22].mean() > 0.95
    assert found.lesion.mean() < 0.02
    assert not segment(np.full((64, 64, 3), 255, np.uint8)).lesion.any()


def test_large_images_are_worked_on_small_and_masks_are_of_their_own_size() -> None:
    drawn = render_phantom("II", "plaque", 64, "enlarged")
    large = np.asarray(Image.fromarray(drawn.pixels).resize((384, 320), Image.Resampling.BICUBIC))
    truth = np.asarray(Image.fromarray(drawn.lesion_mask).resize((384, 320)))
    found = segment(large, largest_side=64)
    assert found.lesion.shape == found.background.shape == (320, 384)
    assert _overlap(found.lesion, truth) > 0.8


def test_lesions_of_dermatoscopy_stand_in_the_middle_and_differ_from_the_skin(real_data: Path) -> None:
    files = sorted((real_data / "ham10000" / "images").glob("*"))[::240]
    found, middle, darker = [], [], []
    for file in files:
        pixels = np.asarray(Image.open(file).convert("RGB"))
        mask = lesion_mask(pixels)
        found.append(mask.any())
        if mask.any():
            height, width = mask.shape
            middle.append(mask[height // 3 : -height // 3, width // 3 : -width // 3].mean() > mask.mean())
            lightness = rgb2lab(pixels)[..., 0]
            darker.append(np.median(lightness[mask]) < np.median(lightness[~mask]))
    assert len(files) > 20
    assert np.mean(found) > 0.9
    assert np.mean(middle) > 0.8
    assert np.mean(darker) > 0.8
