"""The columns that a split by class uses, and random orders that depend on image ids alone."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import ClassLabel, Dataset

from skindiff.corpora.splits import Split
from skindiff.errors import SplitError
from skindiff.seeding import derive_seed

COLUMNS = ("label", "image_id", "group_id")


@dataclass(frozen=True)
class SplitTable:
    """A corpus as far as a split by class sees it; a row is its number in the corpus."""

    label: list[Any]
    image_id: list[str]
    group_id: list[str]
    class_names: dict[Any, str]
    """Every class by its label, also those without images."""

    @classmethod
    def read(cls, source: Dataset | Mapping[str, Sequence[Any]]) -> "SplitTable":
        """Read the columns of a corpus (or of a mapping of columns); no image is decoded.

        Raises:
            SplitError: a column is missing.
        """
        names = source.column_names if isinstance(source, Dataset) else list(source)
        if absent := [name for name in COLUMNS if name not in names]:
            raise SplitError(
                f"column {absent[0]!r} is missing (there are {', '.join(names)}); add it to the corpus"
            )
        label, image_id, group_id = (list(source[name][:]) for name in COLUMNS)
        feature = source.features["label"] if isinstance(source, Dataset) else None
        known = enumerate(feature.names) if isinstance(feature, ClassLabel) else ((x, str(x)) for x in label)
        return cls(label, image_id, group_id, dict(sorted(known)))

    def groups(self, rows: Iterable[int]) -> set[str]:
        """Return the groups of some rows."""
        return {self.group_id[row] for row in rows}

    def shuffled(self, rows: Iterable[int], *key: str | int) -> list[int]:
        """Return the rows in a random order that depends on the key and their image ids alone."""
        return sorted(rows, key=lambda row: derive_seed("split", *key, self.image_id[row]))

    def by_class(self, rows: Iterable[int]) -> dict[Any, list[int]]:
        """Return the rows of every class, also of those that have none, in the order given."""
        found: dict[Any, list[int]] = {label: [] for label in self.class_names}
        for row in rows:
            found[self.label[row]].append(row)
        return found

    def split(
        self, seed: int, train: list[int], validation: list[int], test: list[int], dropped: Mapping[str, int]
    ) -> Split:
        """Return the split with one test group, ``"all"``, and the groups that cross it counted."""
        crossing = Counter(group for rows in (train, validation, test) for group in self.groups(rows))
        return Split(
            seed=seed,
            train=sorted(train),
            validation=sorted(validation),
            test={"all": sorted(test)},
            dropped={reason: count for reason, count in dropped.items() if count},
            groups_crossing=sum(count > 1 for count in crossing.values()),
        )
