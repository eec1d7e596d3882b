"""Photographs on both sides of a test, as the search for copies meets them."""

from collections.abc import Sequence

from skindiff.measures.copying.rows import CopiedElsewhere, CopyingRow
from skindiff.measures.copying.threshold import SAME


def crossing_flags(rows: Sequence[CopyingRow]) -> list[str]:
    """Return sentences on whether held-out images are likely training images in another size or compression.

    Args:
        rows: of the report's key ``copying``; all generators of a seed met the same held-out images.
    """
    found = {(row["seed"], row["held_out"]): row for row in rows if row.get("held_out_alike")}
    if not found:
        return []
    counts = ", ".join(
        f"{row['held_out_alike']} of {row['held_out']} in split {seed}" for (seed, _), row in found.items()
    )
    return [
        "Leak, likely: held-out images have all their structure in common with a training image of another "
        f"group ({counts}; similarity {SAME} or more), as one photograph in two sizes has. The audit did "
        "not join them. Scores may be too high."
    ]


def copied_flags(rows: Sequence[CopiedElsewhere]) -> list[str]:
    """Return sentences on synthetic images that show an image of another corpus that is tested on.

    Args:
        rows: of the report's key ``external``, its ``copies``.
    """
    return [
        f"Leak, likely: {row['near_copies']} of {row['generated']} synthetic images ({labelled(row)}) are "
        f"near copies of {row['copied']} images of {row['test_corpus']}, which are tested on (similarity "
        f"{row['threshold']} or more). What arms with synthetic images gain there may be too good."
        for row in rows
        if row["near_copies"]
    ]


def labelled(row: CopiedElsewhere) -> str:
    """Return what synthetic images are called, with their seed where it is known."""
    return row["images"] if row["seed"] is None else f"{row['images']}, seed {row['seed']}"
