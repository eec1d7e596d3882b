"""Progress: a bar in a terminal, and a line now and then in a log file."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm

logger = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 30.0
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s after {elapsed}, about {remaining} to go"


class _Lines:
    """A stream that takes a bar's text as lines of the log."""

    def write(self, text: str) -> None:
        """Log what is not empty."""
        if line := text.strip("\r\n "):
            logger.info("%s", line)

    def flush(self) -> None:
        """Nothing is held back."""


def progress(
    work: Iterable[Any] | None = None,
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    disable: bool = False,
) -> Any:
    """Return a progress bar of tqdm, shown after two seconds; where the output is a file, lines of the log.

    Args:
        work: what is gone through; a bar without it is moved by ``update``.
        desc: what is being done.
        unit: what is counted, in the singular.
        total: how many there are, where ``work`` does not say.
        initial: how many are done already.
        disable: show nothing.
    """
    shown: dict[str, Any] = {"leave": False}
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules):
        shown |= {"file": _Lines(), "bar_format": _LINE, "position": 0}  # a place of its own moves a cursor
        shown |= {"mininterval": SECONDS_BETWEEN_LINES, "maxinterval": SECONDS_BETWEEN_LINES}
    delay = SECONDS_BETWEEN_LINES if "file" in shown else 2.0
    return tqdm(
        work, desc=desc, unit=unit, total=total, initial=initial, disable=disable, delay=delay, **shown
    )


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Log how long a part of the work took: by the clock, and of the processor."""
    began, used = time.perf_counter(), time.process_time()
    yield
    took, used = time.perf_counter() - began, time.process_time() - used
    logger.info("%s: %.1f s, %.1f s of the processor", name, took, used)


def duration(seconds: float) -> str:
    """Return a time such as ``1 h 14 min``, ``6 min 13 s`` or ``15.9 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
