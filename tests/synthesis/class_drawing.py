"""What the tests of class plans run in a process of its own, to kill it.

``python -m tests.synthesis.class_drawing FOLDER [--kill_at_shard N]``
"""

import argparse
import os
import signal
from pathlib import Path

import torch
from datasets import Dataset

from skindiff.synthesis.class_synthesis import ClassSynthesisConfig, draw_by_class
from skindiff.synthesis.strategies import Synthetic
from tests.studies import make_study
from tests.tiny_generators import tiny_corpus_of_classes, tiny_ddpm

CONFIG = ClassSynthesisConfig(
    budget="table", table={"one": 2, "two": 5}, steps=2, batch_size=2, rows_per_shard=2
)


def sources() -> Dataset:
    return tiny_corpus_of_classes(6)


def draw(folder: Path, config: ClassSynthesisConfig = CONFIG) -> Synthetic:
    generator = folder.parent / "ddpm"
    if not generator.is_dir():
        tiny_ddpm().save_pretrained(generator)
    return draw_by_class(make_study(folder, sources(), seed=1, config=config), generator, config)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill_at_shard", type=int, default=-1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    replace = os.replace

    def replace_or_die(partial: Path, path: Path) -> None:
        if Path(path).name.startswith(f"synthetic-{options.kill_at_shard:05d}-"):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(partial, path)

    if options.kill_at_shard >= 0:
        os.replace = replace_or_die
    draw(options.folder)


if __name__ == "__main__":
    main()
