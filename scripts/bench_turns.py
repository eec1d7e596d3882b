"""Trainings that take turns: one is suspended while the other works, and each is timed by its progress bar."""

import os
import queue
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from skindiff.errors import ConfigError, SkindiffError

START_SECONDS = 900
ENDLESS = 1_000_000
"""Steps that the trainings are told to take; they are stopped when enough are timed."""


class Trainee:
    """A training in a process of its own, which works only while it is asked to."""

    def __init__(self, name: str, command: list[str], threads: int, folder: Path) -> None:
        self.name = name
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(folder / "cache"),
            # So that the bars write each step, and at once.
            "TQDM_MININTERVAL": "0",
            "PYTHONUNBUFFERED": "1",
        }
        self.process = psutil.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=folder
        )
        self.ticks: queue.Queue[tuple[int, float, float] | None] = queue.Queue()
        self.last_words = ""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Note wall clock and CPU seconds at each step of the progress bar."""
        rest = b""
        while chunk := os.read(self.process.stdout.fileno(), 65536):
            *lines, rest = re.split(rb"[\r\n]", rest + chunk)
            for line in lines:
                if step := re.search(rb"\b(\d+)/%d \[" % ENDLESS, line):
                    self.ticks.put((int(step[1]), time.perf_counter(), self._cpu_seconds()))
                elif line.strip():
                    self.last_words = line.decode(errors="replace").strip()
            # What is left when a bar ends a line without \r is its newest state.
            if step := re.search(rb"\b(\d+)/%d \[.*\]" % ENDLESS, rest):
                self.ticks.put((int(step[1]), time.perf_counter(), self._cpu_seconds()))
                rest = b""
        self.ticks.put(None)

    def _cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def _next_tick(self, after: int) -> tuple[int, float, float]:
        """Return step, wall clock and CPU seconds of the first tick beyond step ``after``."""
        while True:
            try:
                tick = self.ticks.get(timeout=START_SECONDS)
            except queue.Empty:
                raise SkindiffError(f"{self.name}: no step in {START_SECONDS} s: {self.last_words}") from None
            if tick is None:
                raise SkindiffError(f"{self.name} stopped before it was timed: {self.last_words}")
            if tick[0] > after:
                return tick

    def work(self, steps: int, suspend: bool = True) -> tuple[float, float]:
        """Go on for ``steps`` steps after one that is not timed, and return wall and CPU steps per second."""
        while not self.ticks.empty():
            self.ticks.get()
        self.process.resume()
        first, began, cpu_began = self._next_tick(0)
        last, ended, cpu_ended = self._next_tick(first + steps - 1)
        if suspend:
            self.process.suspend()
        return (last - first) / (ended - began), (last - first) / max(cpu_ended - cpu_began, 1e-9)

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def compare(rates: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Return rates and ratios of turns, each ``((wall, CPU) of theirs, (wall, CPU) of ours)`` per second."""

    def spread(values: list[float]) -> dict[str, float]:
        return {"median": statistics.median(values), "low": min(values), "high": max(values)}

    return {
        "theirs": spread([theirs[0] for theirs, _ in rates]),
        "ours": spread([ours[0] for _, ours in rates]),
        "ratio": spread([ours[0] / theirs[0] for theirs, ours in rates]),
        "cpu_ratio": spread([ours[1] / theirs[1] for theirs, ours in rates]),
    }


@contextmanager
def timed(result: list[float]) -> Iterator[None]:
    """Append wall and CPU seconds of the context to ``result``."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    result += [time.perf_counter() - wall, time.process_time() - cpu]


def commit_of(repository: str) -> str:
    """Return the commit that a checkout stands at."""
    done = subprocess.run(["git", "-C", repository, "rev-parse", "HEAD"], capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(
            f"diffusers_repository: git names no commit of {repository!r} ({done.stderr.strip()}): give a "
            "checkout made by git clone"
        )
    return done.stdout.strip()
