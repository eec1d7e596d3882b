"""The near-duplicates of a corpus in a file, so that one study has the same groups on every machine.

Local features are computed in floating point, which processors round differently, and a search that looks at
the likeliest pairs finds some on one processor and others on the next (measured on 855 photographs of
Fitzpatrick17k: of 150 pairs up to 9 differ). A run writes down what its groups follow from;
``scripts/keep_cells.py`` keeps it beside a recipe with the cells, and later runs take it from there.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from skindiff.corpora.near_duplicates import Match
from skindiff.errors import CorpusError
from skindiff.files import write_atomically
from skindiff.foreign import Malformed, read_json, refuse_unlike


class _StoredMatch(TypedDict):
    first: str
    second: str
    mirrored: bool
    inliers: int
    agreement: float
    correlation: float


class _Stored(TypedDict):
    key: str
    matches: list[_StoredMatch]


@dataclass(frozen=True)
class KnownPairs:
    """Near-duplicates that were found in some files, named by their SHA-256.

    Attributes:
        key: of the files.
        matches: whatever their evidence; the thresholds of an audit are applied to them.
    """

    key: str
    matches: list[Match]

    @property
    def name(self) -> str:
        """Name of the file that keeps them beside a recipe."""
        return f"audit-{self.key}.json"

    def write(self, file: Path) -> None:
        """Write them, whole or not at all."""
        rows = ",\n".join(json.dumps(match._asdict()) for match in self.matches)
        text = f'{{"key": {json.dumps(self.key)}, "matches": [\n{rows}\n]}}\n'
        write_atomically(file, text, shared=True)

    @classmethod
    def read(cls, file: Path) -> "KnownPairs":
        """Return what was written.

        Raises:
            CorpusError: the file holds something else.
        """
        try:
            stored = read_json(file)
            refuse_unlike(stored, _Stored)
        except (Malformed, OSError) as error:
            raise CorpusError(
                f"{file} holds no near-duplicates of an audit ({error}); restore or delete it"
            ) from error
        return cls(stored["key"], [Match(**match) for match in stored["matches"]])


def key_of(contents: Iterable[str], bit_depth: int | None) -> str:
    """Return 32 hex digits of files, by their SHA-256, and of how 16-bit samples are read.

    How near-duplicates are searched for is no part of it: a study keeps its groups when searches get better.
    """
    said = [bit_depth, sorted(set(contents))]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]
