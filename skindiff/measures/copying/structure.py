"""Which known images could a picture show? Structures of luminance, of whole images and of windows in them.

A picture is reduced to its band-passed luminance on a grid of 12 x 12 whose contrast is made one, so that
neither tone, exposure nor a change of skin colour counts. It is compared with the structure of every known
image and of 29 windows in it (72% of its area or more), upright, turned by quarters and mirrored, since
dermatoscopy knows no up. What it is most like are candidates, no more: pictures that centre on something dark
are all alike at this size, and :mod:`.alignment` looks closer.

Measured on copies of 250 images among 2,800 of HAM10000 and 974 of Fitzpatrick17k at 64 px that were cropped
to 70-95% of the area, turned, recoloured and recompressed all at once: the copied image is among the first
three for 99.6% and 100%.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PILImage
from torch import Tensor

SIDE = 64
"""Height and width in pixels at which images are compared; others are resampled to it."""
GRID = 12
SCALES, STEP = (1.0, 0.95, 0.9, 0.85), 0.05
"""Sides of the windows and at most how far apart they lie, as shares of the image's side: a crop is at most
2.5% away from one, a third of a cell of the grid."""
_COARSE = 1 / 8
"""Standard deviation, as a share of the side, of the Gaussian that is taken off: slow shading goes."""
_FLAT = 1.0
"""Structures of less contrast (a length in grey levels over the grid) are none."""
_LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of R, G, B (ITU-R BT.601, as of Pillow's mode L)."""
_ORIENTATIONS = 8


def comparable(images: Iterable[PILImage.Image]) -> NDArray[np.uint8]:
    """Return images as they are compared: RGB, uint8, ``(n, SIDE, SIDE, 3)``."""
    pixels = [
        np.asarray(image.convert("RGB").resize((SIDE, SIDE), PILImage.Resampling.BICUBIC)) for image in images
    ]
    return np.stack(pixels) if pixels else np.zeros((0, SIDE, SIDE, 3), np.uint8)


def greys(rgb: Tensor) -> Tensor:
    """Return luminance, the largest and the smallest channel of ``(n, 3, h, w)``, as ``(n, 3, h, w)``.

    A change of hue in HSV moves the first and leaves the others, one in YIQ does the contrary.
    """
    weights = torch.tensor(_LUMINANCE, device=rgb.device).view(1, 3, 1, 1)
    return torch.cat([(rgb * weights).sum(1, keepdim=True), rgb.amax(1, True), rgb.amin(1, True)], dim=1)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Return square images ``(..., side, side)`` after a Gaussian of ``sigma`` pixels, weighed at the rim."""
    kernel = _gaussian(images.shape[-1], sigma).to(images.device)
    return kernel @ images @ kernel.T


def orientations(images: Tensor) -> Tensor:
    """Return ``(8, n, c, side, side)``: images ``(n, c, side, side)`` turned by quarters, then mirrored."""
    upright = [torch.rot90(images, quarter, dims=(-2, -1)) for quarter in range(4)]
    return torch.stack([*upright, *(one.flip(-1) for one in upright)])


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Return each of images ``(n, c, side, side)`` in one orientation, a place in :func:`orientations`."""
    found = torch.empty_like(images)
    for turn in range(_ORIENTATIONS):
        rows = turns == turn
        one = torch.rot90(images[rows], turn % 4, dims=(-2, -1))
        found[rows] = one if turn < 4 else one.flip(-1)
    return found


class Structures:
    """The structures of known images and of windows in them.

    Args:
        luminance: ``(n, SIDE, SIDE)`` float32.
    """

    def __init__(self, luminance: Tensor) -> None:
        self.windows = _windows()
        self.parts = torch.stack([_structure(luminance, window) for window in self.windows.tolist()])
        """``(windows, n, GRID * GRID)``, rows of length one (of zeros, where nothing is shown)."""

    def similarities(self, luminance: Tensor) -> Tensor:
        """Return the best correlation of each picture with each known image, ``(q, n)``, -1 to 1.

        Args:
            luminance: ``(q, SIDE, SIDE)`` float32.
        """
        grids = self._turned(luminance).flatten(0, 1)
        best = torch.full((len(grids), self.parts.shape[1]), -1.0, device=grids.device)
        for part in self.parts:
            torch.maximum(best, grids @ part.T, out=best)
        return best.view(_ORIENTATIONS, *luminance.shape[:1], *best.shape[1:]).amax(0)

    def places(self, luminance: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Say how each picture lies in a known image at best.

        Args:
            luminance: ``(q, SIDE, SIDE)`` float32.
            known: ``(q,)`` rows of known images, one for each picture.

        Returns:
            ``(q,)`` places in :func:`orientations`, and ``(q, 4)`` windows as :func:`~.alignment.refine`
            takes them: width, height and centre (x, y), where the known image reaches from -1 to 1.
        """
        likeness = torch.einsum("oqd,wqd->qow", self._turned(luminance), self.parts[:, known])
        best = likeness.flatten(1).argmax(1)
        windows = self.windows.to(luminance.device)[best % len(self.windows)]
        left, top, scale = windows.unbind(1)
        centre_x, centre_y = (2 * corner + scale - 1 for corner in (left, top))
        return best // len(self.windows), torch.stack([scale, scale, centre_x, centre_y], dim=1)

    def _turned(self, luminance: Tensor) -> Tensor:
        whole = _structure(luminance, (0.0, 0.0, 1.0))
        grids = whole.view(len(luminance), 1, GRID, GRID)
        return orientations(grids).flatten(2)


def _structure(luminance: Tensor, window: Iterable[float]) -> Tensor:
    """Return the structure of a window (left, top, side as shares) of images, ``(n, GRID * GRID)``."""
    left, top, scale = window
    across, down = (_resampling(start, scale).to(luminance.device) for start in (left, top))
    small = down @ luminance @ across.T
    small = (small - blurred(small, _COARSE * GRID)).flatten(1)
    small = small - small.mean(1, keepdim=True)
    length = small.norm(dim=1, keepdim=True)
    return torch.where(length < _FLAT, 0.0, small / length.clamp_min(_FLAT))


def _windows() -> Tensor:
    """Return left, top and side of all windows as shares of the image's side, ``(windows, 3)``."""
    found = []
    for scale in SCALES:
        corners = np.linspace(0, 1 - scale, 1 + int(np.ceil((1 - scale) / STEP - 1e-6)))
        found += [(left, top, scale) for top in corners for left in corners]
    return torch.tensor(found, dtype=torch.float32)


@lru_cache(maxsize=64)
def _resampling(start: float, length: float) -> Tensor:
    """Return the triangle filter that takes a part of a side to the grid, ``(GRID, SIDE)``."""
    step = length * SIDE / GRID
    centres = start * SIDE + (torch.arange(GRID) + 0.5) * step
    weights = (1 - (torch.arange(SIDE) + 0.5 - centres[:, None]).abs() / max(step, 1.0)).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)


@lru_cache(maxsize=16)
def _gaussian(side: int, sigma: float) -> Tensor:
    distance = torch.arange(side)[None] - torch.arange(side)[:, None]
    weights = torch.exp(-(distance.float() ** 2) / (2 * sigma**2))
    return weights / weights.sum(1, keepdim=True)
