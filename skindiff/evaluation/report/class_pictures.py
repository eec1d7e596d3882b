"""Sample grids of class-conditional generators: a line per class, real images left, drawn ones right."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset
from matplotlib import style
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skindiff.corpora.cache import pixels

Images = NDArray[np.uint8]

REAL_COLUMNS, DRAWN_COLUMNS = 4, 8
_TILE, _GAP, _SEAM = 64, 3, 14
"""Pixels: the least side of an image, between images, and between real and drawn ones."""


@dataclass(frozen=True)
class ClassLine:
    """One class of a grid: RGB uint8 images, each list of shape ``(n, height, width, 3)`` or empty."""

    name: str
    real: Images
    drawn: Images


def class_lines(real: Dataset, synthetic: Dataset) -> list[ClassLine]:
    """Return a line for every class, empty on the right where nothing was drawn of it.

    The first images of each class are shown. Where drawn rows name the image that they re-draw, the images
    on the left are those, in the same order, so that the pairs can be compared.

    Args:
        real: training rows.
        synthetic: rows drawn with the same classes.
    """
    names: list[str] = real.features["label"].names
    place = {image_id: row for row, image_id in enumerate(real["image_id"])}
    labels, drawn_labels = np.asarray(real["label"]), np.asarray(synthetic["label"])
    sources = list(synthetic["source_id"])
    lines = []
    for code, name in enumerate(names):
        drawn = np.flatnonzero(drawn_labels == code)[:DRAWN_COLUMNS].tolist()
        pairs = [place[sources[row]] for row in drawn if sources[row] in place]
        shown = (pairs or np.flatnonzero(labels == code).tolist())[:REAL_COLUMNS]
        lines.append(ClassLine(name, pixels(real, shown), pixels(synthetic, drawn)))
    return lines


def draw_class_grid(lines: Sequence[ClassLine], path: Path) -> None:
    """Draw a grid into a PNG file, the same bytes for the same images.

    Args:
        lines: from :func:`class_lines`; all images of one size.
        path: the file.
    """
    side = next(len(images[0]) for line in lines for images in (line.real, line.drawn) if len(images))
    scale = max(1, -(-_TILE // side))
    cell = side * scale + _GAP
    left = REAL_COLUMNS * cell + _SEAM
    sheet = np.full((len(lines) * cell, left + DRAWN_COLUMNS * cell, 3), 255, dtype=np.uint8)
    for number, line in enumerate(lines):
        for start, images in ((0, line.real), (left, line.drawn)):
            for place, image in enumerate(images):
                large = image.repeat(scale, axis=0).repeat(scale, axis=1)
                across = start + place * cell
                sheet[number * cell : number * cell + len(large), across : across + len(large)] = large
    width = 9.4
    with style.context(["default", {"font.family": "DejaVu Sans", "font.size": 8}]):
        figure = Figure(
            figsize=(width, width * len(sheet) / sheet.shape[1] + 0.3), dpi=130, layout="constrained"
        )
        axes = figure.subplots()
        axes.imshow(sheet, interpolation="nearest")
        axes.set_yticks(
            [number * cell + cell / 2 for number in range(len(lines))], [line.name for line in lines]
        )
        heads = ((REAL_COLUMNS * cell / 2, "real (training)"), (left + DRAWN_COLUMNS * cell / 2, "drawn"))
        axes.set_xticks([place for place, _ in heads], [head for _, head in heads])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.savefig(path, format="png", metadata={"Software": None})
