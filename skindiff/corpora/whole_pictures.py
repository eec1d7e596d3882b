"""Pairs of images that are one picture: whole, in another size or compression, at any size.

Local features need some 100 pixels; the 28 of BreastMNIST are enough here. A picture is known by its grey
thumbnail: in BreastMNIST 77 pairs of a test and a training image correlate by 0.95 or more, 3 by 0.94 to
0.96, and hundreds by less than 0.90. Of 4,087 photographs of Fitzpatrick17k 54 pairs correlate by 0.95 or
more, have one shape, and agree in every textured part by 0.9 or more where one is laid over the other; 3 of
them local features missed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

SIDE = 32
"""Height and width of a thumbnail in pixels."""
CORRELATION = 0.95
"""From which two thumbnails may be of one picture."""
AGREEMENT = 0.9
"""From which two photographs are one picture, where they agree part by part."""
SHAPE = 0.05
"""Largest difference of the logarithms of two pictures' width over height."""
_CHUNK = 2048
_DIMENSIONS, _SAMPLE = 32, 2000
"""Directions in which thumbnails differ most, and how many thumbnails these are taken from."""

FloatArray = NDArray[np.float32]


class Alike(NamedTuple):
    """Places of two pictures and the correlation of their thumbnails."""

    first: int
    second: int
    correlation: float


def thumbnail(grey: NDArray[np.uint8]) -> FloatArray:
    """Return a grey image (height, width) as (SIDE * SIDE,) of mean 0 and length 1; zeros if it is flat."""
    small = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32).ravel()
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length > 1e-3 else np.zeros_like(values)


def alike(first: FloatArray, second: FloatArray, least: float = CORRELATION) -> list[Alike]:
    """Return the pairs of thumbnails, one of each table (n, SIDE * SIDE), that correlate by so much.

    None is missed: thumbnails that correlate lie near one another, and in fewer dimensions no farther apart.
    """
    kept = [np.flatnonzero(table.any(axis=1)) for table in (first, second)]
    if not all(map(len, kept)):
        return []
    sample = second[kept[1][:: max(1, len(kept[1]) // _SAMPLE)]]
    axes = np.linalg.svd(sample, full_matrices=False)[2][:_DIMENSIONS]
    trees = [cKDTree(table[rows] @ axes.T) for table, rows in zip((first, second), kept, strict=True)]
    near = trees[0].sparse_distance_matrix(
        trees[1], np.sqrt(2 * (1 - least)) + 1e-4, output_type="coo_matrix"
    )
    here, there = kept[0][near.row], kept[1][near.col]
    found = []
    for start in range(0, len(here), _CHUNK):
        part = slice(start, start + _CHUNK)
        correlation = np.einsum("ij,ij->i", first[here[part]], second[there[part]])
        found += [
            Alike(int(here[part][place]), int(there[part][place]), float(correlation[place]))
            for place in np.flatnonzero(correlation >= least)
        ]
    return sorted(found)


def twins(images: Sequence[Image.Image], others: Sequence[Image.Image]) -> list[int]:
    """Return the places of those images of which another one is the same picture, by its thumbnail."""
    known = [np.stack([thumbnail(np.asarray(one.convert("L"))) for one in part]) for part in (images, others)]
    return sorted({pair.first for pair in alike(known[0], known[1])})
