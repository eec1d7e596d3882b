"""A split without the held-out images that a classifier has seen, as other files of the same pictures."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from datasets import Dataset
from PIL import Image

from skindiff.corpora.splits import Split
from skindiff.corpora.whole_pictures import twins

PREFIX = "deduplicated"
"""Name of the test set ``all`` without twins; goes before that of any other."""
REASON = "twin_of_a_training_image"
"""Why a row is not used, as reports call it."""


def deduplicated(split: Split, corpus: Dataset) -> Split:
    """Return the split without validation and test images that are one picture with an image trained on.

    Test images that are one picture with a validation image go too, since weights were chosen by it. What is
    one picture, :mod:`skindiff.corpora.whole_pictures` says: as many as are found, and perhaps some that only
    look alike. The training images stay.

    Args:
        split: of the corpus, with tests of any name; ``all`` becomes ``deduplicated``.
        corpus: the table that was split, with its images.
    """
    images = corpus["image"]

    def shown(rows: Iterable[int]) -> list[Image.Image]:
        return [images[row] for row in rows]

    def kept(rows: list[int], known: list[Image.Image]) -> list[int]:
        if not rows or not known:
            return rows
        gone = set(np.asarray(rows)[twins(shown(rows), known)].tolist())
        return [row for row in rows if row not in gone]

    train = shown(split.train)
    validation = kept(split.validation, train)
    known = train + shown(split.validation)
    test = {
        PREFIX if name == "all" else f"{PREFIX} {name}": kept(rows, known)
        for name, rows in split.test.items()
    }
    found = replace(split, validation=validation, test=test)
    gone = {*split.validation, *split.tested} - {*found.validation, *found.tested}
    return replace(found, dropped={**split.dropped, REASON: len(gone)})
