"""The processes of a launch wait for one another by files, so that no collective times out over long work.

A barrier or a gather gives up after some minutes, NCCL's after ten. So every process keeps a small file in a
folder that all of them see: who it is, how many meetings it has come to, and by its time that it lives.
"""

import atexit
import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from skindiff.errors import LaunchError
from skindiff.run_lock import ALIVE_FOR, TOUCHED_EVERY, is_running

logger = logging.getLogger(__name__)
SIGN = ".process-"
"""How the names of the files begin."""
GRACE = 5.0
"""Seconds for the launcher to end the processes that are left, once one has died."""
SAID_AFTER = 60.0
"""Seconds of waiting after which it is said."""
_SHORTEST, _LONGEST = 0.005, 0.5
"""Seconds between two looks."""
_BYTES = 256
"""Length of a file: written in place, as a shared file system may show the old one for long otherwise."""
_running: "Peers | None" = None


class Launched(Protocol):
    """What an accelerator tells of its processes."""

    num_processes: Any
    process_index: Any

    def wait_for_everyone(self) -> None:
        """Meet in a collective."""


class Peers:
    """The processes of a launch; :meth:`of` gives those that this one belongs to.

    Args:
        accelerator: knows them; all processes come here at about the same time.
        folder: that all of them see; one process alone writes nothing.
    """

    def __init__(self, accelerator: Launched, folder: Path) -> None:
        self._count, self._own = int(accelerator.num_processes), int(accelerator.process_index)
        self._folder, self._met = folder, 0
        self._stopped = threading.Event()
        if self._count > 1:
            folder.mkdir(parents=True, exist_ok=True)
            # Of a launch whose main process was refused none comes further: its files are another launch's.
            accelerator.wait_for_everyone()
            self._write()
            accelerator.wait_for_everyone()  # what a launch before this one has left is overwritten now
            threading.Thread(target=self._touch, daemon=True, name="peers").start()
            atexit.register(self.leave)

    @classmethod
    def of(cls, accelerator: Launched, folder: Path) -> "Peers":
        """Return the processes that work together with this one.

        Args:
            accelerator: of all processes, or of one that works by itself.
            folder: where they leave their files, if they have left none yet.
        """
        global _running
        if accelerator.num_processes == 1:
            return cls(accelerator, folder)
        if _running is None:
            _running = cls(accelerator, folder)
        return _running

    def meet(self, doing: str) -> None:
        """Wait until every process has come here.

        Args:
            doing: what those who are not here yet do, for people.

        Raises:
            LaunchError: one of them has died, or gives no sign of life.
        """
        self._come()
        self._wait_for([index for index in range(self._count) if index != self._own], self._met, doing)

    @contextlib.contextmanager
    def main_first(self, doing: str) -> Iterator[None]:
        """Run the block on the main process, and then on the others, which find what it has made.

        Args:
            doing: what is done, for people.

        Raises:
            LaunchError: the main process has died, or gives no sign of life.
        """
        if self._own != 0:
            self._wait_for([0], self._met + 1, doing)
        yield
        self._come()

    def end(self, accelerator: Launched) -> None:
        """Meet for the last time, and take the files away."""
        if self._count > 1:
            self.meet("ending")
            accelerator.wait_for_everyone()  # nobody looks for a file any more
            self.leave()
            self._file(self._own).unlink(missing_ok=True)

    def leave(self) -> None:
        """Say that this process comes to no further meeting."""
        global _running
        if self._count > 1 and not self._stopped.is_set():
            self._stopped.set()
            atexit.unregister(self.leave)
            with contextlib.suppress(OSError):
                self._write(ended=True)
            if _running is self:
                _running = None

    def _come(self) -> None:
        self._met += 1
        if self._count > 1:
            self._write()

    def _file(self, index: int) -> Path:
        return self._folder / f"{SIGN}{index:05d}"

    def _write(self, *, ended: bool = False) -> None:
        about = {"host": socket.gethostname(), "process": os.getpid(), "met": self._met, "ended": ended}
        descriptor = os.open(self._file(self._own), os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, json.dumps(about).ljust(_BYTES).encode(), 0)
        finally:
            os.close(descriptor)

    def _touch(self) -> None:
        while not self._stopped.wait(TOUCHED_EVERY):
            with contextlib.suppress(OSError):
                os.utime(self._file(self._own))

    def _read(self, index: int) -> tuple[dict[str, Any], float]:
        """Return what a process says of itself, and when it last did; nothing while it is writing."""
        file = self._file(index)
        try:
            return json.loads(file.read_text(encoding="utf-8")), file.stat().st_mtime
        except (OSError, ValueError):
            return {}, 0.0

    def _wait_for(self, others: Sequence[int], meeting: int, doing: str) -> None:
        began, said = time.monotonic(), False
        for index in others:
            # Time is counted by looks: a machine that was suspended has not waited meanwhile.
            pause, silent, gone, last = _SHORTEST, 0.0, 0.0, -1.0
            while (found := self._read(index))[0].get("met", 0) < meeting:
                about, touched = found
                silent, last = (silent + pause, last) if touched == last else (0.0, touched)
                gone = gone + pause if _has_ended(about) else 0.0
                if gone > GRACE or silent > ALIVE_FOR:
                    raise self._lost(index, about, doing, silent=gone <= GRACE)
                if not said and time.monotonic() - began > SAID_AFTER:
                    logger.info("process %d waits for process %d (%s)", self._own, index, doing)
                    said = True
                time.sleep(pause)
                pause = min(1.5 * pause, _LONGEST)

    def _lost(self, index: int, about: dict[str, Any], doing: str, *, silent: bool) -> LaunchError:
        who = f"process {index} of {self._count}"
        if about:
            who += f" ({about.get('process')} on {about.get('host')})"
        if silent:
            return LaunchError(
                f"{who} gave no sign of life for {ALIVE_FOR:.0f} seconds while the others waited for it "
                f"({doing}): see that its machine runs and sees {self._folder}, and go on by --resume"
            )
        return LaunchError(
            f"{who} has ended while the others waited for it ({doing}): see what it said, and go on by "
            "--resume"
        )


def _has_ended(about: dict[str, Any]) -> bool:
    """Whether a process says that it has ended, or is gone from this machine."""
    if about.get("ended"):
        return True
    return about.get("host") == socket.gethostname() and not is_running(about.get("process"))
