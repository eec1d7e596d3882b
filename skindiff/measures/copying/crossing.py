"""Photographs on both sides of a split, as the search for copies meets them."""

from collections.abc import Sequence

from skindiff.measures.copying.rows import CopyingRow
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
