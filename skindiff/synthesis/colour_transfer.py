"""Tone transfer without a generator: each image's colours are filtered from one skin type's to another's.

Melanin lies above the rest of the skin and works like a coloured filter on the light that crosses it twice
(S. L. Jacques, "Skin optics", Oregon Medical Laser Center News, 1998). So a tone is changed by one gain per
channel of *linear* RGB, which takes the source type's colour to the target type's exactly and leaves every
ratio between two pixels, and with it the relative contrast of the lesion, as it was.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from skindiff.errors import SynthesisError

Lab = tuple[float, float, float]
_FLOOR = 0.02
"""Added to linear light before its logarithm, below which a photograph is mostly noise."""

SKIN_REFERENCE: dict[str, Lab] = {
    "I": (63.1, 9.8, 8.9),
    "II": (59.6, 14.4, 12.7),
    "III": (59.0, 14.8, 17.2),
    "IV": (55.0, 15.5, 17.7),
    "V": (51.7, 12.5, 16.2),
    "VI": (44.5, 9.6, 9.9),
}
"""CIE L*a*b* (D65) of clinical photographs per Fitzpatrick type.

Measured by us with :func:`measure_references` on 2,401 Fitzpatrick17k photographs (Groh et al. 2021; 522,
867, 428, 325, 174 and 85 per type) of 16 conditions, among them none of the paper's four on which we report.
Photographs are lit and exposed as the photographer liked, so these differ less than skin does under a
colorimeter.
"""


def measure_references(images: NDArray[np.uint8], skin_types: Sequence[str | None]) -> dict[str, Lab]:
    """Return the median colour of each skin type's images: the median over images of each image's median.

    Args:
        images: RGB of shape (n, height, width, 3), 0 to 255.
        skin_types: type of each image; those of ``None`` are left out.

    Returns:
        L*, a* and b* (D65) per type that occurs; a drop-in for :data:`SKIN_REFERENCE`.
    """
    medians = _median_lab(images)
    types = np.array([skin_type or "" for skin_type in skin_types])
    references: dict[str, Lab] = {}
    for skin_type in sorted(set(types) - {""}):
        lightness, red, yellow = np.median(medians[types == skin_type], axis=0).tolist()
        references[skin_type] = (lightness, red, yellow)
    return references


def transfer_colour(
    images: NDArray[np.uint8],
    source: Sequence[str | None],
    target: Sequence[str],
    *,
    strength: float = 1.0,
    references: Mapping[str, Lab] = SKIN_REFERENCE,
) -> NDArray[np.uint8]:
    """Move the skin colour of images from their own skin type to another.

    An image of unknown type is moved from its own median colour instead of its type's.

    Args:
        images: RGB of shape (n, height, width, 3), 0 to 255.
        source: skin type of each image, or ``None``.
        target: skin type that each image is moved to; equal to ``source`` leaves the image as it is.
        strength: 0 leaves the images as they are, 1 moves them all the way (geometrically in between).
        references: colour of each skin type.

    Returns:
        Images of the same shape; what a gain above 1 pushes out of gamut is clipped.

    Raises:
        SynthesisError: a skin type has no reference colour.
    """
    missing = sorted({*source, *target} - {None, *references}, key=str)
    if missing:
        raise SynthesisError(
            f"skin type {missing[0]!r} has no reference colour: have {', '.join(references)}; measure one "
            "with measure_references"
        )
    if len(images) == 0:
        return images
    own = _median_lab(images)
    start = np.array([references[name] if name else own[row] for row, name in enumerate(source)])
    end = np.array([references[name] for name in target])
    gain = (_lab_to_linear(end) / np.maximum(_lab_to_linear(start), 1e-4)) ** strength
    # One gain per image and channel makes every pixel's result a function of its own byte alone.
    levels = _decode_srgb(np.arange(256) / 255.0)
    tables = _encode_srgb(levels[None, None, :] * gain[:, :, None])
    moved = np.empty_like(images)
    for row, table in enumerate(tables):
        for channel in range(3):
            moved[row, ..., channel] = table[channel][images[row, ..., channel]]
    return moved


def measure_contrast(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how deviations from an image's skin change from one skin type to another.

    Absorbers add up in the logarithm of light, so a deviation is a difference of logarithms of linear RGB
    from the image's median. The result is the least-squares linear map between the deviations of pairs of
    images that show the same things: brown marks stand out more from dark skin, redness less.

    Args:
        source: RGB of shape (n, height, width, 3), 0 to 255, on one skin type.
        target: the same things at the same places on the other, of the same shape.

    Returns:
        Matrix (3, 3): a row of deviations of red, green and blue, times it, gives those on the target.
    """
    before, after = (_deviations(images)[1].reshape(-1, 3) for images in (source, target))
    moments = before.T @ before
    ridge = 1e-3 * np.trace(moments) / 3
    found: NDArray[np.float64] = np.linalg.solve(moments + ridge * np.eye(3), before.T @ after)
    return found


def transfer_contrast(
    image: NDArray[np.uint8], start: Lab, end: Lab, contrast: NDArray[np.float64], strength: float = 1.0
) -> NDArray[np.uint8]:
    """Move an image from one skin type to another: its skin by a gain, what deviates from it by a linear map.

    Args:
        image: RGB of shape (height, width, 3), 0 to 255.
        start: colour of its skin type.
        end: colour of the type it is moved to.
        contrast: of :func:`measure_contrast`, between the two types.
        strength: 0 leaves the image as it is, 1 moves it all the way.
    """
    level, deviations = _deviations(image[None])
    ends = np.log(_lab_to_linear(np.array([start, end])) + _FLOOR)
    matrix = (1 - strength) * np.eye(3) + strength * contrast
    moved = level + strength * (ends[1] - ends[0]) + deviations @ matrix
    return _encode_srgb(np.exp(moved[0]) - _FLOOR)


def _deviations(images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the median of each image in the logarithm of linear RGB, and its pixels' deviations from it."""
    logs = np.log(_decode_srgb(np.arange(256) / 255.0) + _FLOOR)[images]
    level = np.median(logs, axis=(1, 2), keepdims=True)
    return level, logs - level


def _median_lab(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.stack([np.median(rgb2lab(image).reshape(-1, 3), axis=0) for image in images])


def _lab_to_linear(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    return _decode_srgb(lab2rgb(lab[None])[0])


def _decode_srgb(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1, values in [0, 1]."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _encode_srgb(linear: NDArray[np.float64]) -> NDArray[np.uint8]:
    linear = np.clip(linear, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255.0 * encoded).astype(np.uint8)
