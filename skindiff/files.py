"""Files and folders that appear in one piece: a reader sees the old content or the new one."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where nothing more can be written."""
_NUMBERS = "|".join(map(str, FULL))
_FULL_IN_WORDS = re.compile(rf"os error ({_NUMBERS})\)|inline_container.cc:\d+\] . unexpected pos")
PARTIAL = ".partial"
"""How the (hidden) name ends while something is being written: no pattern for a kind of file takes it in."""


def real_path(path: Path) -> Path:
    """Return a path without links; unlike :meth:`~pathlib.Path.resolve` it takes a loop of them as it is."""
    return Path(os.path.realpath(path))


def lies_in(path: Path, folder: Path) -> bool:
    """Return whether a file lies in a folder itself, and is no link that leads out of it.

    A snapshot in the Hub's cache consists of links to the ``blobs`` of its repository, which are its own.
    """
    place, target = real_path(folder), real_path(path)
    snapshot = place.parent.name == "snapshots"
    return target.is_relative_to(place) or (snapshot and target.is_relative_to(place.parents[1] / "blobs"))


def at_home(value: Any) -> Any:
    """Return a path, or settings that hold paths, with a leading ``~`` as the user's home.

    Variables such as ``$HOME`` stay as they are: the settings of a stranger could carry a secret away.
    """
    if isinstance(value, str | Path):
        text = str(value)
        return type(value)(os.path.expanduser(text)) if text == "~" or text.startswith("~/") else value
    if isinstance(value, dict):
        return {key: at_home(part) for key, part in value.items()}
    return [at_home(part) for part in value] if isinstance(value, list) else value


def disk_is_full(error: BaseException) -> bool:
    """Return whether an error, or one that it followed, says that nothing more can be written."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in FULL:
            return True
        # safetensors writes in Rust and torch in C++: the number of the error is in their words, or nowhere.
        if type(found).__name__ in ("SafetensorError", "RuntimeError") and _FULL_IN_WORDS.search(str(found)):
            return True
        found = found.__cause__ or found.__context__
    return False


@contextlib.contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Give a path to write to, which takes the place of ``path`` when the block ends; not after an error.

    Args:
        path: its folder is made if need be.
        shared: several processes may write it at once, each under a name of its own.
    """
    partial = path.with_name(f".{path.name}{f'.{os.getpid()}' if shared else ''}{PARTIAL}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        os.replace(partial, path)
    except Exception:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_atomically(
    path: Path, content: str | bytes, *, shared: bool = False, durable: bool = False
) -> None:
    """Write a file whole or not at all.

    Args:
        path: its folder is made if need be.
        content: text is written as UTF-8.
        shared: see :func:`replacing`.
        durable: wait until it is on the disk, so that it outlives a loss of power.
    """
    with replacing(path, shared=shared) as partial, partial.open("wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of ``folder`` when the block ends."""
    partial, stale = (folder.with_name(f".{folder.name}{kind}{PARTIAL}") for kind in ("", ".stale"))
    for left in (partial, stale):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    if folder.exists():
        os.replace(folder, stale)
    os.replace(partial, folder)
    shutil.rmtree(stale, ignore_errors=True)
