"""The known image that a picture is most like: by structure, without weights, or in a network's features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from skindiff.measures.copying.alignment import agreement, refine
from skindiff.measures.copying.structure import Structures, greys, turned
from skindiff.measures.features import FeatureNetwork
from skindiff.progress import progress

MEASURE = "agreement of aligned structures (16 x 16 neighbourhoods at 64 px, any orientation, crops)"
"""Name of the measure that needs no weights."""
CANDIDATES = 3
"""Known images that are compared closely with each picture."""
_CHUNK = 256

Pixels = NDArray[np.uint8]
NONE = -1
"""Row of no known image."""


@dataclass(frozen=True)
class Found:
    """For each of q pictures the nearest known image of its own group and of any other.

    Attributes:
        other: ``(q,)`` rows of known images; :data:`NONE` where there is no image of another group.
        similarity: ``(q,)`` that with ``other``, -1 to 1 with four decimals; -1 where there is none.
        own: ``(q,)`` rows; :data:`NONE` where the picture has no group, or no image of it is known.
        own_similarity: ``(q,)``.
    """

    other: NDArray[np.int64]
    similarity: NDArray[np.float64]
    own: NDArray[np.int64]
    own_similarity: NDArray[np.float64]


class Known(Protocol):
    """Known images that pictures are compared with."""

    name: str
    """Of the measure, for reports."""
    groups: list[str]
    """Of the known images."""

    def nearest(
        self,
        pictures: Pixels,
        own_groups: Sequence[str | None] | None = None,
        among: Sequence[NDArray[np.bool_]] | None = None,
    ) -> list[Found]:
        """Find the nearest known image of every picture, one result for each mask.

        Args:
            pictures: ``(q, SIDE, SIDE, 3)``, from :func:`~.structure.comparable`.
            own_groups: groups of the pictures' sources; without them all known images are others.
            among: masks ``(n,)`` of the known images to look among; all of them, if left out.
        """


class KnownStructures:
    """Known images by structure: candidates by :mod:`.structure`, the last word by :mod:`.alignment`.

    On one core two thousand pictures take about half a minute among five thousand known images.

    Args:
        pixels: ``(n, SIDE, SIDE, 3)``, from :func:`~.structure.comparable`.
        groups: of the known images.
        device: that computes; None is the CPU.
    """

    name = MEASURE

    def __init__(self, pixels: Pixels, groups: Sequence[str], device: torch.device | None = None) -> None:
        self.rgb = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device)
        self.luminance = torch.cat([_luminance(part) for part in self.rgb.split(_CHUNK)])
        self.structures = Structures(self.luminance)
        self.groups = list(groups)

    def nearest(
        self,
        pictures: Pixels,
        own_groups: Sequence[str | None] | None = None,
        among: Sequence[NDArray[np.bool_]] | None = None,
    ) -> list[Found]:
        """Find the nearest known image of every picture; see :class:`Known`."""
        found = []
        chunks = _chunks(self.groups, own_groups, among, len(pictures))
        with progress(desc="near copies", unit="image", total=len(pictures)) as bar:
            for rows, hidden in chunks:
                rgb = torch.from_numpy(pictures[rows]).permute(0, 3, 1, 2).to(self.rgb.device)
                luminance = _luminance(rgb)
                likeness = self.structures.similarities(luminance).cpu()
                hiding = [likeness.masked_fill(mask, -torch.inf) for mask in hidden]
                found.append([self._closest(rgb, luminance, left) for left in hiding])
                bar.update(len(rgb))
        return _joined(found)

    def _closest(self, rgb: Tensor, luminance: Tensor, likeness: Tensor) -> tuple[Tensor, Tensor]:
        """Return row and similarity of the best of the likeliest known images, ``(q,)`` each."""
        likely, known = likeness.topk(min(CANDIDATES, likeness.shape[1]), dim=1)
        picture, rank = torch.nonzero(likely > -torch.inf, as_tuple=True)
        agreed = torch.full(known.shape, -1.0)
        for part in torch.arange(len(picture)).split(2 * _CHUNK):
            agreed[picture[part], rank[part]] = self._agreement(
                rgb, luminance, picture[part], known[picture[part], rank[part]]
            ).cpu()
        best, place = agreed.max(1)
        rows = known.gather(1, place[:, None])[:, 0]
        return torch.where(likely[:, 0] > -torch.inf, rows, NONE), best

    def _agreement(self, rgb: Tensor, luminance: Tensor, picture: Tensor, known: Tensor) -> Tensor:
        turns, windows = self.structures.places(luminance[picture], known)
        shown = turned(rgb[picture].float(), turns)
        grey = turned(luminance[picture][:, None], turns)[:, 0]
        windows = refine(grey, self.luminance[known], windows)
        return agreement(shown, self.rgb[known].float(), windows)


class KnownFeatures:
    """Known images in the features of a network: cosines, the known images' mean taken off.

    Args:
        pixels: ``(n, SIDE, SIDE, 3)``.
        groups: of the known images.
        network: from :func:`~skindiff.measures.features.load_feature_network`.
    """

    def __init__(self, pixels: Pixels, groups: Sequence[str], network: FeatureNetwork) -> None:
        self.name = f"cosine of features of {network.name}"
        self.network, self.groups = network, list(groups)
        features = network(pixels)
        self.mean = features.mean(0, keepdim=True)
        self.features = functional.normalize(features - self.mean, dim=1)

    def nearest(
        self,
        pictures: Pixels,
        own_groups: Sequence[str | None] | None = None,
        among: Sequence[NDArray[np.bool_]] | None = None,
    ) -> list[Found]:
        """Find the nearest known image of every picture; see :class:`Known`."""
        features = functional.normalize(self.network(pictures) - self.mean, dim=1)
        found = []
        for rows, hidden in _chunks(self.groups, own_groups, among, len(pictures)):
            cosines = features[rows] @ self.features.T
            found.append([_largest(cosines.masked_fill(mask, -torch.inf)) for mask in hidden])
        return _joined(found)


def _luminance(rgb: Tensor) -> Tensor:
    return greys(rgb.float())[:, 0]


def _chunks(
    known: Sequence[str],
    pictures: Sequence[str | None] | None,
    among: Sequence[NDArray[np.bool_]] | None,
    count: int,
) -> Iterator[tuple[slice, list[Tensor]]]:
    """Yield rows of pictures, a batch at a time, and what to hide of the known images, ``(q, n)``.

    Two masks for each of ``among``: for a search among others, and among images of the own group.
    """
    codes = {group: code for code, group in enumerate(dict.fromkeys(known))}
    of_known = torch.tensor([codes[group] for group in known])
    of_pictures = torch.full((count,), NONE)
    if pictures is not None:
        of_pictures = torch.tensor([codes.get(group, NONE) if group else NONE for group in pictures])
    shown = [torch.from_numpy(mask) for mask in among or [np.ones(len(known), np.bool_)]]
    for start in range(0, max(count, 1), _CHUNK):
        rows = slice(start, start + _CHUNK)
        own = of_pictures[rows, None] == of_known[None]
        yield rows, [hidden | ~mask for mask in shown for hidden in (own, ~own)]


def _largest(similarities: Tensor) -> tuple[Tensor, Tensor]:
    best, rows = similarities.max(1)
    nothing = best == -torch.inf
    return rows.masked_fill(nothing, NONE), best.masked_fill(nothing, -1.0)


def _joined(found: list[list[tuple[Tensor, Tensor]]]) -> list[Found]:
    parts = [
        [torch.cat([chunk[view][part] for chunk in found]).numpy() for part in (0, 1)]
        for view in range(len(found[0]))
    ]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [Found(other, _rounded(near), own, _rounded(own_near)) for (other, near), (own, own_near) in pairs]


def _rounded(values: NDArray[Any]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.asarray(values, np.float64).round(4)
    return found
