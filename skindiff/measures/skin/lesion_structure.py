"""Is it still the same lesion? Structure of the luminance before and after a change of skin tone.

A transfer should move the colour of the skin and leave the lesion. Colour and overall lightness therefore
must not count, and neither must contrast, which depends on skin tone in life. What remains is the structure
term of the structural similarity index (Wang, Bovik, Sheikh & Simoncelli 2004, "Image quality assessment:
from error visibility to structural similarity"): the local correlation of two luminances, here of band-passed
ones, so that neither lighting nor pixel noise counts, averaged with the source's local contrast as weight,
so that smooth skin (where correlation is chance) hardly counts.

It is compared within the lesion of the *source*, estimated unless it is known: hair and folds around a
lesion survive its removal, and over the middle of an image they count as if it were still there.

A number of its own means little: any two photographs that centre on something dark correlate. So every
synthetic image is also compared with the sources of *other* groups, and the report says where its own source
stands among those.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

from skindiff.measures.group_bootstrap import group_means, percentile_interval
from skindiff.measures.skin.rows import LesionRow, MeanInterval
from skindiff.measures.skin.segmentation import segment
from skindiff.measures.skin.skin_distance import FloatArray, Mask
from skindiff.seeding import numpy_generator

_FINE, _COARSE, _WINDOW = 1 / 64, 1 / 8, 1 / 16
"""Standard deviations of the band-pass's two Gaussians and of the local window, as shares of the side."""
_SEGMENTATION_SIDE = 64
"""Side in pixels at which lesions are compared."""
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Weights of R, G, B in luminance (ITU-R BT.709), applied to the encoded values as in SSIM."""


def band_pass(pixels: NDArray[np.uint8]) -> FloatArray:
    """Return the band-passed luminance ``(height, width)`` of RGB ``(height, width, 3)``, in grey levels."""
    luminance = np.asarray(pixels, dtype=np.float64) @ _LUMINANCE
    side = luminance.shape[-1]
    return np.asarray(gaussian_filter(luminance, _FINE * side) - gaussian_filter(luminance, _COARSE * side))


def central_area(height: int, width: int) -> Mask:
    """Return the ellipse over the middle 80% of an image: what is compared where no lesion is found."""
    y = (np.arange(height) + 0.5) / height * 2 - 1
    x = (np.arange(width) + 0.5) / width * 2 - 1
    return np.asarray(y[:, None] ** 2 + x[None] ** 2 <= 0.8**2)


class Structure:
    """The structure of one source image in one region, to compare other images with."""

    def __init__(self, pixels: NDArray[np.uint8], lesion_mask: Mask | None = None) -> None:
        """Take RGB ``(height, width, 3)``; the region is the mask and its rim, or the central area."""
        self.band = band_pass(pixels)
        height, width = self.band.shape
        self.window = _WINDOW * width
        if lesion_mask is None or not lesion_mask.any():
            self.region = central_area(height, width)
        else:
            self.region = binary_dilation(lesion_mask, iterations=max(1, round(width / 16)))
        self.mean = gaussian_filter(self.band, self.window)
        self.variance = np.maximum(gaussian_filter(self.band**2, self.window) - self.mean**2, 0.0)

    def similarity(self, band: FloatArray) -> float:
        """Return the structure term against another band-passed luminance, in [-1, 1].

        1: the same structure up to brightness and contrast; about 0: unrelated; -1: light and dark exchanged.
        """
        mean = gaussian_filter(band, self.window)
        variance = np.maximum(gaussian_filter(band**2, self.window) - mean**2, 0.0)
        covariance = gaussian_filter(self.band * band, self.window) - self.mean * mean
        weight = np.sqrt(self.variance) * self.region
        stable = 0.5  # grey levels squared: below this a window holds nothing but rounding
        local = (covariance + stable) / (np.sqrt(self.variance * variance) + stable)
        return float((weight * local).sum() / max(weight.sum(), 1e-9))


@dataclass(frozen=True)
class LesionPreservation:
    """How much of the lesions' structure a transfer kept; made by :func:`lesion_preservation`.

    ``own`` is the mean similarity of synthetic images with their sources, ``other`` that with sources of
    other groups (the chance level). ``kept`` = (own - other) / (1 - other): 0 where lesions were repainted, 1
    where nothing but tone, light and contrast changed. ``rank`` is the share of other sources that are less
    similar than its own (0.5: chance). ``own``, ``kept`` and ``rank`` come with the ends of a 95% interval.
    """

    own: tuple[float, float, float]
    other: float
    kept: tuple[float, float, float]
    rank: tuple[float, float, float]
    pairs: int

    def summary(self) -> LesionRow:
        """Return the report's form: plain numbers."""
        return {
            "measure": "structure term of SSIM on band-passed luminance, in the source's lesion",
            "own_similarity": _with_interval(self.own),
            "kept": _with_interval(self.kept),
            "rank_of_own_source": _with_interval(self.rank),
            "mismatched_similarity": self.other,
            "pairs": self.pairs,
        }


def _with_interval(values: tuple[float, float, float]) -> MeanInterval:
    mean, low, high = values
    return {"mean": mean, "ci_low": low, "ci_high": high}


def source_lesion(pixels: NDArray[np.uint8]) -> Mask:
    """Return the estimated lesion of a source, RGB ``(height, width, 3)``, to compare structures in."""
    return segment(pixels, largest_side=_SEGMENTATION_SIDE).lesion


def lesion_preservation(
    sources: Sequence[NDArray[np.uint8]],
    synthetic: Sequence[NDArray[np.uint8]],
    groups: Sequence[str],
    *,
    labels: Sequence[int] | None = None,
    lesion_masks: Sequence[Mask | None] | None = None,
    rivals: int = 10,
    replicates: int = 2000,
    seed: int = 0,
) -> LesionPreservation | None:
    """Compare synthetic images with their own sources and with others.

    Args:
        sources: RGB of each synthetic image's source, ``(height, width, 3)`` uint8, all of one size.
        synthetic: RGB of the synthetic images, same order and size.
        groups: the sources' ``group_id``; other sources are of other groups, and groups are resampled.
        labels: class codes; where given, other sources are of the same class, which is the harder test.
        lesion_masks: true lesions of the sources where they are known; None, or None in its place, has
            :func:`~skindiff.measures.skin.segmentation.segment` find them.
        rivals: other sources per synthetic image.
        replicates: bootstrap replicates over groups for the 95% percentile intervals.
        seed: names the random streams.

    Returns:
        The scores, or None where no image has a source of another group to compare with.
    """
    known = lesion_masks or [None] * len(sources)
    structures = [
        Structure(image, source_lesion(image) if mask is None else mask)
        for image, mask in zip(sources, known, strict=True)
    ]
    codes = list(labels) if labels is not None else [0] * len(sources)
    rows: list[tuple[float, float, float]] = []
    names: list[str] = []
    for row, image in enumerate(synthetic):
        others = [
            other for other, group in enumerate(groups) if group != groups[row] and codes[other] == codes[row]
        ]
        if not others:
            continue
        chosen = numpy_generator("lesion rivals", seed, row).permutation(others)[:rivals]
        band = band_pass(image)
        own = structures[row].similarity(band)
        rival = np.array([structures[other].similarity(band) for other in chosen])
        rows.append((own, float(rival.mean()), float((rival < own).mean())))
        names.append(groups[row])
    if not rows:
        return None
    means = group_means(np.array(rows).T, names, replicates, "lesion", seed)
    own_means, other_means, rank_means = means.T
    return LesionPreservation(
        own=percentile_interval(own_means),
        other=float(other_means[0]),
        kept=percentile_interval((own_means - other_means) / (1 - other_means)),
        rank=percentile_interval(rank_means),
        pairs=len(rows),
    )
