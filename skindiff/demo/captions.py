"""What is said of an image in words: its caption and the name of its file."""

from collections.abc import Mapping, Sequence

from skindiff.corpora.attribute import SKIN_COLUMN, titled
from skindiff.demo.drawing import Picture
from skindiff.demo.files import file_name
from skindiff.demo.transferring import misses
from skindiff.synthesis.asked import asked_column


def degrees(ita: float | None) -> str:
    """Return a measured angle in words."""
    return "not measurable" if ita is None else f"{round(ita)}°".replace("-", "−")


def caption(picture: Picture) -> str:
    """Return all that is said of an image, where it stands alone: condition, type (or other value), measured
    tone, seed, and of a transfer what it kept and missed."""
    return _joined(_parts(picture))


def shared_words(pictures: Sequence[Picture]) -> str:
    """Return what was asked of all images of a gallery alike, to stand once over it."""
    parts = [_parts(picture) for picture in pictures]
    return _joined({name: parts[0][name] for name in _shared(parts)})


def captions(pictures: Sequence[Picture]) -> list[str]:
    """Return what is said of each image of a gallery, without what :func:`shared_words` says of all."""
    parts = [_parts(picture) for picture in pictures]
    shared = _shared(parts)
    return [_joined({name: words for name, words in one.items() if name not in shared}) for one in parts]


_ASKED = ("value", "condition", "strength", "seed")


def _shared(parts: Sequence[Mapping[str, str]]) -> list[str]:
    """Return what was asked for and is the same in all."""
    return [name for name in _ASKED if len({one[name] for one in parts}) == 1]


def _parts(picture: Picture) -> dict[str, str]:
    """Return what is said of an image, in this order; what does not apply is empty."""
    row = picture.row
    column = asked_column(row.keys())
    asked, strength, kept = row.get(column), row.get("strength"), picture.kept
    return {
        "value": titled(column, asked) if asked else "",
        "condition": str(row.get("condition", "")),
        "ita": f"ITA {degrees(picture.ita)}",
        "strength": "" if strength is None else f"strength {strength:g}",
        "kept": "" if kept is None else f"structure kept {max(0.0, kept):.0%}",
        "seed": f"seed {picture_seed(picture)}" if "request_seed" in row else "",
        "missed": _joined({missed: f"⚠ {missed}" for missed in misses(picture)}),
    }


def _joined(parts: Mapping[str, str]) -> str:
    return " · ".join(filter(None, parts.values()))


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
