"""Where the lesion is: a mask by classical means, for dermatoscopy and for clinical photographs.

Every pixel's distance from the image's own bare skin (:mod:`skindiff.measures.skin.skin_distance`) is cut
at Otsu's threshold (Otsu 1979, "A threshold selection method from gray-level histograms"), raised beside
strong contrasts so that an edge lies where about half of its own contrast is reached. Rings and torn edges
are closed and filled, whiskers are cut off. Areas that lie along the border without reaching the middle (a
shadowed limb, a dark corner, hair, cloth) count as background, and the skin is fitted again without them.

What to expect: on dermatoscopy and on close-ups the mask follows the lesion; on a photograph of a face, a
hand or a whole limb nothing tells lips, folds and shadows from a lesion, and the mask is often wrong.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import (
    binary_closing,
    binary_dilation,
    binary_erosion,
    binary_fill_holes,
    distance_transform_edt,
    grey_opening,
    label,
    maximum,
    maximum_filter,
    sum_labels,
    uniform_filter,
)
from skimage.filters import threshold_otsu

from skindiff.measures.skin.skin_distance import (
    FloatArray,
    Mask,
    SkinDistance,
    background,
    pixels_of,
    rim,
    round_footprint,
    skin_distance,
)

_LEAST_USABLE = 0.1
"""An image with a smaller share that could be skin has no mask."""
_PASSES = 3
_CAP, _STRONGEST = 10.0, 30.0
"""Distances above these do not count more, for Otsu's threshold and for the contrast beside an edge."""
_OTSU_FACTOR, _LEAST_THRESHOLD = 1.05, 2.5
_PEAK_FACTOR = 1.4
"""A lesion reaches this multiple of the threshold somewhere."""
_EDGE_SHARE, _THIN_EDGE_SHARE = 0.6, 0.5
"""Share of the contrast nearby at which an edge lies; for thin things, of what stands above their halo."""
_EDGE_REACH, _THIN, _THIN_BASE = 2.0, 4.0, 1.2
"""Pixels that count as nearby; radius below which a thing is thin; its halo, in thresholds, at most."""
_CLOSING, _RINGS, _ROUNDING = 3.0, (2.0, 4.0, 6.0), 3.0
"""Pixels: gaps closed everywhere, gaps closed where that fences a hole in, and width of the last filter."""
_WHISKER = 0.3
"""What is narrower than this share of its lesion is cut off."""
_LEAST_AREA = 5.0
"""Least area of a lesion in pixels of a 64-pixel image."""
_LEAST_MASS = 0.04
"""Least mass (area x distance) of a lesion as a share of the largest one's."""
_BORDER_SHARE, _MIDDLE = 0.3, 0.35
"""An area with this share of its outline along the border and no point so near the middle is background."""


class Segmentation(NamedTuple):
    """Masks of one image, ``(height, width)`` bool: its ``lesion``, and what is ``background``, not skin."""

    lesion: Mask
    background: Mask


def _threshold(distance: FloatArray, usable: Mask) -> float:
    otsu = float(threshold_otsu(np.minimum(distance, _CAP)[usable]))
    return max(_LEAST_THRESHOLD, _OTSU_FACTOR * otsu)


def _unlike_skin(found: SkinDistance, threshold: float) -> Mask:
    """Return where the distance is above the threshold and above its share of the contrast nearby."""
    distance = np.minimum(found.distance, _STRONGEST)
    nearby = round_footprint(pixels_of(_EDGE_REACH, distance.shape))
    halo = grey_opening(distance, footprint=round_footprint(pixels_of(_THIN, distance.shape)))
    above = np.zeros(distance.shape, dtype=bool)
    for side in (found.pale, ~found.pale):
        own = np.where(side, distance, 0.0)
        peak = maximum_filter(own, footprint=nearby)
        thin_edge = halo + _THIN_EDGE_SHARE * (peak - halo)
        edge = np.where(halo < _THIN_BASE * threshold, thin_edge, _EDGE_SHARE * peak)
        above |= own > np.maximum(threshold, edge)
    return above


def _closed(mask: Mask, radius: int) -> Mask:
    """Return the closing of a mask, with the image carried on beyond its border."""
    padded = binary_closing(np.pad(mask, radius, mode="edge"), round_footprint(radius))
    return np.asarray(padded[radius:-radius, radius:-radius])


def _solid(mask: Mask) -> Mask:
    """Close gaps, fill holes, and fill what an almost closed ring fences in."""
    mask = _closed(mask, pixels_of(_CLOSING, mask.shape))
    for gap in _RINGS:
        radius = pixels_of(gap, mask.shape)
        closed = _closed(mask, radius)
        holes = binary_fill_holes(closed) & ~closed
        if holes.any():
            mask = mask | holes | (binary_dilation(holes, round_footprint(radius + 1)) & closed)
    return np.asarray(binary_fill_holes(mask))


def _without_whiskers(mask: Mask) -> Mask:
    """Cut off what is much narrower than its lesion, and leave narrow lesions whole."""
    room = max(mask.shape) // 4
    padded = np.pad(mask, room, mode="edge")
    areas, count = label(padded)
    if not count:
        return mask
    depth = distance_transform_edt(padded)
    radius = np.r_[0.0, _WHISKER * np.asarray(maximum(depth, areas, np.arange(1, count + 1)))][areas]
    core = padded & (depth > radius)
    away, (row, column) = distance_transform_edt(~core, return_indices=True)
    cut = padded & (away <= radius + 0.5) & (areas[row, column] == areas)
    kept = np.where(radius < 1.5, padded, cut)
    return np.asarray(kept[room:-room, room:-room])


def _sorted_out(mask: Mask, found: SkinDistance, threshold: float, usable: Mask) -> Segmentation:
    """Keep the areas that are lesions, and name those that are background after all."""
    areas, count = label(mask)
    if not count:
        return Segmentation(mask, mask)
    numbers = np.arange(1, count + 1)
    height, width = mask.shape
    size = np.asarray(sum_labels(mask, areas, numbers))
    outline = mask & ~binary_erosion(mask, border_value=0)
    along = np.asarray(sum_labels(outline & rim(usable), areas, numbers))
    along = along / np.asarray(sum_labels(outline, areas, numbers))
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    nearest = -np.asarray(maximum(-np.hypot(y, x), areas, numbers))
    outside = (along >= _BORDER_SHARE) & (nearest >= _MIDDLE)
    mass = np.asarray(sum_labels(np.minimum(found.distance, _CAP), areas, numbers))
    least = pixels_of(1, mask.shape) ** 2 * _LEAST_AREA
    real = (size >= least) & (np.asarray(maximum(found.distance, areas, numbers)) > _PEAK_FACTOR * threshold)
    real &= ~outside & (mass > _LEAST_MASS * np.where(outside, 0, mass).max())
    left_out = outside & (size > 0.01 * mask.size)
    return Segmentation(np.r_[False, real][areas], np.r_[False, left_out][areas])


def _segment(pixels: NDArray[np.uint8]) -> Segmentation:
    """Segment an image at its own size."""
    foreign = background(pixels)
    lesion = np.zeros(foreign.shape, dtype=bool)
    for _ in range(_PASSES):
        usable = ~foreign
        if usable.mean() < _LEAST_USABLE:
            return Segmentation(np.zeros_like(lesion), foreign)
        found = skin_distance(pixels, usable)
        threshold = _threshold(found.distance, usable)
        mask = _solid(_unlike_skin(found, threshold)) & usable
        mask = uniform_filter(mask.astype(np.float64), 2 * pixels_of(_ROUNDING / 3, mask.shape) + 1) > 0.5
        lesion, outside = _sorted_out(_without_whiskers(mask), found, threshold, usable)
        if not outside.any():
            break
        foreign = foreign | binary_dilation(outside, round_footprint(pixels_of(1, mask.shape)))
    return Segmentation(lesion, foreign)


def _resized(mask: Mask, shape: tuple[int, ...]) -> Mask:
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)) > 127


def segment(pixels: NDArray[np.uint8], *, largest_side: int = 128) -> Segmentation:
    """Find the lesion and the background of a photograph of skin.

    Args:
        pixels: sRGB, ``(height, width, 3)``, uint8, at least 16 pixels a side.
        largest_side: an image with a longer shorter side is worked on at this many pixels, and its masks are
            enlarged.

    Returns:
        Masks of the image's own size. The lesion is empty where nothing differs from the skin around it and
        where less than 10% of the image could be skin.
    """
    height, width = pixels.shape[:2]
    shrink = largest_side / min(height, width)
    if shrink >= 1:
        return _segment(pixels)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    return Segmentation(*(_resized(mask, pixels.shape) for mask in _segment(small)))


def lesion_mask(pixels: NDArray[np.uint8]) -> Mask:
    """Return the estimated lesion of an sRGB image ``(height, width, 3)``, ``(height, width)`` bool."""
    return segment(pixels).lesion
