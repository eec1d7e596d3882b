"""What is said of an image in words: its caption and the name of its file."""

from skindiff.corpora.attribute import SKIN_COLUMN, titled
from skindiff.demo.drawing import Picture
from skindiff.demo.files import file_name
from skindiff.demo.transferring import misses
from skindiff.synthesis.asked import asked_column


def degrees(ita: float | None) -> str:
    """Return a measured angle in words."""
    return "not measurable" if ita is None else f"{round(ita)}°".replace("-", "−")


def caption(picture: Picture) -> str:
    """Return what is said of an image, on the page and to who does not see it: condition, type (or other
    value), measured tone, seed, and of a transfer what it kept and missed."""
    row = picture.row
    column = asked_column(row.keys())
    asked = row.get(column)
    strength = row.get("strength")
    kept = picture.kept
    parts = [
        titled(column, asked) if asked else "",
        str(row.get("condition", "")),
        f"ITA {degrees(picture.ita)}",
        "" if strength is None else f"strength {strength:g}",
        "" if kept is None else f"structure kept {max(0.0, kept):.0%}",
        f"seed {picture_seed(picture)}" if "request_seed" in row else "",
        *(f"⚠ {missed}" for missed in misses(picture)),
    ]
    return " · ".join(filter(None, parts))


def image_name(picture: Picture) -> str:
    """Return the name of an image's file, which says what is on it: condition, value, strength and seed."""
    row = picture.row
    value = row.get(asked_column(row.keys()))
    kind = f"type-{value}" if value and asked_column(row.keys()) == SKIN_COLUMN else value or ""
    strength = row.get("strength")
    changed = "" if strength is None else f"strength-{strength:g}".replace(".", "")
    return (
        file_name(str(row.get("condition", "")), str(kind), changed, f"seed-{picture_seed(picture)}") + ".png"
    )


def picture_seed(picture: Picture) -> str:
    """Return the seed that gives an image as the first of its request, or the request's and its place."""
    row = picture.row
    first, index = int(row.get("request_seed", 0)), int(row.get("index", 0))
    return (
        f"{first}-{index + 1}"
        if "family" in row and index
        else str(first if "family" in row else first + index)
    )
