"""What does other work on the machine cost? Images per second alone and beside one busy process.

    python scripts/bench_shared_machine.py [--turns 3] [--seconds 10] [--output bench.json]

The bundled pipeline generates on all cores: with OpenMP's threads waiting as skindiff has them, sleeping at
once, and spinning for as long as libgomp has them spin by default. Turns alternate. It says something only
where little else runs.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from jsonargparse import auto_cli

from skindiff.errors import ConfigError

WAITING = {
    "ours": {},
    "sleeping": {"OMP_WAIT_POLICY": "passive"},
    "spinning": {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "300000"},
}
"""Environments; the last is libgomp's default where no policy is set (GCC's manual, "GOMP_SPINCOUNT")."""
_WORK = """
import sys, time
import skindiff, torch
torch.set_num_threads(int(sys.argv[2]))
pipeline = skindiff.load("bundled")
pipeline.set_progress_bar_config(disable=True)
draw = lambda: pipeline(["a photo of skin"] * 4, num_inference_steps=10)
draw()
made, start = 0, time.perf_counter()
while time.perf_counter() - start < float(sys.argv[1]):
    draw()
    made += 4
print(made / (time.perf_counter() - start))
"""
_BUSY = "while True: pass"


@dataclass
class Bench:
    """How long, and how often."""

    seconds: float = 10.0
    """How long a turn generates."""
    turns: int = 3
    """Turns of each of the six combinations."""
    output: str | None = None
    """File of the figures as JSON; none when left out."""


def rate(seconds: float, environment: dict[str, str], beside: bool) -> float:
    """Return images per second of a process of its own, with another busy one beside it or not."""
    busy = subprocess.Popen([sys.executable, "-c", _BUSY]) if beside else None
    try:
        done = subprocess.run(
            [sys.executable, "-c", _WORK, str(seconds), str(len(os.sched_getaffinity(0)))],
            env={**_without_policy(), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        if busy:
            busy.kill()
            busy.wait()
    return float(done.stdout.splitlines()[-1])


def _without_policy() -> dict[str, str]:
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
    return {name: value for name, value in os.environ.items() if name not in ours}


def main(config: Bench) -> dict[str, list[float]]:
    """Measure, and print a line for each combination.

    Raises:
        ConfigError: nothing would be measured.
    """
    if config.turns < 1 or config.seconds <= 0:
        raise ConfigError(f"turns and seconds are {config.turns} and {config.seconds}; give more than 0")
    found: dict[str, list[float]] = {}
    for _, beside, waiting in product(range(config.turns), (False, True), WAITING):
        name = f"{waiting}, {'beside another' if beside else 'alone'}"
        speed = rate(config.seconds, WAITING[waiting], beside)
        found.setdefault(name, []).append(speed)
        print(f"{time.strftime('%H:%M:%S')} {name}: {speed:.2f} images/s", flush=True)
    for name, speeds in found.items():
        print(f"{name}: median {sorted(speeds)[len(speeds) // 2]:.2f} images/s of {len(speeds)} turns")
    if config.output:
        Path(config.output).write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


if __name__ == "__main__":
    main(auto_cli(Bench, as_positional=False))
