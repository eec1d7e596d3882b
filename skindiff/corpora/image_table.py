"""Images of a data set decoded into memory once, for all trainings and measurements that read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from torch.nn import functional

from skindiff.corpora.attribute import SKIN_COLUMN
from skindiff.corpora.cache import pixels


@dataclass(frozen=True)
class ImageTable:
    """Images and labels in memory, so that many trainings share one decoding."""

    pixels: np.ndarray
    """(n, height, width, 3) uint8."""
    labels: np.ndarray
    """(n,) int64, codes into ``class_names``."""
    values: tuple[str | None, ...]
    """One per row, of what is scarce in the corpus, such as the skin type ``"V"``; None where unknown."""
    class_names: tuple[str, ...]

    @classmethod
    def from_dataset(cls, dataset: Dataset, column: str = SKIN_COLUMN) -> "ImageTable":
        """Decode ``image`` and ``label`` of a data set, with what is scarce.

        Args:
            dataset: images of one size.
            column: of what is scarce in the corpus; where the data set has none no value is recorded.

        Raises:
            CorpusError: the images differ in size (``resize_to_cache`` mends that).
        """
        known = column in dataset.column_names
        return cls(
            pixels=pixels(dataset),
            labels=np.asarray(dataset["label"][:], dtype=np.int64),
            values=tuple(dataset[column][:]) if known else (None,) * len(dataset),
            class_names=tuple(dataset.features["label"].names),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def grey(self) -> bool:
        """Whether the three channels of every image are equal."""
        return bool((self.pixels == self.pixels[..., :1]).all())

    def select(self, rows: Sequence[int] | np.ndarray) -> "ImageTable":
        """Return ``rows`` in the order given, repeats allowed."""
        chosen = np.asarray(rows, dtype=np.int64)
        values = tuple(self.values[row] for row in chosen)
        return ImageTable(self.pixels[chosen], self.labels[chosen], values, self.class_names)

    def resized(self, size: int) -> "ImageTable":
        """Return the table at ``size`` x ``size``, resampled with antialiasing where the size differs."""
        if len(self) == 0 or self.pixels.shape[1:3] == (size, size):
            return self
        resized = np.empty((len(self), size, size, 3), dtype=np.uint8)
        for start in range(0, len(self), 256):
            images = torch.from_numpy(self.pixels[start : start + 256]).permute(0, 3, 1, 2).float()
            images = functional.interpolate(images, (size, size), mode="bicubic", antialias=True)
            resized[start : start + 256] = images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        return ImageTable(resized, self.labels, self.values, self.class_names)
