"""Run the seeds of a study side by side, each as a process, and keep their cells as they are finished.

    python scripts/run_seeds.py --recipe recipes/medmnist_subsets.py \\
        --settings recipes/medmnist_subsets/breastmnist.yaml --seeds "[1, 2, 3, 4]" \\
        --keep recipes/medmnist_subsets/results/breastmnist.parquet --at_once 4 --minutes 30

For a machine that is lent for a while: every process has one thread, a GPU is shared, and what was finished
when the time is up is in the file, which later runs of the study take as done. Run it again to go on.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keep_cells
from jsonargparse import auto_cli, set_parsing_settings

from skindiff.commands.signals import Terminated, ending_in_words, status_of
from skindiff.errors import ConfigError, SkindiffError


@dataclass
class Seeds:
    """Seeds of one study."""

    recipe: str
    """The recipe's file."""
    settings: str
    """Its file of settings, which the recipe calls --config."""
    seeds: list[int]
    """Which to run."""
    keep: str
    """File of finished cells; ends in .parquet."""
    setting: str = "seeds"
    """What the recipe calls its seeds: seeds, or split_seeds."""
    further: list[str] = field(default_factory=list)
    """Further words for the recipe, such as ["--ladder", "null"]."""
    folder: str = "runs/seeds"
    """Holds a run and a log for each seed, and the corpus that they share."""
    at_once: int = os.cpu_count() or 1
    """Processes at a time."""
    minutes: float = float("inf")
    """When to stop; what is begun then goes on at the next call."""
    every: float = 30.0
    """Seconds between two looks at what is finished."""


def check(given: Seeds) -> None:
    """Raise :class:`ConfigError` on the first setting that cannot work."""
    for name in ("recipe", "settings"):
        if not Path(getattr(given, name)).is_file():
            raise ConfigError(f"{name}: there is no file {getattr(given, name)!r}")
    if not given.seeds or len(set(given.seeds)) < len(given.seeds):
        raise ConfigError(f"seeds: {given.seeds} must name at least one, and each once")
    if given.at_once < 1 or given.minutes <= 0 or given.every <= 0:
        raise ConfigError("at_once, minutes and every must be above 0")
    if not given.keep.endswith(".parquet"):
        raise ConfigError(f"keep: {given.keep!r} must end in .parquet")


def begin(given: Seeds, seed: int) -> subprocess.Popen[bytes]:
    """Start the run of a seed."""
    folder = Path(given.folder)
    words = [
        sys.executable, given.recipe, "--config", given.settings, f"--{given.setting}", f"[{seed}]",
        "--corpus.cache_dir", str(folder / "cache"), "--output_dir", str(folder / f"seed-{seed}"),
        "--resume", "true", *given.further,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    with (folder / f"seed-{seed}.log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment)


def keep(given: Seeds) -> None:
    """Add what is finished to the file of cells."""
    runs = [Path(given.folder) / f"seed-{seed}" for seed in given.seeds]
    for said in [keep_cells.keep(run, Path(given.keep)) for run in runs if run.is_dir()]:
        print(time.strftime("%H:%M:%S"), said, flush=True)


def end(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Tell runs to stop, and wait until they have."""
    for process in running:
        process.terminate()
    for process in running:
        process.wait()


def main(given: Seeds) -> int:
    """Run, keep, and return 1 if the run of a seed has failed."""
    check(given)
    Path(given.folder).mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * given.minutes
    waiting, running, failed = list(given.seeds), dict[int, subprocess.Popen[bytes]](), list[int]()
    try:
        while (waiting or running) and time.monotonic() < deadline:
            while waiting and len(running) < given.at_once:
                seed = waiting.pop(0)
                running[seed] = begin(given, seed)
            time.sleep(min(given.every, max(0.0, deadline - time.monotonic())))
            for seed, process in list(running.items()):
                if process.poll() is not None:
                    del running[seed]
                    failed += [seed] if process.returncode else []
            keep(given)
    finally:
        end(list(running.values()))
        keep(given)
    for said, seeds in (("failed", failed), ("begun and not finished", running), ("not begun", waiting)):
        if seeds:
            print(f"{said}: {json.dumps(list(seeds))} (see {given.folder}/seed-*.log)")
    return 1 if failed else 0


if __name__ == "__main__":
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    try:
        with ending_in_words():
            sys.exit(main(auto_cli(Seeds, as_positional=False)))
    except SkindiffError as error:
        sys.exit(f"error: {error}")
    except (Terminated, KeyboardInterrupt) as ending:
        sys.exit(status_of(ending, then="run it again to go on"))
