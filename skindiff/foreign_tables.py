"""Tables and arrays that others wrote: what their headers announce is judged before it is read.

A few bytes of Parquet or of an archive of arrays can stand for more than any memory holds.
"""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from skindiff.errors import SkindiffError
from skindiff.foreign import Malformed, regular_size

_DENSEST = 200
"""How many times larger than its file content may be; photographs and probabilities reach ten."""
_FLOOR = 2**24
"""Bytes that any file may hold."""
_MOST_ROWS, _MOST_COLUMNS = 10**7, 1000


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of an open archive, each read when it is asked for; nothing is unpickled."""

    def __init__(self, archive: zipfile.ZipFile, most: int) -> None:
        self._archive, self._left = archive, most
        self._names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        held = self._archive.getinfo(f"{name}.npy").file_size
        if held > self._left:
            raise Malformed(f"the array {name} is over {_DENSEST} times larger than the file")
        self._left -= held
        with self._archive.open(f"{name}.npy") as stream:
            shape, _, kind = _read_header(stream)
            asked = int(np.prod(shape, dtype=object)) * kind.itemsize
            if kind.hasobject or not 0 <= asked <= held:
                raise Malformed(f"the array {name} does not hold what it announces")
        with self._archive.open(f"{name}.npy") as stream:
            return npy.read_array(stream, allow_pickle=False)


@contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """Open an archive of arrays (``.npz``) for the block, in which reading one may raise too.

    Raises:
        Malformed: it is no regular file or no such archive, is damaged, or is larger than its file can mean.
    """
    try:
        size = regular_size(path)
        with zipfile.ZipFile(path) as archive:
            yield Arrays(archive, max(_FLOOR, _DENSEST * size))
    except (Malformed, SkindiffError, KeyError):
        raise
    # A file that is no archive, a pickle, a damaged zip or a truncated member each fails in its own way.
    except Exception as error:
        raise Malformed(f"no readable archive of arrays ({type(error).__name__})") from error


def judge_parquet(path: Path) -> pa.Schema:
    """Return the columns of a Parquet file, whose content is no larger than its file can mean.

    Raises:
        Malformed: it is no regular file or no Parquet, or is larger than that.
    """
    try:
        size = regular_size(path)
        found = pq.read_metadata(path)
        held = sum(found.row_group(number).total_byte_size for number in range(found.num_row_groups))
        if not 0 <= held <= max(_FLOOR, _DENSEST * size):
            raise Malformed(f"its content is over {_DENSEST} times larger than the file")
        if found.num_rows > min(_MOST_ROWS, max(_FLOOR, size)) or found.num_columns > _MOST_COLUMNS:
            raise Malformed(f"it announces {found.num_rows:,} rows of {found.num_columns:,} columns")
        return found.schema.to_arrow_schema()
    except Malformed:
        raise
    # Arrow has errors of its own, and lets through those of types, text and the system.
    except Exception as error:
        raise Malformed(f"no readable Parquet ({type(error).__name__})") from error


def read_parquet(path: Path) -> pa.Table:
    """Return a Parquet file as a table.

    Raises:
        Malformed: see :func:`judge_parquet`; or it is damaged.
    """
    judge_parquet(path)
    try:
        return pq.read_table(path)
    # Arrow has errors of its own, and lets through those of types, text and the system.
    except Exception as error:
        raise Malformed(f"no readable Parquet ({type(error).__name__})") from error


def _read_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}
    version = npy.read_magic(stream)[0]
    if version not in read:
        raise Malformed("an array of an unknown version")
    return read[version](stream)
