import numpy as np
import pytest
from skimage.color import rgb2lab

from skindiff.errors import SynthesisError
from skindiff.synthesis.colour_transfer import (
    SKIN_REFERENCE,
    measure_contrast,
    measure_references,
    transfer_colour,
    transfer_contrast,
)


def _skin(lab_shift: float = 0.0) -> np.ndarray:
    """One 32 x 32 image: skin of type II's reference colour with a darker, redder disc in the middle."""
    generator = np.random.default_rng(3)
    image = np.full((32, 32, 3), (176.0, 132.0, 121.0)) + lab_shift + generator.normal(0, 3, (32, 32, 1))
    rows, columns = np.mgrid[:32, :32]
    image[(rows - 16) ** 2 + (columns - 16) ** 2 < 36] *= (0.8, 0.5, 0.5)
    return image.clip(0, 255).astype(np.uint8)[None]


def _linear(image: np.ndarray) -> np.ndarray:
    values = image / 255.0
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def test_an_image_of_the_source_colour_lands_on_the_target_colour() -> None:
    moved = transfer_colour(_skin(), [None], ["VI"])

    median = np.median(rgb2lab(moved[0]).reshape(-1, 3), axis=0)
    np.testing.assert_allclose(median, SKIN_REFERENCE["VI"], atol=0.8)


def test_the_relative_contrast_of_the_lesion_is_kept() -> None:
    before = _skin()
    after = transfer_colour(before, ["II"], ["VI"])

    ratio = [
        _linear(x[0])[14:18, 14:18].mean((0, 1)) / _linear(x[0])[:4].mean((0, 1)) for x in (before, after)
    ]
    np.testing.assert_allclose(ratio[0], ratio[1], rtol=0.02)
    assert after.mean() < before.mean() - 20


def test_a_known_source_type_keeps_what_is_special_about_the_image() -> None:
    images = np.concatenate([_skin(0), _skin(20)])

    by_type = transfer_colour(images, ["II", "II"], ["V", "V"])
    by_image = transfer_colour(images, [None, None], ["V", "V"])

    assert np.median(by_type[1]) - np.median(by_type[0]) > 10
    assert abs(float(np.median(by_image[1])) - float(np.median(by_image[0]))) < 5


def test_no_move_leaves_every_byte() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)

    assert np.array_equal(transfer_colour(images, ["V", "VI"], ["V", "VI"]), images)
    assert np.array_equal(transfer_colour(images, ["I", None], ["VI", "VI"], strength=0.0), images)


def test_strength_is_in_between_and_lightening_is_clipped_to_gamut() -> None:
    image = _skin()
    lightness = [
        rgb2lab(transfer_colour(image, ["I"], ["VI"], strength=strength)[0])[..., 0].mean()
        for strength in (0.0, 0.5, 1.0)
    ]
    assert lightness[0] > lightness[1] + 3 > lightness[2] + 6

    white = np.full((1, 4, 4, 3), 250, dtype=np.uint8)
    assert transfer_colour(white, ["VI"], ["I"]).min() == 255


def test_own_references_are_measured_and_used() -> None:
    images = np.concatenate([_skin(20), _skin(), _skin(-40)])

    references = measure_references(images, ["I", None, "VI"])
    moved = transfer_colour(images[:1], ["I"], ["VI"], references=references)

    assert list(references) == ["I", "VI"]
    np.testing.assert_allclose(
        np.median(rgb2lab(moved[0]).reshape(-1, 3), axis=0), references["VI"], atol=1.5
    )
    assert transfer_colour(images[:0], [], []).shape == (0, 32, 32, 3)


def test_a_type_without_reference_is_refused() -> None:
    with pytest.raises(SynthesisError, match="'VII' has no reference colour"):
        transfer_colour(_skin(), ["II"], ["VII"])


def _absorbed(skin: tuple[float, ...], mark: tuple[float, ...], seed: int) -> np.ndarray:
    """Two images whose linear RGB is that of the skin, dimmed by noise, and by a mark in the middle."""
    noise = np.random.default_rng(seed).normal(0, 0.1, (2, 16, 16, 3))
    disc = (np.hypot(*np.mgrid[-8:8, -8:8]) < 4)[..., None]
    linear = np.exp(np.log(np.array(skin)) + noise - disc * np.array(mark))
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * encoded).round().astype(np.uint8)


def test_contrasts_change_as_they_do_between_pairs_of_images() -> None:
    light, dark = (0.6, 0.5, 0.45), (0.2, 0.15, 0.1)
    source, target = _absorbed(light, (0.1, 0.2, 0.3), 0), _absorbed(dark, (0.4, 0.6, 0.7), 0)

    contrast = measure_contrast(source[:1], target[:1])
    start, end = (measure_references(images, ["I", "I"])["I"] for images in (source, target))
    moved = transfer_contrast(source[1], start, end, contrast)
    filtered = transfer_colour(source[1:], ["I"], ["V"], references={"I": start, "V": end})[0]

    def error(image: np.ndarray) -> float:  # of the mark
        return float(np.abs(image.astype(float) - target[1])[6:10, 6:10].mean())

    assert contrast.shape == (3, 3)
    assert error(moved) < 0.5 * error(filtered)
    assert np.abs(transfer_contrast(source[1], start, end, contrast, 0.0).astype(int) - source[1]).max() <= 1


def test_the_contrast_between_equal_images_is_none() -> None:
    image = _absorbed((0.6, 0.5, 0.45), (0.1, 0.2, 0.3), 0)
    np.testing.assert_allclose(measure_contrast(image, image), np.eye(3), atol=0.02)
