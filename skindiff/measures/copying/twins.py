"""Photographs of one corpus that are in another one too: of other images to test on they would be training
images in disguise."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset

from skindiff.corpora.crops import pictures_of
from skindiff.files import write_atomically
from skindiff.measures.copying.memorisation import planted_found
from skindiff.measures.copying.nearest import KnownStructures
from skindiff.measures.copying.planted import KINDS
from skindiff.measures.copying.rows import Share
from skindiff.measures.copying.structure import comparable
from skindiff.runs import Stage

FILE = "nearest.json"
PLANTED = 25
"""Images of the study of which copies of every kind are planted, to tell how many of them are found."""


class Nearest(NamedTuple):
    """An image with the image of the other corpus that it is most like, and how much, -1 to 1."""

    image_id: str
    other: str
    similarity: float


@dataclass(frozen=True)
class Twins:
    """What was found of images in another corpus.

    Attributes:
        nearest: a row for each image, in their order.
        found: by kind of copy, the share of planted ones that is found.
    """

    nearest: Sequence[Nearest]
    found: dict[str, Share]

    def over(self, threshold: float) -> set[str]:
        """Return the ids of the images that are taken for one of the other corpus."""
        return {row.image_id for row in self.nearest if row.similarity >= threshold}


def find_twins(
    stage: Stage, images: Dataset, corpus: Dataset, threshold: float, device: torch.device | None = None
) -> Twins:
    """Compare every image with every image of a corpus, by structure; the search is a stage of a run.

    Args:
        stage: keeps ``nearest.json``, which names photographs and stays there; the main process computes.
        images: ``image`` and ``image_id``.
        corpus: the same columns and ``group_id``.
        threshold: at which planted copies count as found.
        device: that computes; None is the CPU.
    """
    if not stage.done:
        if stage.accelerator.is_main_process:
            _write(stage.folder / FILE, _search(images, corpus, threshold, device))
        stage.finish()
    read = json.loads((stage.folder / FILE).read_text(encoding="utf-8"))
    return Twins([Nearest(*row) for row in read["nearest"]], read["found"])


def _search(images: Dataset, corpus: Dataset, threshold: float, device: torch.device | None) -> Twins:
    pixels = comparable(pictures_of(corpus))
    known = KnownStructures(pixels, corpus["group_id"][:], device)
    (found,) = known.nearest(comparable(pictures_of(images)))
    others = corpus["image_id"][:]
    nearest = [
        Nearest(image_id, others[place], round(similarity, 4))
        for image_id, place, similarity in zip(
            images["image_id"][:], found.other.tolist(), found.similarity.tolist(), strict=True
        )
    ]
    every = np.ones(len(pixels), dtype=bool)
    return Twins(nearest, planted_found(known, pixels, every, threshold, PLANTED, KINDS, 0))


def _write(file: Path, found: Twins) -> None:
    write_atomically(file, json.dumps({"nearest": found.nearest, "found": found.found}) + "\n")
