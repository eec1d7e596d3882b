"""Images that this process has decoded, so that no training and no cell of a run decodes them again."""

import hashlib
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

LIMIT = 2**30
"""Bytes of pixels that are kept: 80,000 images of 64 px. Images beyond are decoded each time: a run goes
through its images in turn, so dropping the oldest would keep none that is wanted again."""


class DecodedImages:
    """Pixels by the bytes of the image file; several threads may ask at once.

    Args:
        limit: bytes of pixels that are kept.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.held = limit, 0
        self._known: dict[bytes, Pixels] = {}
        self._lock = threading.Lock()

    def get(self, content: bytes, decode: Callable[[], Pixels]) -> Pixels:
        """Return the pixels of a file, decoded now or before; they must not be written to."""
        key = hashlib.blake2b(content, digest_size=16).digest()
        if (known := self._known.get(key)) is not None:
            return known
        pixels = decode()
        with self._lock:
            if key not in self._known and self.held + pixels.nbytes <= self.limit:
                self._known[key] = pixels
                self.held += pixels.nbytes
        return pixels


DECODED = DecodedImages()
"""Of this process."""
