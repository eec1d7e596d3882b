"""A picture of synthetic images: a line for each class, with sources where there are any."""

from pathlib import Path

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from skindiff.corpora.attribute import titled
from skindiff.corpora.crops import picture_of
from skindiff.report.pictures import SampleRow, draw_samples
from skindiff.synthesis.asked import asked_column

GRID = "grid.png"
_COLUMNS, _LINES = 6, 24


def draw_samples_of(drawn: Dataset, sources: Dataset | None, path: Path) -> None:
    """Plot a few images of each class, of as many skin types (or other values) as there are.

    Args:
        drawn: rows of a synthetic data set.
        sources: the source images, by ``image_id``; each line then shows one of them.
        path: of the picture.
    """
    names, column = drawn.features["label"].names, asked_column(drawn.column_names)
    labels = drawn["label"][:]
    places = {} if sources is None else {name: row for row, name in enumerate(sources["image_id"][:])}
    lines = []
    for code in sorted(set(labels))[:_LINES]:
        rows = _shown(drawn, column, [row for row, label in enumerate(labels) if label == code])
        source = places.get(drawn[rows[0]]["source_id"])
        images = [drawn[row] for row in rows]
        original = None if sources is None or source is None else sources[source]
        kind = original[column] if original else None
        lines.append(
            SampleRow(
                title=f"{names[code]}\n{titled(column, kind)}" if kind else names[code],
                source=_pixels(original) if original else None,
                synthetic=tuple(_pixels(row) for row in images),
                captions=tuple(titled(column, row[column]) if row[column] else "" for row in images),
            )
        )
    draw_samples(lines, path)


def _shown(drawn: Dataset, column: str, rows: list[int]) -> list[int]:
    """Return rows of one source, or of as many values of a column as there are."""
    table = drawn.select_columns(["source_id", column]).select(rows)
    sources, types = table["source_id"][:], table[column][:]
    if sources[0] is not None:
        return [row for row, source in zip(rows, sources, strict=True) if source == sources[0]][:_COLUMNS]
    turns: dict[str | None, int] = {}
    order = []
    for row, kind in zip(rows, types, strict=True):
        turns[kind] = turns.get(kind, 0) + 1
        order.append((turns[kind], row))
    return sorted(row for _, row in sorted(order)[:_COLUMNS])


def _pixels(row: dict) -> NDArray[np.uint8]:
    return np.asarray(picture_of(row).convert("RGB"))
