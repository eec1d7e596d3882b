"""Skin tone of photographs as the individual typology angle, and how far a transfer moved it.

ITA = arctan((L* - 50) / b*) in degrees, in CIE L*a*b* under D65 (Chardon, Cretois & Hourseau 1991, "Skin
colour typology and suntanning pathways"; Del Bino & Bernerd 2013, "Variations in skin colour and the
biological consequences of ultraviolet radiation exposure", for the usual classes: very light above 55, light
above 41, intermediate above 28, tan above 10, brown above -30, dark below). It grows with lightness. It is
kept as a continuous number: an angle from an uncalibrated photograph depends on lamp and camera and is no
Fitzpatrick type.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance
from skimage.color import rgb2lab

from skindiff.measures.group_bootstrap import (
    group_weights,
    percentile_interval,
    weighted_medians,
)
from skindiff.measures.skin.rows import Angles, MedianInterval, ToneRow
from skindiff.measures.skin.segmentation import segment
from skindiff.measures.skin.skin_distance import FloatArray, Mask

MINIMUM_SKIN_SHARE = 0.1
"""An image with a smaller share of measurable skin has no estimate."""

_FRAME = 0.2
"""Width of the frame, as a share of the side, in which bare skin is searched for first."""
_SPREAD_LIMIT = 1.7
"""A pixel this many robust standard deviations (root mean square over channels) off is not bare skin."""
_SPREAD_FLOOR = np.array([3.0, 2.0, 2.0])
"""Least standard deviation of L*, a*, b* allowed for, so that even skin keeps its own texture."""
_LARGEST_SIDE = 128
"""Larger images are thinned to about this many pixels a side; medians over more say nothing else."""
_SEGMENTATION_SIDE = 64
"""Side in pixels at which the lesion is searched for: its outline to a pixel does not move a median."""
_TRUSTED_OVERLAP = 0.5
"""A lesion mask with a larger share of bare-skin colour follows a shadow or a fold and is left aside."""


def ita_degrees(lightness: FloatArray | float, yellow: FloatArray | float) -> FloatArray:
    """Return the individual typology angle in degrees.

    Args:
        lightness: L*, 0 to 100.
        yellow: b*. Below zero (a blue cast, or noise on very dark skin) it is taken as zero, which gives 90
            or -90, where the quotient would jump to the other end of the scale.

    Returns:
        Angles in [-90, 90].
    """
    return np.degrees(np.arctan2(np.asarray(lightness) - 50.0, np.maximum(yellow, 0.0)))


def plausible_skin(lab: FloatArray) -> Mask:
    """Return which pixels could be skin of some tone: no black, white, glare, or green to violet.

    Args:
        lab: L*a*b* under D65, shape ``(height, width, 3)``.
    """
    lightness, red, yellow = lab[..., 0], lab[..., 1], lab[..., 2]
    chroma = np.hypot(red, yellow)
    hue = np.degrees(np.arctan2(yellow, red))
    black = (lightness < 6) | ((lightness < 14) & (chroma < 6))
    white = (lightness > 97) | ((lightness > 88) & (chroma < 6))
    foreign = (chroma > 8) & ((hue < -25) | (hue > 105))
    return ~(black | white | foreign)


def bare_skin(lab: FloatArray) -> Mask:
    """Return which pixels look like skin without a lesion, by a robust classical rule.

    Photographs of lesions centre on them, so the frame of the image mostly shows bare skin. Its median
    colour and median absolute deviation (per channel, over plausible skin) say what bare skin looks like in
    this image; every plausible pixel near that colour counts, wherever it lies. Where a lesion fills the
    image there is no bare skin to find, and the lesion's surroundings are all that can be measured.

    Args:
        lab: L*a*b* under D65, shape ``(height, width, 3)``.
    """
    plausible = plausible_skin(lab)
    height, width = plausible.shape
    top, left = round(_FRAME * height), round(_FRAME * width)
    frame = np.ones((height, width), dtype=bool)
    frame[top : height - top, left : width - left] = False
    usable = plausible & frame
    reference = lab[usable] if usable.sum() >= 0.25 * frame.sum() else lab[plausible]
    if not len(reference):
        return plausible
    centre = np.median(reference, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(reference - centre), axis=0), _SPREAD_FLOOR)
    distance = np.sqrt((((lab - centre) / spread) ** 2).mean(-1))
    return plausible & (distance < _SPREAD_LIMIT)


def measurable_skin(pixels: NDArray[np.uint8]) -> Mask:
    """Return the pixels that a tone is measured on: bare skin outside the estimated lesion and background.

    On 883 Fitzpatrick17k photographs leaving every estimated lesion out lowered the rank correlation of the
    angle with the skin type (-0.50 against -0.52): on limbs and faces the mask takes shadows for lesions. A
    mask that mostly has the colour of bare skin is therefore left aside (-0.53).

    Args:
        pixels: sRGB, shape ``(height, width, 3)``, uint8.
    """
    skin = bare_skin(rgb2lab(pixels))
    found = segment(pixels, largest_side=_SEGMENTATION_SIDE)
    trusted = found.lesion.any() and skin[found.lesion].mean() < _TRUSTED_OVERLAP
    left_out = found.background | found.lesion if trusted else found.background
    return np.asarray(skin & ~left_out)


def image_ita(pixels: NDArray[np.uint8], lesion_mask: Mask | None = None) -> float | None:
    """Return the ITA of an image's bare skin in degrees, or None where too little skin can be measured.

    The angle is that of the median L* and the median b* over the bare skin *as photographed*. On phantom
    images the estimated mask moves it by less than a degree; the lamp, which no mask can take out, moves it
    by 3 (type I) to 7 degrees (type IV) from the tone under white light.

    Args:
        pixels: sRGB, shape ``(height, width, 3)``, uint8.
        lesion_mask: the true lesion where it is known, shape ``(height, width)``; else it is estimated.
    """
    step = max(1, min(pixels.shape[:2]) // _LARGEST_SIDE)
    thinned = pixels[::step, ::step]
    lab = rgb2lab(thinned)
    if lesion_mask is None:
        skin = measurable_skin(thinned)
    else:
        skin = plausible_skin(lab) & ~lesion_mask[::step, ::step]
    if skin.mean() < MINIMUM_SKIN_SHARE:
        return None
    return float(ita_degrees(np.median(lab[..., 0][skin]), np.median(lab[..., 2][skin])))


@dataclass(frozen=True)
class ToneShift:
    """How far images moved in tone, in degrees of ITA; made by :func:`tone_shift`.

    ``source`` and ``synthetic`` are the pairs' angles, in one order, ``target`` the target group's.
    ``shift`` is the median of synthetic - source, ``gap`` the median of target - the median of source,
    ``share`` = shift / gap (1: the typical image went all the way; above 1: it overshot), each with the ends
    of its interval. Medians, because a few miscoloured photographs have angles near 90 or -90.
    ``distance_before`` and ``distance_after`` are Wasserstein distances in degrees of sources and synthetic
    images from the target group. ``unmeasured`` counts images without an estimate.
    """

    source: tuple[float, ...]
    synthetic: tuple[float, ...]
    target: tuple[float, ...]
    shift: tuple[float, float, float]
    gap: tuple[float, float, float]
    share: tuple[float, float, float]
    distance_before: float
    distance_after: float
    unmeasured: dict[str, int] = field(default_factory=dict)

    def summary(self) -> ToneRow:
        """Return the report's form: plain numbers, degrees but for ``share_of_gap``."""
        return {
            "unit": "degrees of ITA",
            "source": _distribution(self.source),
            "synthetic": _distribution(self.synthetic),
            "target": _distribution(self.target),
            "paired_shift": _with_interval(self.shift),
            "gap": _with_interval(self.gap),
            "share_of_gap": _with_interval(self.share),
            "wasserstein_source_to_target": self.distance_before,
            "wasserstein_synthetic_to_target": self.distance_after,
            "pairs": len(self.source),
            "unmeasured": dict(self.unmeasured),
        }


def _distribution(angles: Sequence[float]) -> Angles:
    low, middle, high = np.percentile(angles, [10, 50, 90])
    return {
        "n": len(angles),
        "mean": float(np.mean(angles)),
        "sd": float(np.std(angles)),
        "p10": float(low),
        "median": float(middle),
        "p90": float(high),
    }


def _with_interval(values: tuple[float, float, float]) -> MedianInterval:
    median, low, high = values
    return {"median": median, "ci_low": low, "ci_high": high}


def tone_shift(
    source: Sequence[float | None],
    synthetic: Sequence[float | None],
    groups: Sequence[str],
    target: Sequence[float | None],
    target_groups: Sequence[str],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> ToneShift | None:
    """Compare tones before and after a transfer, and with the group it aims at.

    Args:
        source: ITA of each synthetic image's source in degrees, ``None`` where there is no estimate.
        synthetic: ITA of the synthetic image, in the order of ``source`` (a source may occur several times).
        groups: the source's ``group_id``; what is resampled, so that copies of one patient count once.
        target: ITA of real images of the target group.
        target_groups: their ``group_id``.
        replicates: bootstrap replicates for the 95% percentile intervals.
        seed: names the bootstrap's random stream.

    Returns:
        The shift, or None where no pair or no target image could be measured.
    """
    kept = [
        (before, after, group)
        for before, after, group in zip(source, synthetic, groups, strict=True)
        if before is not None and after is not None
    ]
    aims = [(angle, group) for angle, group in zip(target, target_groups, strict=True) if angle is not None]
    if not kept or not aims:
        return None
    pairs = np.array([(before, after) for before, after, _ in kept]).T
    aim = np.array([angle for angle, _ in aims])
    weights = group_weights([group for *_, group in kept], replicates, "tone pairs", seed)
    aim_weights = group_weights([group for _, group in aims], replicates, "tone target", seed)
    shift = weighted_medians(pairs[1] - pairs[0], weights)
    gap = weighted_medians(aim, aim_weights) - weighted_medians(pairs[0], weights)

    with np.errstate(divide="ignore", invalid="ignore"):
        share = shift / gap
    return ToneShift(
        source=tuple(pairs[0].tolist()),
        synthetic=tuple(pairs[1].tolist()),
        target=tuple(aim.tolist()),
        shift=percentile_interval(shift),
        gap=percentile_interval(gap),
        share=percentile_interval(share),
        distance_before=float(wasserstein_distance(pairs[0], aim)),
        distance_after=float(wasserstein_distance(pairs[1], aim)),
        unmeasured={
            "source": sum(angle is None for angle in source),
            "synthetic": sum(angle is None for angle in synthetic),
            "target": sum(angle is None for angle in target),
        },
    )
