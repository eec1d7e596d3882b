"""What a from-scratch generator learns from: a table at the network's size and channels, in [-1, 1]."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import torch

from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError, TrainingError


def generator_table(table: ImageTable, image_size: int, channels: int, path: str = "") -> ImageTable:
    """Return ``table`` at ``image_size``, with ``pixels`` of shape (n, image_size, image_size, channels).

    Grey corpora are kept as RGB with three equal channels, of which a network with one sees the first.

    Raises:
        ConfigError: the corpus is grey and ``channels`` is 3, or the other way round.
        TrainingError: the table is empty.
    """
    if len(table) == 0:
        raise TrainingError("the generator's training set is empty: check the corpus and the split")
    first = table.pixels[..., :1]
    grey = bool((table.pixels == first).all())
    if grey != (channels == 1):
        kind, wanted = ("grey", 1) if grey else ("in colour", 3)
        raise ConfigError(f"{path}channels is {channels}, but the corpus is {kind}: set it to {wanted}")
    sized = table.resized(image_size)
    return replace(sized, pixels=np.ascontiguousarray(sized.pixels[..., :channels]))


def generator_images(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return (n, channels, height, width) images in [-1, 1] of (n, height, width, channels) bytes."""
    moved = torch.from_numpy(pixels).to(device, non_blocking=True)
    return moved.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def refuse_absent_class(table: ImageTable) -> None:
    """Raise a :class:`TrainingError` that names the classes of which the table has no image."""
    absent = [name for code, name in enumerate(table.class_names) if code not in table.labels]
    if absent:
        raise TrainingError(
            f"no training image of {', '.join(absent)}: a generator cannot learn a class that it "
            "never sees; leave it out of the corpus' classes or change the split"
        )


def table_fingerprint(table: ImageTable) -> str:
    """Return a digest of the pixels, labels and class names, for a training's context."""
    digest = hashlib.sha256(np.ascontiguousarray(table.pixels).data)
    digest.update(table.labels.tobytes())
    digest.update(json.dumps([table.pixels.shape, table.class_names]).encode())
    return digest.hexdigest()[:32]
