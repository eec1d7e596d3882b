"""What the audit keeps of every image while it searches, in shards on the disk.

The features of 100,000 images are 7 GB, so they are read where they are needed; and an audit that was killed
goes on from the shards that it has.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skindiff.corpora.local_features import LocalFeatures
from skindiff.corpora.whole_pictures import SIDE
from skindiff.files import replacing, write_atomically

SHARD = 512
"""Images in one file: what an interruption can lose."""


class Seen(NamedTuple):
    """What is kept of an image that takes part in the search for near-duplicates."""

    features: LocalFeatures
    thumbnail: NDArray[np.float32]
    width: int
    height: int


class Look(NamedTuple):
    """What one look at an image file found: ``said`` goes into JSON, ``seen`` into a shard."""

    said: Any
    seen: Seen | None


class SeenStore:
    """Looks at files, by name, kept in a folder.

    Args:
        folder: of the shards; those of an earlier call with the same names are taken as they are.
        names: of the files; their order decides which stand in a shard together.
        keypoints: most of an image.
    """

    def __init__(self, folder: Path, names: Sequence[str], keypoints: int) -> None:
        self.folder = folder
        self._names = names
        self._row = np.dtype(
            [
                ("points", np.float32, (keypoints, 2)),
                ("descriptors", np.uint8, (keypoints, 128)),
                ("thumbnail", np.float32, (SIDE * SIDE,)),
                ("count", np.int32),
                ("width", np.int32),
                ("height", np.int32),
            ]
        )
        self._places: dict[str, tuple[Path, int]] = {}
        self.counts: dict[str, int] = {}
        """Keypoints of every image that takes part."""

    def fill(self, look: Callable[[str], Look], executor: Executor) -> Iterator[dict[str, Any]]:
        """Look at all files that were not looked at before, and yield what is said, a shard at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for number, start in enumerate(range(0, len(self._names), SHARD)):
            listed, rows = self.folder / f"seen-{number:05}.json", self.folder / f"seen-{number:05}.rows"
            if not listed.is_file():
                names = self._names[start : start + SHARD]
                looks = dict(zip(names, executor.map(look, names), strict=True))
                self._write(rows, [one.seen for one in looks.values() if one.seen is not None])
                counts = {name: len(one.seen.features.points) for name, one in looks.items() if one.seen}
                said = {name: one.said for name, one in looks.items()}
                write_atomically(listed, json.dumps({"said": said, "counts": counts}), shared=True)
            known = json.loads(listed.read_text())
            self.counts |= known["counts"]
            self._places |= {name: (rows, place) for place, name in enumerate(known["counts"])}
            yield known["said"]

    def features(self, name: str) -> LocalFeatures:
        """Return the local features of an image that takes part."""
        row = self._read(name)
        count = int(row["count"])
        return LocalFeatures(row["points"][:count], row["descriptors"][:count], int(row["width"]))

    def thumbnails(self, names: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return thumbnails ``(n, SIDE * SIDE)`` of images, and the logarithms of their width over height."""
        table = np.zeros((len(names), SIDE * SIDE), np.float32)
        shapes = np.zeros(len(names))
        for place, name in enumerate(names):
            row = self._read(name)
            table[place] = row["thumbnail"]
            shapes[place] = np.log(int(row["width"]) / int(row["height"]))
        return table, shapes

    def _read(self, name: str) -> np.void:
        # Not mapped: what is read of a map counts as memory of the process.
        file, place = self._places[name]
        row: np.void = np.fromfile(file, self._row, count=1, offset=place * self._row.itemsize)[0]
        return row

    def _write(self, file: Path, looks: Sequence[Seen]) -> None:
        rows = np.zeros(len(looks), self._row)
        for row, seen in zip(rows, looks, strict=True):
            count = len(seen.features.points)
            row["points"][:count], row["descriptors"][:count] = (
                seen.features.points,
                seen.features.descriptors,
            )
            row["thumbnail"], row["count"] = seen.thumbnail, count
            row["width"], row["height"] = seen.width, seen.height
        with replacing(file, shared=True) as partial:
            rows.tofile(partial)


def kept_in_blocks(
    folder: Path, kind: str, tasks: Sequence[Any], work: Callable[[Any], list[Any]], executor: Executor
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Do tasks in blocks, kept as JSON so that none is done twice; yield each block with what it found.

    Args:
        folder: of the blocks; those of an earlier call with the same tasks are taken as they are.
        kind: how the files are called.
        tasks: in an order that is always the same.
        work: does one of them.
        executor: where the work runs.
    """
    for number, start in enumerate(range(0, len(tasks), SHARD)):
        file, block = folder / f"{kind}-{number:05}.json", tasks[start : start + SHARD]
        if not file.is_file():
            found = executor.map(work, block)
            write_atomically(file, json.dumps([one for part in found for one in part]), shared=True)
        yield block, json.loads(file.read_text())
