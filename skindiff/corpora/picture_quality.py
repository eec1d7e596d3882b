"""What may be wrong with a photograph that can be used all the same: blur, darkness, a border, a ruler.

Each is a number that is measured on grey levels (0 to 255) of an image whose shorter side has at most 256
pixels, and a flag from a stated number on. A flag takes no image out.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Grey = NDArray[np.uint8]

MOST_BLUR = 0.47
"""From which an image is blurred. Of 400 photographs each of Fitzpatrick17k and HAM10000 at most two exceed
it, and nine in ten do after a Gaussian blur of 2 pixels, half of them after 1.5."""

LEAST_LIGHT = 90.0
"""Below which the brightest twentieth of a dark image lies: dark skin is not dark in this sense. Of 300
photographs of Fitzpatrick17k the darkest has 97, and one in a hundred less than 115."""

MOST_BORDER = 0.05
"""From which a border is one: 7% of Fitzpatrick17k's photographs, and none of 400 of HAM10000."""

LEAST_TICKS = 6
"""From which marks are a ruler's. Of 400 photographs each of Fitzpatrick17k and HAM10000 one has as many, and
it shows a ruler; of rulers that were drawn on them (10 to 24 marks, 4 to 14 pixels apart) 75% and 88% do."""


class Quality(NamedTuple):
    """What was measured of an image."""

    blur: float
    """From 0 (sharp) to 1: how little a further blur changes it (Crete et al. 2007)."""
    brightest: float
    """Grey level that the brightest twentieth of the image exceeds."""
    border: float
    """Share of the image that is a black or white border."""
    ticks: int
    """Marks in the longest row of equal, parallel, equally spaced ones: those of a ruler."""


def flags(quality: Quality) -> dict[str, str]:
    """Return the flags of an image, each with the reason in words."""
    found = {}
    if quality.blur > MOST_BLUR:
        found["blurred"] = f"blur {quality.blur:.2f}, more than {MOST_BLUR:g}"
    if quality.brightest < LEAST_LIGHT:
        found["dark"] = f"the brightest parts have grey level {quality.brightest:.0f}, below {LEAST_LIGHT:g}"
    if quality.border > MOST_BORDER:
        found["border"] = f"{quality.border:.0%} is a black or white border"
    if quality.ticks >= LEAST_TICKS:
        found["ruler"] = f"{quality.ticks} marks in a row, as a ruler has"
    return found


def blur(grey: Grey) -> float:
    """Return how little a further blur changes an image, from 0 (sharp) to 1, in its worse direction."""
    values = grey.astype(np.int16)
    found = []
    for along in (values, values.T):
        edges = np.abs(np.diff(along, axis=0))
        padded = np.pad(along, ((5, 5), (0, 0)), mode="edge")
        # What a mean over 11 pixels differs by from one place to the next.
        blurred = np.abs(padded[11:] - padded[:-11]) / np.float32(11)
        found.append(1 - float(np.maximum(edges - blurred, 0).sum()) / max(float(edges.sum()), 1e-6))
    return max(found)


def _brightest(grey: Grey) -> float:
    return float(np.searchsorted(np.bincount(grey.ravel(), minlength=256).cumsum(), 0.95 * grey.size))


def border(grey: Grey) -> float:
    """Return the share of an image that is a black (24 or less) or white (250 or more) frame or surround.

    A frame is made of whole rows and columns from the edge on; a surround, as a dermatoscope has it, of all
    that is connected with the edge where all four corners are part of it.
    """
    share = 0.0
    for mask in (grey <= 24, grey >= 250):
        inside = [np.flatnonzero(mask.mean(axis=axis) < 0.97) for axis in (0, 1)]
        left = [np.ptp(one) + 1 if len(one) else 0 for one in inside]
        share = max(share, 1 - left[0] * left[1] / mask.size)
        if all(mask[y, x] for y in (2, -3) for x in (2, -3)):
            areas, _ = ndimage.label(mask)
            rim = np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]))
            share = max(share, float(np.isin(areas, rim[rim > 0]).mean()))
    return share


def ticks(grey: Grey) -> int:
    """Return how many marks the longest row has that looks like a ruler's; 0 where there are few."""
    dark = _widest(_widest(grey, np.maximum), np.minimum) - grey
    light = grey - _widest(_widest(grey, np.minimum), np.maximum)
    return max(_longest_row(dark), _longest_row(light))


def _widest(grey: Grey, choose: np.ufunc) -> Grey:
    """Return the largest or smallest of the 7 x 7 pixels around each."""
    padded = np.pad(grey, 3, mode="edge")
    for reach in (1, 2, 3):  # 2, 4 and then 7 pixels
        padded = choose(padded[:-reach], padded[reach:])
    for reach in (1, 2, 3):
        padded = choose(padded[:, :-reach], padded[:, reach:])
    return padded


def _longest_row(strokes: Grey) -> int:
    """Return the most strokes in a row of equal ones, at right angles to it and at equal distances."""
    mask = strokes > max(12, 2.5 * float(strokes.std()) + float(strokes.mean()))
    areas, count = ndimage.label(mask, np.ones((3, 3)))
    y, x = np.nonzero(areas)
    name = areas[y, x] - 1
    size = np.maximum(np.bincount(name, minlength=count), 1).astype(float)
    mx, my = (np.bincount(name, one, count) / size for one in (x, y))
    xx = np.bincount(name, x * x, count) / size - mx**2 + 1 / 12
    yy = np.bincount(name, y * y, count) / size - my**2 + 1 / 12
    xy = np.bincount(name, x * y, count) / size - mx * my
    root = np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    long, thin = np.sqrt(12 * ((xx + yy) / 2 + root)), np.sqrt(12 * np.maximum((xx + yy) / 2 - root, 1 / 12))
    good = (long >= 4) & (long <= 60) & (long >= 2 * thin) & (size >= 0.5 * long * thin)
    angle = (np.arctan2(2 * xy, xx - yy) / 2)[good]
    mx, my, long = mx[good, None], my[good, None], long[good, None]
    # How every stroke stands to every other: how parallel, how far along it and across.
    parallel = np.abs((angle[:, None] - angle + np.pi / 2) % np.pi - np.pi / 2) < 0.15
    dx, dy, ux, uy = mx.T - mx, my.T - my, np.cos(angle)[:, None], np.sin(angle)[:, None]
    along, across = np.abs(dx * ux + dy * uy), dy * ux - dx * uy
    # The long marks of a ruler stand on one line with the short ones, by their middle or by an end.
    level = np.minimum(along, np.abs(along - np.abs(long.T - long) / 2)) < 2.5
    alike = np.abs(np.log(long.T / long)) < np.log(3)
    rows = parallel & level & alike & (across >= 0)
    return max(
        (_regular(np.sort(across[one][rows[one]])) for one in np.flatnonzero(rows.sum(1) >= 5)), default=0
    )


def _regular(places: NDArray[np.float64]) -> int:
    """Return how many of sorted places, from the first on, follow one another at equal distances."""
    best = 0
    for gap in places[1:4] - places[:1]:
        if gap < 3:
            continue
        count, at = 1, places[0]
        for _ in range(len(places)):
            near = int(np.argmin(np.abs(places - (at + gap))))
            if abs(places[near] - at - gap) > max(1.0, 0.12 * gap):
                break
            count, at = count + 1, places[near]
        best = max(best, count)
    return best


def measure(grey: Grey) -> Quality:
    """Measure an image (uint8, (height, width))."""
    return Quality(round(blur(grey), 3), _brightest(grey), round(border(grey), 3), ticks(grey))
