"""Trainings that take turns: one is suspended while the other works, and each is timed by its steps.

    python scripts/bench_turns.py PEAK SCRIPT --and --its words

runs a training script so that it prints a line after every optimiser step, and leaves its peak memory in a
file.
"""

import itertools
import json
import os
import queue
import runpy
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from datasets import Dataset
from torch.optim.optimizer import register_optimizer_step_post_hook

from skindiff.errors import ConfigError, SkindiffError
from skindiff.generators.prompts import prompt_for

START_SECONDS = 900
ENDLESS = 1_000_000
"""Steps that the trainings are told to take; they are stopped when enough are timed."""
STEP = "optimiser step "


class Trainee:
    """A training in a process of its own, which works only while it is asked to."""

    def __init__(self, name: str, words: list[str], threads: int, folder: Path, *, own: bool = True) -> None:
        """Start a script.

        Args:
            name: of what it trains.
            words: its path and what follows it on the command line.
            threads: CPU threads.
            folder: where it runs.
            own: threads wait as skindiff has them, and otherwise as libgomp has them where nobody says how.
        """
        self.name, self._peak = name, folder / f"peak of {name}"
        waiting = () if own else ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
        environment = {name: value for name, value in os.environ.items() if name not in waiting} | {
            "OMP_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(folder / "cache"),
        }
        command = [sys.executable, str(Path(__file__).resolve()), str(self._peak), *words]
        self.process = psutil.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=folder
        )
        self.ticks: queue.Queue[tuple[int, float, float] | None] = queue.Queue()
        self.last_words = ""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Note wall clock and CPU seconds at each step."""
        for line in self.process.stdout:
            said = line.decode(errors="replace").rpartition("\r")[2].strip()
            _, found, step = said.rpartition(STEP)  # it may follow a progress bar that did not end its line
            if found:
                self.ticks.put((int(step), time.perf_counter(), self._cpu_seconds()))
            elif said:
                self.last_words = said
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

    def end(self) -> float:
        """Ask the process to end, and return the peak memory in GiB that it leaves behind."""
        self.process.resume()
        self.process.terminate()
        self.process.wait(timeout=120)
        return float(self._peak.read_text(encoding="ascii"))

    def stop(self) -> None:
        """End the process, if it has not."""
        if self.process.is_running():
            self.process.kill()
            self.process.wait()


def peak_gib() -> float:
    """Return the most memory that this process has held: of the GPU where it uses one, or resident."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**30
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def their_words(
    script: Path, training: str, folder: Path, *, size: int, batch_size: int, precision: str = "no"
) -> list[str]:
    """Return the command line of one of diffusers' scripts, with the settings that ours has.

    Args:
        script: of diffusers.
        training: ``lora``, or ``textual_inversion``.
        folder: with what :func:`write_for_both` has written, and the model.
        size: height and width in pixels.
        batch_size: images of a step.
        precision: mixed precision.
    """
    settings: dict[str, Any] = {
        "pretrained_model_name_or_path": folder / "model",
        "resolution": size,
        "train_batch_size": batch_size,
        "max_train_steps": ENDLESS,
        "checkpointing_steps": ENDLESS,
        "learning_rate": 1e-4,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "seed": 0,
        "mixed_precision": precision,
        "output_dir": folder / f"theirs-{training}",
    }
    if training == "lora":
        settings |= {"train_data_dir": folder / "captioned", "rank": 8, "random_flip": None}
    else:
        settings |= {
            "train_data_dir": folder / "pictures",
            "placeholder_token": "<skindiff-bench>",
            "initializer_token": "skin",
            "learnable_property": "object",
            "save_steps": ENDLESS,
        }
    words = [str(script.resolve())]
    for name, value in settings.items():
        words += [f"--{name}"] if value is None else [f"--{name}", str(value)]
    return words


def write_for_both(images: Dataset, folder: Path) -> None:
    """Write the images as ours reads them, and as diffusers' scripts do: pictures, and some with captions."""
    images.save_to_disk(str(folder / "images"))
    names, lines = images.features["label"].names, []
    for place in ("captioned", "pictures"):
        (folder / place).mkdir()
    for number, row in enumerate(images):
        for place in ("captioned", "pictures"):
            row["image"].save(folder / place / f"{number}.png")
        caption = prompt_for(names[row["label"]], row["skin_type"])
        lines.append(json.dumps({"file_name": f"{number}.png", "text": caption}) + "\n")
    (folder / "captioned" / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")


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


def main(peak: str, *words: str) -> None:
    """Run a script that tells its steps, until it ends or is told to."""
    count = itertools.count(1)
    register_optimizer_step_post_hook(lambda *_: print(f"{STEP}{next(count)}", flush=True))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.argv = list(words)
    sys.path.insert(0, str(Path(words[0]).parent))
    try:
        runpy.run_path(words[0], run_name="__main__")
    finally:
        Path(peak).write_text(str(peak_gib()), encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
