"""One run at a time in a folder: a lock of the operating system, which ends with the processes that hold it.

Where folders are shared between machines such a lock may not reach the others. So its file names the machine
and is touched while the run lives: a run elsewhere counts as alive until two minutes after its last touch.
"""

import atexit
import contextlib
import errno
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from skindiff.errors import RunFolderError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = "run.lock"
TOUCHED_EVERY, ALIVE_FOR = 30.0, 120.0
"""Seconds."""
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_held: dict[Path, "RunLock"] = {}
"""The locks of this process, which may open its own folder again."""


class RunLock:
    """The lock of a run folder, held by all processes of a launch.

    Args:
        folder: of the run; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder.resolve() / LOCK_FILE
        self._descriptor: int | None = None
        self._stopped = threading.Event()

    @classmethod
    def of(cls, folder: Path) -> "RunLock":
        """Return the lock that this process holds of a folder, or a new one."""
        return _held.get(folder.resolve() / LOCK_FILE) or cls(folder)

    def acquire(self) -> None:
        """Claim the folder for this launch, from its main process.

        Raises:
            RunFolderError: another run is alive in it.
            OSError: the folder cannot be written to.
        """
        if self._descriptor is not None:
            return
        self._descriptor = self._opened()
        about = {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%H:%M")}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(about).encode(), 0)
        try:
            self._flock(self._descriptor, "LOCK_SH")
        except BlockingIOError:  # another run came in between
            os.close(self._descriptor)
            self._descriptor = None
            raise self._in_use({}) from None
        _held[self.file] = self
        atexit.register(self.release)
        threading.Thread(target=self._touch, daemon=True, name="run lock").start()

    def join(self) -> None:
        """Hold what the main process has claimed, from another process of the launch."""
        if self._descriptor is None and self.file.is_file():
            self._descriptor = os.open(self.file, os.O_RDWR)
            self._flock(self._descriptor, "LOCK_SH")
            _held[self.file] = self

    def release(self) -> None:
        """Give the folder up; nothing happens where it is not held."""
        if self._descriptor is None:
            return
        self._stopped.set()
        if _held.pop(self.file, None) is self and self._is_mine():
            self.file.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None
        atexit.unregister(self.release)

    def _opened(self) -> int:
        while True:
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                locked = self._flock(descriptor, "LOCK_EX")
            except BlockingIOError:
                about = self._read(descriptor)
                os.close(descriptor)
                raise self._in_use(about) from None
            about = self._read(descriptor)
            if self._alive_elsewhere(about, locked=locked):
                os.close(descriptor)
                raise self._in_use(about)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self.file.stat()):
                    return descriptor
            os.close(descriptor)  # its holder has deleted it in the meantime

    def _alive_elsewhere(self, about: dict[str, Any], *, locked: bool) -> bool:
        """Whether a run is alive that the lock of this machine's system may not know of."""
        if not about:
            return False
        if about.get("host") == socket.gethostname():
            return not locked and about.get("process") != os.getpid() and is_running(about.get("process"))
        return time.time() - self.file.stat().st_mtime < ALIVE_FOR

    def _in_use(self, about: dict[str, Any]) -> RunFolderError:
        host, process, since = (about.get(name, "unknown") for name in ("host", "process", "since"))
        return RunFolderError(
            f"output_dir: a run is at work in {self.file.parent} (process {process} on {host}, since "
            f"{since}): wait until it ends, stop it, or name another folder. One that has died holds nothing "
            f"on its own machine, and nothing for others after {ALIVE_FOR:.0f} seconds"
        )

    def _touch(self) -> None:
        while not self._stopped.wait(TOUCHED_EVERY):
            with contextlib.suppress(OSError):
                os.utime(self.file)

    def _is_mine(self) -> bool:
        """Whether this process wrote the file: the main one of the launch deletes it."""
        assert self._descriptor is not None
        return self._read(self._descriptor).get("process") == os.getpid()

    @staticmethod
    def _read(descriptor: int) -> dict[str, Any]:
        try:
            found = json.loads(os.pread(descriptor, 4096, 0))
        except ValueError:  # a run was killed before it had written who it is
            return {}
        return found if isinstance(found, dict) else {}

    @staticmethod
    def _flock(descriptor: int, how: str) -> bool:
        """Lock without waiting; return whether this file system has such locks."""
        if fcntl is None:
            return False
        try:
            fcntl.flock(descriptor, getattr(fcntl, how) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
            raise
        return True


def is_running(process: Any) -> bool:
    """Whether a process of this machine is alive."""
    if not isinstance(process, int) or process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
