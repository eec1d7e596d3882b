"""The files of the demo: which session each belongs to, gone when the last of its sessions is."""

import os
import threading
from collections import defaultdict
from pathlib import Path

from gradio.processing_utils import hash_bytes


class SessionFiles:
    """Files that the page shows and offers, each under a name made of its content.

    Args:
        folder: holds them all, and what visitors upload.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._holders: dict[Path, set[str]] = defaultdict(set)
        self._guard = threading.Lock()

    def keep(self, session: str, data: bytes, name: str) -> str:
        """Write a file of a session and return its path, where Gradio serves it from without a copy."""
        path = self.folder / hash_bytes(data) / name
        with self._guard:
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                partial = path.with_name(f".{name}")
                partial.write_bytes(data)
                os.replace(partial, path)
            os.utime(path)  # Gradio deletes by age what no session has said goodbye to
            self._holders[path].add(session)
        return str(path)

    def adopt(self, session: str, path: str) -> None:
        """Count an uploaded file as one of a session; files that lie elsewhere are none."""
        with self._guard:
            if Path(path).resolve().is_relative_to(self.folder):
                self._holders[Path(path).resolve()].add(session)

    def drop(self, session: str, path: str) -> None:
        """Delete a file of a session unless another one has it too."""
        with self._guard:
            self._drop(session, Path(path).resolve())

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
            path.unlink(missing_ok=True)
            if path.parent != self.folder and not any(path.parent.iterdir()):
                path.parent.rmdir()
