"""Moments of encoded images: what the autoencoder's posterior says of each, read by the batch.

The posterior's mean and standard deviation are kept, not one sample of it, so that training still takes a
new latent each time an image comes up. Where a corpus has buckets of aspect ratio, each shape has its own.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch


class MappedRows:
    """Rows of a tensor that lies in several files: ``rows[numbers, views]`` reads a batch, in float32.

    The files are mapped into memory, so that what has been read is there once for all processes of a machine.

    Args:
        parts: for each view, the tensors of its files in their order, each (rows, ...).
        each: how many rows a file holds; the last one may have fewer.
    """

    def __init__(self, parts: Sequence[Sequence[torch.Tensor]], each: int) -> None:
        self._parts, self._each = parts, each

    @property
    def shape(self) -> torch.Size:
        """(rows, views, ...)."""
        first = self._parts[0]
        return torch.Size((sum(map(len, first)), len(self._parts), *first[0].shape[1:]))

    def __getitem__(self, at: tuple[torch.Tensor, torch.Tensor | int]) -> torch.Tensor:
        """Return (b, ...) of the rows (b,) in views (b,), or in one view."""
        rows, views = at[0], torch.as_tensor(at[1]).expand(len(at[0]))
        found = [
            self._parts[view][row // self._each][row % self._each]
            for row, view in zip(rows.tolist(), views.tolist(), strict=True)
        ]
        return torch.stack(found).float()


@dataclass(frozen=True)
class LatentMoments:
    """Posterior moments of a table's images, already scaled to what the U-Net sees.

    Attributes:
        mean: (rows, variants, channels, height, width) on the CPU, float32 in any batch of it; variant 0 is
            the image, variant 1 (where it is trained on) its mirror image.
        std: the same shape.
        key: fingerprint of the image bytes, the transform, the autoencoder and the precision.
    """

    mean: torch.Tensor | MappedRows
    std: torch.Tensor | MappedRows
    key: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of one latent."""
        return tuple(self.mean.shape[2:])

    @property
    def variants(self) -> int:
        """1, or 2 with mirror images."""
        return self.mean.shape[1]

    def of(self, rows: torch.Tensor) -> tuple["LatentMoments", torch.Tensor]:
        """Return the moments that hold ``rows`` (b,) of the table, and which of theirs these are."""
        return self, rows

    def split(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return which of ``rows`` (b,) are of one shape, for each shape."""
        return [torch.arange(len(rows))]

    def sample(self, rows: torch.Tensor, variants: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Sample latents of ``rows`` (b,) in ``variants`` (b,) by normal ``noise`` (b, c, h, w)."""
        return self.mean[rows, variants] + self.std[rows, variants] * noise


@dataclass(frozen=True)
class BucketedMoments:
    """Moments of a table whose images have several shapes.

    Attributes:
        parts: those of each shape.
        shapes: (rows,) which of the parts a row is in.
        places: (rows,) where in it.
    """

    parts: list[LatentMoments]
    shapes: torch.Tensor
    places: torch.Tensor

    @property
    def key(self) -> str:
        """Fingerprint of all that those of the parts are of, and of which row is where."""
        facts = [[part.key for part in self.parts], self.shapes.tolist(), self.places.tolist()]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def of(self, rows: torch.Tensor) -> tuple[LatentMoments, torch.Tensor]:
        """Return the moments that hold ``rows`` (b,) of one shape, and which of theirs these are."""
        (shape,) = self.shapes[rows].unique().tolist()
        return self.parts[shape], self.places[rows]

    def split(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return which of ``rows`` (b,) are of one shape, for each shape."""
        return [(self.shapes[rows] == shape).nonzero()[:, 0] for shape in self.shapes[rows].unique()]


Moments = LatentMoments | BucketedMoments
