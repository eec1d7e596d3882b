"""How unlike the bare skin of its own image every pixel is, with lamp, shading and hair taken out.

In the logarithm of linear RGB a lamp adds a constant to each channel and a shadow the same amount to all
three, so what is left after a smooth surface has been taken away is a difference of pigment and blood. Bare
skin is what the frame of the image shows: its surface and its covariance are fitted there, trimmed as in the
minimum covariance determinant (Rousseeuw & Van Driessen 1999, "A fast algorithm for the minimum covariance
determinant estimator"), and the distance is Mahalanobis's, in standard deviations of that skin. Shadows of
bodies and folds are allowed for as variance along the grey direction. Hair is found as DullRazor finds it
(Lee, Ng, Gallagher, Coldman & McLean 1997, "DullRazor: a software approach to hair removal from images"), by
a grey closing of the red channel, which blood hardly darkens.

The numbers were set on phantom images of the seed "tuning" and by looking at masks on real photographs; what
is reported of the masks comes from other seeds (tests/measures/skin/test_segmentation.py).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_dilation,
    binary_erosion,
    binary_opening,
    gaussian_filter,
    grey_closing,
    label,
)
from skimage.color import rgb2lab
from skimage.morphology import disk

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

REFERENCE_SIDE = 64
"""Side in pixels that lengths below are given for; they grow with the image."""

_DARKEST = 0.003
"""Added to linear RGB before the logarithm, so that noise in black stays small."""
_HAIR_CONTRAST = 20.0
"""A thin line darker than its surroundings by this much (100 x natural logarithm of red) is hair."""
_HAIR_RADIUS, _HAIR_FILL, _SMOOTHING = 1.0, 1.5, 0.6
"""Pixels: half the width of a hair, reach of what it is painted over with, and noise filter."""
_FRAME = 0.2
"""Width of the frame that shows bare skin, as a share of the side."""
_INTERIOR_WEIGHT = 0.2
"""Weight of a pixel inside the frame where the skin is fitted, so that a large lesion does not become it."""
_TRIM = 5.0
"""Squared distance beyond which a pixel has no say in the fit (83% of a Gaussian in three dimensions)."""
_TRIMMED_SHARE_CORRECTION = 1.5, 1.3
"""Factors that give a trimmed covariance back its size, over the image and beside the lesion."""
_FLOOR = 0.3
"""Least standard deviation allowed for, in per cent of a channel."""
_SHADING = 10.0, 5.0
"""Standard deviation of shadows in per cent of the light, over the image and once its surface is local."""
_CURVATURE_PENALTY = 0.1
"""Ridge on the quadratic surface: a lamp falls off slowly, a lesion does not."""
_LOCAL_REACH, _LOCAL_PRIOR = 0.08, 0.03
"""Reach of the local surface as a share of the side; weight of no correction without skin near."""
_SURE_SKIN = 2.0, 3.0
"""Distance within which a pixel shapes the local surface, in the first pass and in later ones."""
_LOCAL_PASSES = 2


class SkinDistance(NamedTuple):
    """``distance`` ``(height, width)`` from bare skin in its standard deviations, and where it is ``pale``.

    ``pale`` marks what is lighter than the skin around it (scale, scars), the rest is darker or redder.
    """

    distance: FloatArray
    pale: Mask


def pixels_of(length: float, shape: tuple[int, ...]) -> int:
    """Return a length given at :data:`REFERENCE_SIDE` in pixels of an image of ``shape``, at least 1."""
    return max(1, round(length * min(shape[:2]) / REFERENCE_SIDE))


@lru_cache(maxsize=32)
def round_footprint(radius: int) -> NDArray[np.uint8]:
    """Return a disk of a radius in pixels, as a footprint."""
    return np.asarray(disk(radius))


@lru_cache(maxsize=1)
def _log_table() -> FloatArray:
    """Return 100 x the natural logarithm of the linear value of each sRGB byte (IEC 61966-2-1)."""
    encoded = np.arange(256) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return np.asarray(100 * np.log(linear + _DARKEST))


def _never_skin(pixels: NDArray[np.uint8]) -> Mask:
    """Return black, white, neutral grey, green and blue: dark corners, paper, walls and cloth."""
    lab = rgb2lab(pixels)
    lightness, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1]))
    black = (lightness < 6) | ((lightness < 18) & (chroma < 6))
    white = (lightness > 97) | ((lightness > 85) & (chroma < 4))
    grey = (lightness > 25) & (chroma < 2.5)
    foreign = (chroma > 8) & ((hue < -60) | (hue > 110))
    return np.asarray(black | white | grey | foreign)


def background(pixels: NDArray[np.uint8]) -> Mask:
    """Return what is not skin: areas of impossible colour that reach the border, with their soft rim.

    Such colours inside the image (a black melanoma, a white scale, a blue naevus) stay.

    Args:
        pixels: sRGB, ``(height, width, 3)``, uint8.
    """
    areas, _ = label(binary_opening(_never_skin(pixels), round_footprint(pixels_of(1, pixels.shape))))
    border = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    sizes = np.bincount(areas.ravel())
    large = np.flatnonzero(sizes > 0.005 * areas.size)
    outside = np.isin(areas, np.intersect1d(border[border > 0], large))
    return np.asarray(binary_dilation(outside, round_footprint(pixels_of(1.5, pixels.shape))))


def _filled(values: FloatArray, known: Mask, reach: float) -> FloatArray:
    """Return ``(height, width, 3)`` values averaged over the known pixels within ``reach``."""
    weight = known.astype(np.float64)
    share = np.maximum(gaussian_filter(weight, reach), 1e-3)
    return np.asarray(gaussian_filter(values * weight[..., None], (reach, reach, 0)) / share[..., None])


def _clean_logarithm(pixels: NDArray[np.uint8], usable: Mask) -> FloatArray:
    """Return 100 log RGB without hair and with less noise, in per cent."""
    values = _log_table()[pixels]
    scale = min(usable.shape) / REFERENCE_SIDE
    red = values[..., 0]
    closed = grey_closing(red, footprint=round_footprint(pixels_of(_HAIR_RADIUS, usable.shape)))
    hair = closed - red > _HAIR_CONTRAST
    if hair.any():
        values = np.where(hair[..., None], _filled(values, ~hair & usable, _HAIR_FILL * scale), values)
    if usable.all():
        return np.asarray(gaussian_filter(values, (_SMOOTHING * scale, _SMOOTHING * scale, 0)))
    return _filled(values, usable, _SMOOTHING * scale)


def _covariance(residual: FloatArray, weight: FloatArray, correction: float, shading: float) -> FloatArray:
    own = (residual * weight[:, None]).T @ residual / max(float(weight.sum()), 1e-9)
    return np.asarray(own * correction + np.eye(3) * _FLOOR**2 + np.full((3, 3), shading**2))


def _squared_distance(residual: FloatArray, covariance: FloatArray) -> FloatArray:
    return np.asarray(((residual @ np.linalg.inv(covariance)) * residual).sum(-1))


@lru_cache(maxsize=8)
def _terms(height: int, width: int) -> FloatArray:
    """Return 1, x, y, x^2, y^2, xy of every pixel, with x and y in [-1, 1]: ``(pixels, 6)``."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], -1).reshape(-1, 6)


def _frame_fit(values: FloatArray, usable: Mask) -> tuple[FloatArray, FloatArray]:
    """Return the residual ``(height, width, 3)`` from the skin's surface and its squared distance."""
    terms, flat, use = _terms(*usable.shape), values.reshape(-1, 3), usable.ravel()
    frame = np.abs(terms[:, 1:3]).max(-1) > 1 - 2 * _FRAME
    shown = frame & use if (frame & use).sum() > 0.25 * frame.sum() else use
    centre = np.median(flat[shown], 0)
    spread = np.maximum(1.4826 * np.median(np.abs(flat[shown] - centre), 0), _FLOOR)
    squared = (((flat - centre) / spread) ** 2).sum(-1)
    weight = use * np.where(frame, 1.0, _INTERIOR_WEIGHT)
    penalty = np.diag([0, 0.3, 0.3, 1, 1, 1]) * _CURVATURE_PENALTY * len(flat)
    residual = flat - centre
    for _ in range(7):
        kept = weight * (squared < _TRIM)
        weighted = terms * kept[:, None]
        # The tiny constant keeps an image without any skin of one colour solvable.
        surface = np.linalg.solve(weighted.T @ terms + penalty + np.eye(6) * 1e-9, weighted.T @ flat)
        residual = flat - terms @ surface
        covariance = _covariance(residual, kept, _TRIMMED_SHARE_CORRECTION[0], _SHADING[0])
        squared = _squared_distance(residual, covariance)
    return residual.reshape(values.shape), squared.reshape(usable.shape)


def _local_fit(
    residual: FloatArray, squared: FloatArray, usable: Mask, limit: float
) -> tuple[FloatArray, FloatArray]:
    """Return the residual from the skin nearby (mottling, folds) and its squared distance."""
    scale = min(usable.shape) / REFERENCE_SIDE
    unlike = gaussian_filter((squared > limit**2).astype(np.float64), 0.8 * scale) > 0.5
    skin = ~binary_dilation(unlike, iterations=pixels_of(1, usable.shape)) & usable
    weight, reach = skin.astype(np.float64), _LOCAL_REACH * min(usable.shape)
    share = gaussian_filter(weight, reach, mode="nearest") + _LOCAL_PRIOR * weight.mean() + 1e-9
    local = gaussian_filter(residual * weight[..., None], (reach, reach, 0), mode="nearest")
    corrected = residual - local / share[..., None]
    flat = corrected[skin]
    covariance = _covariance(flat, np.ones(len(flat)), _TRIMMED_SHARE_CORRECTION[1], _SHADING[1])
    return corrected, _squared_distance(corrected, covariance)


def skin_distance(pixels: NDArray[np.uint8], usable: Mask) -> SkinDistance:
    """Return how unlike bare skin each pixel is; zero where the image is not usable.

    Args:
        pixels: sRGB, ``(height, width, 3)``, uint8.
        usable: what is not background, ``(height, width)``, at least a few per cent of the image.
    """
    residual, squared = _frame_fit(_clean_logarithm(pixels, usable), usable)
    corrected = residual
    for number in range(_LOCAL_PASSES):
        corrected, squared = _local_fit(residual, squared, usable, _SURE_SKIN[min(number, 1)])
    return SkinDistance(np.where(usable, np.sqrt(squared), 0.0), np.asarray(corrected.mean(-1) > 0))


def rim(usable: Mask) -> Mask:
    """Return the outermost usable pixels: along the image's border and along the background."""
    return np.asarray(usable & ~binary_erosion(usable, round_footprint(1), border_value=0))
