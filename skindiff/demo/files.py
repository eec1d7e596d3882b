"""The files of the demo: which session each belongs to, gone when the last of its sessions is."""

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from gradio.processing_utils import hash_bytes

from skindiff.demo.photographs import GONE, PhotographError
from skindiff.files import write_atomically

APP = "app"
"""Holder of the files that every session may use."""


class SessionFiles:
    """Files that the page shows and offers, each under a name made of its content.

    A path that a client sends is looked up among the files recorded here and nowhere else: the file system
    is not asked, so an answer says nothing about other files of the machine.

    Args:
        folder: holds them all, and what visitors upload.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._holders: dict[Path, set[str]] = defaultdict(set)
        self._uploaded: Counter[Path] = Counter()
        self._guard = threading.Lock()

    def keep(self, session: str, data: bytes, name: str) -> str:
        """Write a file of a session and return its path, where Gradio serves it from without a copy."""
        path = self.folder / hash_bytes(data) / name
        with self._guard:
            if not path.exists():
                write_atomically(path, data)
            os.utime(path)  # Gradio deletes by age what no session has said goodbye to
            self._holders[path].add(session)
        return str(path)

    def uploaded(self, paths: Iterable[str]) -> None:
        """Record uploads: each may be claimed by one session, the first that names it."""
        with self._guard:
            self._uploaded.update(Path(path) for path in paths)

    def has(self, path: str) -> bool:
        """Return whether a path is that of a file recorded here, of any session."""
        wanted = Path(os.path.abspath(path))
        with self._guard:
            return wanted in self._holders or wanted in self._uploaded

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
            path.unlink(missing_ok=True)
            if path.parent != self.folder and not any(path.parent.iterdir()):
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
