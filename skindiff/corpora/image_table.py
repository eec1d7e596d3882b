"""Images of a data set decoded into memory once, for all trainings and measurements that read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from torch.nn import functional

from skindiff.corpora.cache import pixels


@dataclass(frozen=True)
class ImageTable:
    """Images and labels in memory, so that many trainings share one decoding."""

    pixels: np.ndarray
    """(n, height, width, 3) uint8."""
    labels: np.ndarray
    """(n,) int64, codes into ``class_names``."""
    skin_types: tuple[str | None, ...]
    """One per row, ``"I"`` to ``"VI"`` or None."""
    class_names: tuple[str, ...]

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> "ImageTable":
        """Decode ``image``, ``label`` and, where there is one, ``skin_type`` of a data set.

        Raises:
            CorpusError: the images differ in size (``resize_to_cache`` mends that).
        """
        known = "skin_type" in dataset.column_names
        return cls(
            pixels=pixels(dataset),
            labels=np.asarray(dataset["label"], dtype=np.int64),
            skin_types=tuple(dataset["skin_type"]) if known else (None,) * len(dataset),
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
        skin_types = tuple(self.skin_types[row] for row in chosen)
        return ImageTable(self.pixels[chosen], self.labels[chosen], skin_types, self.class_names)

    def resized(self, size: int) -> "ImageTable":
        """Return the table at ``size`` x ``size``, resampled with antialiasing where the size differs."""
        if len(self) == 0 or self.pixels.shape[1:3] == (size, size):
            return self
        resized = np.empty((len(self), size, size, 3), dtype=np.uint8)
        for start in range(0, len(self), 256):
            images = torch.from_numpy(self.pixels[start : start + 256]).permute(0, 3, 1, 2).float()
            images = functional.interpolate(images, (size, size), mode="bicubic", antialias=True)
            resized[start : start + 256] = images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        return ImageTable(resized, self.labels, self.skin_types, self.class_names)
