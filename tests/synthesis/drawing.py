"""What the tests of the writer run in a process of its own, to kill it or to have two of them.

``python -m tests.synthesis.drawing FOLDER [--kill_at_shard N]``
"""

import argparse
import os
import signal
from pathlib import Path

import torch
from accelerate import Accelerator
from datasets import Dataset

from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.writer import write_synthetic
from tests.tiny import tiny_corpus, tiny_pipeline

SOURCES = tiny_corpus(6).select([0, 1, 4, 5])
CONFIG = SynthesisConfig(strategy="vanilla", images_per_source=3, batch_size=2, steps=4)
ROWS_PER_SHARD = 4


def plan() -> Dataset:
    return make_plan(SOURCES, CONFIG, seed=1, generator="tiny@0", threads=1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill_at_shard", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    replace = os.replace

    def replace_or_die(partial: Path, path: Path) -> None:
        if Path(path).name.startswith(f"synthetic-{options.kill_at_shard or 0:05d}-"):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(partial, path)

    if options.kill_at_shard is not None:
        os.replace = replace_or_die
    write_synthetic(
        Accelerator(cpu=True), plan(), tiny_pipeline(), SOURCES, options.folder, rows_per_shard=ROWS_PER_SHARD
    )


if __name__ == "__main__":
    main()
