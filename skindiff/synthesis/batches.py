"""What every drawer does alike: rows laid out in full batches, images judged, threads held.

Each row is generated at the place in the batch that its plan gives it, in a batch that is always full (with
copies where rows are missing). The other rows of the batch then do not change it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PILImage

from skindiff.corpora.crops import laid
from skindiff.synthesis.rows import PlannedRow, RowT

DrawBatch = Callable[[list[RowT]], torch.Tensor]
"""Maps the rows of a full batch to (batch, 3, height, width) pixels in [0, 1] on the CPU."""

_CONSTANT_BELOW = 0.5
"""An image whose grey levels (0 to 255) have a smaller standard deviation shows nothing."""


@dataclass(frozen=True)
class Drawn:
    """What became of the rows of a plan.

    Attributes:
        images: (height, width, 3) uint8 RGB by row number; refused rows are absent.
        refused: why a row has no image (``"not finite"`` or ``"constant"``), by row number.
        denoising_steps: steps really run, by mode and settings.
    """

    images: dict[int, NDArray[np.uint8]]
    refused: dict[int, str]
    denoising_steps: dict[str, int]


def draw_in_batches(
    rows: Sequence[RowT],
    settings: Sequence[str],
    draw_batch: DrawBatch[RowT],
    on_images: Callable[[int], object],
    denoising_steps: dict[str, int],
) -> Drawn:
    """Generate rows batch by batch.

    Args:
        rows: of a plan, with ``batch_size``, ``batch_position`` and ``output_size``.
        settings: columns in which the rows of one batch must agree.
        draw_batch: generates one.
        on_images: called with the number of rows that each batch has finished.
        denoising_steps: for the record.
    """
    images: dict[int, NDArray[np.uint8]] = {}
    refused: dict[int, str] = {}
    for places in lay_out(rows, settings):
        first = rows[min(places.values())]
        batch = [rows[places[place]] if place in places else first for place in range(first["batch_size"])]
        pixels = draw_batch(batch)
        for place, number in places.items():
            row: PlannedRow = rows[number]
            image, reason = to_image(pixels[place], row["output_size"], row.get("bucket"))
            if image is not None:
                images[number] = image
            else:
                refused[number] = reason
        on_images(len(places))
    return Drawn(images, refused, denoising_steps)


def lay_out(rows: Sequence[Mapping[str, Any]], settings: Sequence[str]) -> list[dict[int, int]]:
    """Give each row its place in a batch of like settings; a batch maps places to row numbers."""
    turns: Counter[tuple[Any, ...]] = Counter()
    batches: dict[tuple[Any, ...], dict[int, int]] = defaultdict(dict)
    for number, row in enumerate(rows):
        own = tuple(row[name] for name in settings)
        place = row["batch_position"]
        batches[*own, turns[*own, place]][place] = number
        turns[*own, place] += 1
    return list(batches.values())


def to_image(
    pixels: torch.Tensor, output_size: int | None, bucket: str | None = None
) -> tuple[NDArray[np.uint8] | None, str]:
    """Return (3, height, width) pixels in [0, 1] as a uint8 image, or the reason why they are none.

    Args:
        pixels: what was generated.
        output_size: of the square that is saved; the pixels as they are when None.
        bucket: whose shape the pixels have, which are laid into the square whole.
    """
    if not bool(pixels.isfinite().all()):
        return None, "not finite"
    image = (pixels.permute(1, 2, 0).numpy() * 255.0).round().astype(np.uint8)
    if image.std(axis=(0, 1)).max() < _CONSTANT_BELOW:
        return None, "constant"
    if output_size is not None and bucket is not None:
        image = np.asarray(laid(PILImage.fromarray(image), bucket, output_size))
    elif output_size is not None and image.shape[0] != output_size:
        resized = PILImage.fromarray(image).resize((output_size, output_size), PILImage.Resampling.LANCZOS)
        image = np.asarray(resized)
    return image, ""


@contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """Compute with ``count`` CPU threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
