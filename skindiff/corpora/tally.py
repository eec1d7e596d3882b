"""How many images there are of each class, skin type and attribute: what to look at before anything is
trained."""

from collections import Counter
from collections.abc import Mapping, Sequence

from datasets import ClassLabel, Dataset

from skindiff.corpora.schema import REAL_COLUMNS

_MOST = 20
"""Values of an attribute that are listed."""
UNKNOWN = "not recorded"


def tallies(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the number of images by value, for the classes, the skin types and every attribute.

    Classes are in the order of their codes, also those without an image; all else is by size, what is not
    recorded last. Skin types are left out where none is recorded.

    Args:
        dataset: with the columns of a corpus; no image is decoded.
    """
    feature = dataset.features["label"]
    assert isinstance(feature, ClassLabel)
    labels = Counter(dataset["label"][:])
    found = {"class": {name: labels[code] for code, name in enumerate(feature.names)}}
    others = [name for name in dataset.column_names if name not in REAL_COLUMNS]
    for name in ("skin_type", *others):
        kind = dataset.features[name]
        if getattr(kind, "dtype", "") == "string":
            counts = by_size(dataset[name][:])
            if name != "skin_type" or set(counts) != {UNKNOWN}:
                found[name] = counts
    return found


def by_size(values: Sequence[str | None]) -> dict[str, int]:
    """Return how often each value is there, the most frequent first and what is not recorded last."""
    counts = Counter(value for value in values if value is not None)
    found = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return found | ({UNKNOWN: missing} if (missing := len(values) - counts.total()) else {})


def in_words(counts: Mapping[str, int]) -> str:
    """Return counts in a line; of many values the first and how many more there are."""
    listed = [f"{name} {count}" for name, count in list(counts.items())[:_MOST]]
    more = [f"and {len(counts) - _MOST} more values"] if len(counts) > _MOST else []
    return ", ".join([*listed, *more])
