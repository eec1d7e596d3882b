"""Sample grids, a line per class: real images left, synthetic ones right, side by side or by skin type."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image as PILImage

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.cache import pixels
from skindiff.report.drawing import drawing
from skindiff.report.study_section import StudySection

Images = NDArray[np.uint8]

REAL_COLUMNS, DRAWN_COLUMNS = 4, 8
_TILE, _LARGEST, _GAP, _SEAM = 64, 128, 3, 14
"""Pixels: the least and the largest side of an image, between images, and between blocks."""


@dataclass(frozen=True)
class ClassLine:
    """One class of a grid: RGB uint8 images, each list of shape ``(n, height, width, 3)`` or empty."""

    name: str
    real: Images
    drawn: Images


@dataclass(frozen=True)
class Block:
    """Columns of a grid under one head.

    ``columns`` are their names (empty where they need none); ``rows`` has a list for every class, of one RGB
    uint8 image of shape ``(height, width, 3)`` or None for each column.
    """

    head: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Images | None, ...], ...]


def class_lines(real: Dataset, synthetic: Dataset) -> list[ClassLine]:
    """Return a line for every class, empty on the right where it has no synthetic image.

    The first images of each class are shown. Where synthetic rows name a source, the images on the
    left are the sources, in the same order, so that the pairs can be compared.

    Args:
        real: training rows.
        synthetic: synthetic rows of the same classes.
    """
    names: list[str] = real.features["label"].names
    place = {image_id: row for row, image_id in enumerate(real["image_id"][:])}
    labels, drawn_labels = np.asarray(real["label"][:]), np.asarray(synthetic["label"][:])
    sources = synthetic["source_id"][:]
    lines = []
    for code, name in enumerate(names):
        drawn = np.flatnonzero(drawn_labels == code)[:DRAWN_COLUMNS].tolist()
        pairs = [place[sources[row]] for row in drawn if sources[row] in place]
        shown = (pairs or np.flatnonzero(labels == code).tolist())[:REAL_COLUMNS]
        lines.append(ClassLine(name, pixels(real, shown), pixels(synthetic, drawn)))
    return lines


def classes_section(grids: Mapping[str, Sequence[ClassLine]]) -> StudySection:
    """Return the section of samples by class.

    Args:
        grids: of :func:`class_lines`, by the name of the generator.
    """

    def of(lines: Sequence[ClassLine]) -> Callable[[Path], None]:
        return lambda path: draw_class_grid(lines, path)

    pictures = tuple(
        (f"samples-{family}.png", f"{family}: real and synthetic images, by class.", of(lines))
        for family, lines in grids.items()
    )
    return StudySection("Samples by class", photographs=pictures)


def draw_class_grid(lines: Sequence[ClassLine], path: Path) -> None:
    """Draw a grid into a PNG file, the same bytes for the same images.

    Args:
        lines: from :func:`class_lines`.
        path: the PNG file.
    """
    blocks = [
        Block(head, ("",) * columns, tuple(_padded(getattr(line, side), columns) for line in lines))
        for head, side, columns in (
            ("real (training)", "real", REAL_COLUMNS),
            ("synthetic", "drawn", DRAWN_COLUMNS),
        )
    ]
    draw_grid([line.name for line in lines], blocks, path)


def _padded(images: Images, columns: int) -> tuple[Images | None, ...]:
    return tuple(images[place] if place < len(images) else None for place in range(columns))


def type_blocks(real: Dataset, drawn: Dataset, attribute: Attribute = SKIN_TYPE) -> list[Block]:
    """Return the first image of every class and skin type (or other value), real and synthetic.

    Args:
        real: training rows.
        drawn: synthetic rows of the same classes.
        attribute: of the corpus.

    Returns:
        A block of real and one of synthetic images; nothing where no synthetic row has a value.
    """
    if attribute.column not in drawn.column_names or not any(drawn[attribute.column][:]):
        return []
    return [_type_block("real (training)", real, attribute), _type_block("synthetic, as", drawn, attribute)]


def _type_block(head: str, images: Dataset, attribute: Attribute) -> Block:
    names: list[str] = images.features["label"].names
    kinds = list(zip(images["label"][:], images[attribute.column][:], strict=True))
    first = {kind: row for row, kind in reversed(list(enumerate(kinds)))}
    types = [name for name in attribute.known if any(kind[1] == name for kind in first)]
    found = {kind: pixels(images, [row])[0] for kind, row in first.items() if kind[1] in types}
    rows = tuple(tuple(found.get((code, name)) for name in types) for code in range(len(names)))
    return Block(head, tuple(types), rows)


def types_section(real: Dataset, drawn: Dataset, attribute: Attribute = SKIN_TYPE) -> StudySection:
    """Return the section of samples by class and skin type (or other value), empty where no synthetic image
    has one."""
    blocks = type_blocks(real, drawn, attribute)
    names: list[str] = real.features["label"].names
    caption = (
        f"One image of every class and {attribute.name}, real and synthetic; a row is a class, not a lesion."
    )
    picture = ("samples-by-type.png", caption, lambda path: draw_grid(names, blocks, path))
    return StudySection(f"Samples by class and {attribute.name}", photographs=(picture,) if blocks else ())


def draw_grid(names: Sequence[str], blocks: Sequence[Block], path: Path) -> None:
    """Draw blocks of images side by side into a PNG file, the same bytes for the same images.

    Args:
        names: of the classes, one for each row of every block.
        blocks: of square images, which are brought to one size.
        path: the PNG file.
    """
    side = next(len(image) for block in blocks for row in block.rows for image in row if image is not None)
    tile = min(_LARGEST, side * max(1, -(-_TILE // side)))
    cell = tile + _GAP
    starts = np.cumsum([0, *(len(block.columns) * cell + _SEAM for block in blocks)]).tolist()
    sheet = np.zeros((len(names) * cell, starts[-1] - _SEAM, 4), dtype=np.uint8)  # clear between images
    for start, block in zip(starts, blocks, strict=False):
        for number, row in enumerate(block.rows):
            for place, image in enumerate(row):
                if image is not None:
                    down, across = number * cell, start + place * cell
                    sheet[down : down + tile, across : across + tile] = np.dstack(
                        [_sized(image, tile), np.full((tile, tile), 255, np.uint8)]
                    )
    names_wide = 0.25 + 0.08 * max(map(len, names))  # inches, at 9 points
    width = min(9.4 - names_wide, sheet.shape[1] / 65)
    with drawing(names_wide + width, width * len(sheet) / sheet.shape[1] + 0.55, path) as figure:
        axes = figure.subplots()
        axes.imshow(sheet, interpolation="nearest")
        axes.grid(visible=False)
        axes.set_yticks([number * cell + cell / 2 for number in range(len(names))], list(names))
        _name_columns(axes, blocks, starts, cell)


def _sized(image: Images, side: int) -> Images:
    how = PILImage.Resampling.NEAREST if len(image) < side else PILImage.Resampling.LANCZOS
    return np.asarray(PILImage.fromarray(image).resize((side, side), how))


def _name_columns(axes: Axes, blocks: Sequence[Block], starts: Sequence[int], cell: int) -> None:
    ticks = []
    for start, block in zip(starts, blocks, strict=False):
        ticks += [(start + (place + 0.5) * cell, name) for place, name in enumerate(block.columns)]
        axes.annotate(
            block.head,
            (start + len(block.columns) * cell / 2, 0),
            xytext=(0, 16 if any(block.columns) else 5),
            textcoords="offset points",
            ha="center",
            annotation_clip=False,
        )
    axes.set_xticks([place for place, _ in ticks], [name for _, name in ticks])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
