"""The files of the demo: which session each belongs to, gone when the last of its sessions is."""

import os
import re
import secrets
import shutil
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gradio.processing_utils import hash_bytes

from skindiff.demo.photographs import GONE, PhotographError
from skindiff.files import write_atomically

APP = secrets.token_hex(16)
"""Holder of the files that every session may use; sessions choose their own names, and cannot guess it."""
_UNCLAIMED = 64
"""Uploads that may wait to be claimed; then the oldest goes."""
_TORN_SECONDS = 60
_FOR_EVER = 10 * 365 * 86_400
"""Seconds that the app's own files are dated ahead."""


def file_name(*words: str) -> str:
    """Return words as one part of a file's name: small letters, digits and hyphens, at most 60."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:60].strip("-") or "unnamed"


class SessionFiles:
    """Files that the page shows and offers, each under a name made of its content.

    A path that a client sends is looked up among the files recorded here and nowhere else: the file system
    is not asked, so an answer says nothing about other files of the machine.

    Args:
        folder: holds them all, and what visitors upload.

    Attributes:
        closed: the demo has ended; nothing is kept any more.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._holders: dict[Path, set[str]] = defaultdict(set)
        self._uploaded: Counter[Path] = Counter()
        self._uploading = 0
        self._guard = threading.Lock()
        self.closed = False

    def close(self) -> None:
        """Delete everything, and keep nothing from now on."""
        with self._guard:
            self.closed = True
            shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, session: str, data: bytes, name: str) -> str:
        """Write a file of a session and return its path, where Gradio serves it from without a copy.

        Raises:
            PhotographError: the demo is being closed.
        """
        path = self.folder / hash_bytes(data) / name
        with self._guard:
            if self.closed:
                raise PhotographError("This demo is being closed.")
            if not path.exists():
                write_atomically(path, data)
            self._holders[path].add(session)
            # Gradio deletes by age what no session has said goodbye to, but is to leave the app's own.
            born = time.time() + _FOR_EVER * (APP in self._holders[path])
            os.utime(path, (born, born))
        return str(path)

    def uploaded(self, paths: Iterable[str]) -> None:
        """Record uploads: each may be claimed by one session, the first that names it."""
        with self._guard:
            for path in map(Path, paths):
                self._uploaded[path] = self._uploaded.pop(path, 0) + 1  # the newest is last
            while len(self._uploaded) > _UNCLAIMED:
                oldest = next(iter(self._uploaded))
                del self._uploaded[oldest]
                if oldest not in self._holders:
                    self._delete(oldest)

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Delete, after an upload, what Gradio leaves of those that were torn off or belong to no field."""
        with self._guard:
            self._uploading += 1
        try:
            yield
        finally:
            with self._guard:
                self._uploading -= 1
                late = time.time() - (_TORN_SECONDS if self._uploading else -1)
                for path in self.folder.glob("tmp*"):
                    with suppress(OSError):
                        if path.is_file() and path.stat().st_mtime < late:
                            path.unlink()

    def has(self, path: str) -> bool:
        """Return whether a path is that of a file recorded here, of any session."""
        wanted = Path(os.path.abspath(path))
        with self._guard:
            return wanted in self._holders or wanted in self._uploaded

    def is_page(self, path: str) -> bool:
        """Return whether a path is that of a page of the app's own, such as a report."""
        wanted = Path(os.path.abspath(path))
        with self._guard:
            return wanted.suffix == ".html" and APP in self._holders.get(wanted, set())

    def claim(self, session: str, path: str) -> Path:
        """Return the path of a file that a session may read, and count it as one of the session's.

        Raises:
            PhotographError: the path is that of another session's file, or of none here.
        """
        wanted = Path(os.path.abspath(path))
        with self._guard:
            if {session, APP} & self._holders.get(wanted, set()):
                return wanted
            if not self._uploaded[wanted]:
                raise PhotographError(GONE)
            self._uploaded[wanted] -= 1
            if not self._uploaded[wanted]:
                del self._uploaded[wanted]
            self._holders[wanted].add(session)
            return wanted

    def drop(self, session: str, path: str) -> None:
        """Delete a file of a session unless another one has it too."""
        with self._guard:
            self._drop(session, Path(os.path.abspath(path)))

    def release(self, session: str) -> None:
        """Delete all files of a session that no other has."""
        with self._guard:
            for path in [path for path, holders in self._holders.items() if session in holders]:
                self._drop(session, path)

    def _drop(self, session: str, path: Path) -> None:
        holders = self._holders.get(path)
        if holders is None:
            return
        holders.discard(session)
        if not holders:
            del self._holders[path]
            if self._uploaded[path]:  # another visitor has sent the same file, and is about to claim it
                return
            self._delete(path)

    def _delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        if path.parent != self.folder:
            with suppress(OSError):  # others lie beside it
                path.parent.rmdir()


class Uploads(set[str]):
    """Gradio's set of uploaded files, which tells :class:`SessionFiles` of each."""

    def __init__(self, files: SessionFiles) -> None:
        super().__init__()
        self._files = files

    def update(self, *found: Iterable[str]) -> None:
        """Add uploads."""
        for paths in found:
            self._files.uploaded(paths)
            super().update(paths)
