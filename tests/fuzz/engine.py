"""Tries hostile inputs for a while, from a seed: what is no answer and no line of our own is a finding."""

import contextlib
import io
import logging
import os
import random
import re
import resource
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skindiff.errors import SkindiffError

SECRET = "hunter2"
"""In files that no input has a right to read: an error that has it has quoted one."""
HANG = 6.0
"""Seconds that an input may take on a busy machine; the slowest honest one takes half of one."""
MEMORY = 3 * 2**30
"""Bytes that an input may ask for beyond what the process has."""
LONGEST = 1500
"""Characters of an error."""
_BEYOND = re.compile(
    r"(?i)can't allocate|cannot allocate|unable to allocate|alloc_cpu|out of memory|recursion depth|bad_alloc"
)
"""What a library says that was asked for more than there is, in the words of an error of ours."""


class Hang(BaseException):
    """An input took too long; nothing that catches errors catches it."""


class Believed(Exception):
    """Something was taken for good that is not."""


Attempt = Callable[[random.Random], None]
"""Makes an input, gives it to skindiff, and raises what comes of it."""


@dataclass(frozen=True)
class Kind:
    """A kind of hostile input.

    Attributes:
        name: of it.
        prepare: makes what honest inputs are made of in an empty folder, and returns an attempt.
        weight: of its share in the time; a slow kind has more.
    """

    name: str
    prepare: Callable[[Path], Attempt]
    weight: float = 1.0


@dataclass
class Outcome:
    """What became of the inputs of a kind.

    Attributes:
        tried: how many there were.
        refused: how many of them were refused in a line of our own.
        findings: what went wrong, by the place in the code, with the number of the first input.
        hangs: how many took too long.
    """

    tried: int = 0
    refused: int = 0
    findings: dict[str, str] = field(default_factory=dict)
    hangs: int = 0

    @property
    def failed(self) -> bool:
        """Whether anything was found."""
        return bool(self.findings or self.hangs)


def share(kind: Kind, kinds: Sequence[Kind], seconds: float) -> float:
    """Return the seconds of a kind in a budget of all kinds."""
    return seconds * kind.weight / sum(one.weight for one in kinds)


def fuzz(
    kind: Kind, attempt: Attempt, seed: int, seconds: float, *, inputs: int = 10**9, stop: bool = False
) -> Outcome:
    """Try inputs until the time is up.

    Args:
        kind: of them.
        attempt: what ``kind.prepare`` returned.
        seed: decides all inputs, in their order.
        seconds: the budget.
        inputs: at most so many.
        stop: at the first finding.
    """
    outcome = Outcome()
    end = time.monotonic() + seconds
    with _bounded():
        while outcome.tried < inputs and time.monotonic() < end and not (stop and outcome.failed):
            rng = random.Random(f"{kind.name} {seed} {outcome.tried}")
            _try(attempt, rng, outcome)
            outcome.tried += 1
    return outcome


def _try(attempt: Attempt, rng: random.Random, outcome: Outcome) -> None:
    signal.setitimer(signal.ITIMER_REAL, HANG)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            attempt(rng)
    except SkindiffError as error:
        outcome.refused += 1
        if wrong := _wrong_line(str(error)):
            _note(outcome, error, wrong)
    except Hang as error:
        outcome.hangs += 1
        _note(outcome, error, "hang")
    except Exception as error:
        _note(outcome, error, f"{type(error).__name__}: {str(error)[:160]}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _wrong_line(said: str) -> str | None:
    if SECRET in said:
        return "the error quotes another file"
    if "\n" in said or len(said) > LONGEST:
        return f"the error is no line but {len(said)} characters"
    found = _BEYOND.search(said)
    return f"the error says {found[0]!r}" if found else None


def _note(outcome: Outcome, error: BaseException, what: str) -> None:
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/skindiff/" in frame.filename]
    last = ours[-1] if ours else traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(last.filename)}:{last.name}"
    said = f"input {outcome.tried}, {place}:{last.lineno}: {' '.join(what.split())}"
    outcome.findings.setdefault(f"{place} {what[:60]}", said)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Let no input take the machine's memory, and none take longer than it may."""

    def hang(number: int, frame: Any) -> None:
        raise Hang

    limit = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, hang)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
        signal.signal(signal.SIGALRM, before)
        logging.disable(level)
