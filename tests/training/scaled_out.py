"""A tiny study for any number of processes: ``python -m tests.training.scaled_out FOLDER [--dies RANK]``.

It encodes, trains a LoRA, and generates by the pipeline as it was; process RANK dies in its first shard.
"""

import argparse
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skindiff.launch import start_accelerator
from skindiff.runs import RunFolder
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.writer import write_synthetic
from skindiff.training import encoding
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from tests.tiny import TINY_SIZE, tiny_corpus, tiny_pipeline

ROWS = 40


@dataclass
class Settings:
    """What a run folder keeps."""

    rows: int = ROWS


def die(*_: Any) -> None:
    """End as a machine does that loses its power."""
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dies", type=int)
    arguments = parser.parse_args()
    accelerator = start_accelerator(1, output_dir=arguments.folder)
    run = RunFolder(str(arguments.folder), Settings(), accelerator, resume=True, overwrite=False)
    # Twenty batches in ten shards of each view, although the images are few and small.
    encoding.MOST_SHARDS = 10
    encoding.encode_tables.__kwdefaults__["batch_size"] = 2
    if arguments.dies == accelerator.process_index:
        encoding.save_file = die
    dataset = tiny_corpus(ROWS)
    with run.peers.main_first("reading nothing"):
        pass
    stage = run.stage("lora", rows=ROWS)
    if not stage.done:
        loop = LoopConfig(steps=6, batch_size=8, global_batch_size=8, learning_rate=0.01, checkpoint_every=3)
        config = LoRAConfig(loop=loop, rank=2, validation_examples=8)
        train_lora(
            accelerator, tiny_pipeline(), config, dataset, stage.folder, latent_cache=run.path / "cache"
        )
        stage.finish()
    settings = SynthesisConfig(
        strategy="vanilla",
        targets=["V", "VI"],
        steps=4,
        batch_size=4,
        rows_per_shard=4,
        tone="none",
        image_size=TINY_SIZE,
    )
    plan = make_plan(dataset, settings, seed=0, generator="tiny@0")
    write_synthetic(accelerator, plan, tiny_pipeline(), dataset, run.path / "data", rows_per_shard=4)
    run.end()


if __name__ == "__main__":
    main()
