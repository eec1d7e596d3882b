"""Processes that die by SIGKILL at an operation on files or after a time, forked where all is imported."""

import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR

Work = Callable[[], Any]


class Counter:
    """Counts what this process does to files, and ends it at one of these operations."""

    def __init__(self, last: int | None = None) -> None:
        self.count, self.last = 0, last

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES):
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)


def operations(work: Work) -> tuple[int, float]:
    """Do the work to its end in a process of its own, and return its operations on files and its seconds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "count"
        counter = Counter()

        def counted() -> None:
            sys.addaudithook(counter)
            work()
            said.write_text(str(counter.count))

        code, text = _wait(_forked(counted, Path(folder) / "output"))
        assert code == 0, text
        return int(said.read_text()), time.monotonic() - began


def dies(work: Work, chance: random.Random, count: int, seconds: float) -> bool:
    """Do the work in a process that is killed, at a random operation or moment; whether that came to be.

    Raises:
        AssertionError: the process ended by itself, and not well.
    """
    by_time = chance.random() < 0.3
    counter = Counter(None if by_time else chance.randrange(1, count + 1))

    def watched() -> None:
        sys.addaudithook(counter)
        work()

    with tempfile.TemporaryDirectory() as folder:
        child = _forked(watched, Path(folder) / "output")
        if by_time:
            time.sleep(chance.random() * seconds)
            os.kill(child[0], signal.SIGKILL)
        code, text = _wait(child)
    assert code in (0, -signal.SIGKILL), text
    return code != 0


def ends(work: Work) -> tuple[int, str]:
    """Do the work in a process of its own, and return its exit status and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        return _wait(_forked(work, Path(folder) / "output"))


def _forked(work: Work, output: Path) -> tuple[int, Path]:
    child = os.fork()
    if child:
        return child, output
    try:
        stream = os.open(output, os.O_CREAT | os.O_WRONLY)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.stdout = sys.stderr = os.fdopen(stream, "w", buffering=1)  # pytest has others
        work()
    except SystemExit as ending:
        sys.stderr.flush()
        os._exit(ending.code if isinstance(ending.code, int) else 0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _wait(child: tuple[int, Path]) -> tuple[int, str]:
    status = os.waitpid(child[0], 0)[1]
    text = child[1].read_text(errors="replace")[-4000:] if child[1].is_file() else ""
    return os.waitstatus_to_exitcode(status), text
