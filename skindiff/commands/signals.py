"""How work ends when it is told to: its children first, then one line and the status 130 or 143."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from skindiff.commands.terminal import complain

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
GRACE = 10.0
"""Seconds that children have to clean up."""
_PR_SET_PDEATHSIG = 1
_LAUNCHED = "ACCELERATE_MIXED_PRECISION"
"""Set in the processes that ``accelerate launch`` starts."""


class Terminated(BaseException):
    """The process was told to end (SIGTERM)."""


@contextmanager
def ending_in_words() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, by an exception, and a second signal end the process at once.

    A process that was launched ends with the one that launched it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _LAUNCHED in os.environ:
        _end_with_parent()
    before = {one: signal.signal(one, _first) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            if signal.getsignal(one) is _first:  # otherwise the process is about to end
                signal.signal(one, handler)


def _first(number: int, frame: FrameType | None) -> None:
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, _second)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _second(number: int, frame: FrameType | None) -> None:
    for child in _children():
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(128 + number)


def status_of(
    ending: BaseException, *, said: bool = False, then: str = "continue by the same command with --resume"
) -> int:
    """End the children, say how to go on, and return the exit status.

    Args:
        ending: Terminated or KeyboardInterrupt.
        said: a child has said it already.
        then: what is said after how the work ended.
    """
    end_children(quick=isinstance(ending, Terminated))
    if not said and os.environ.get("RANK", "0") == "0":
        word = "ended by SIGTERM" if isinstance(ending, Terminated) else "interrupted"
        complain(f"{word}; {then}")
    return TERMINATED if isinstance(ending, Terminated) else INTERRUPTED


def end_children(*, quick: bool) -> None:
    """Wait until all children have ended, tell them to, and at last kill them.

    Args:
        quick: they have not been told; Ctrl-C in a terminal reaches them all.
    """
    for number in (*([] if quick else [0]), signal.SIGTERM, signal.SIGKILL):
        left = _children()
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.send_signal(number)  # 0 tells nothing
        if not psutil.wait_procs(left, timeout=GRACE)[1]:
            return


def _children() -> list[psutil.Process]:
    return list(psutil.Process().children(recursive=True))


def _end_with_parent() -> None:
    """Be sent SIGTERM when the parent dies, however it does; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == 1:  # it has died already
            raise Terminated
