"""Textual inversion where a model has it, then LoRA: a program to be killed, or run in two processes.

``python -m tests.training.stages FOLDER [--batch_size N] [--kill STAGE STEP] [--buckets] [--model NAME]``,
alone or under ``accelerate launch``, leaves the folders of its stages in FOLDER.
"""

import argparse
import os
import signal
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from skindiff.generators.adapter import Adapter
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training.denoising_task import DenoisingTask
from skindiff.training.loop import MicroBatch
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from skindiff.training.textual_inversion import TextualInversionConfig, train_textual_inversion
from tests.tiny import TINY_BUILDERS, TINY_SIZE, bucketed_corpus, tiny_corpus

SD = "Stable Diffusion 1.x and 2.x"
BUCKETS = ("1:1", "3:2", "3:2", "2:3", "3:2", "1:1", "3:2", "3:2", "2:3", "3:2")


def run_stages(
    accelerator: Accelerator, folder: Path, batch_size: int, buckets: bool = False, model: str = SD
) -> Adapter:
    pipeline, dataset = TINY_BUILDERS[model](), bucketed_corpus(*BUCKETS) if buckets else tiny_corpus()
    loop = LoopConfig(steps=3, batch_size=batch_size, learning_rate=0.05, checkpoint_every=2)
    architecture, learnt = architecture_of(pipeline), None
    if architecture.token_homes:
        words = TextualInversionConfig(loop=loop, validation_examples=8)
        learnt = train_textual_inversion(accelerator, pipeline, words, dataset, folder / "words")
    updates = LoRAConfig(
        loop=LoopConfig(steps=6, batch_size=batch_size, learning_rate=0.02, checkpoint_every=2),
        rank=2,
        train_text_encoder=len(architecture.adaptable(pipeline)) > 1,
        image_size=TINY_SIZE,
        prompt_dropout=0.2,
        noise_offset=0.1,
        validation_examples=8,
    )
    return train_lora(accelerator, pipeline, updates, dataset, folder / "lora", learnt=learnt)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--kill", nargs=2, default=("", "0"))
    parser.add_argument("--buckets", action="store_true")
    parser.add_argument("--model", default=SD)
    args = parser.parse_args()
    torch.set_num_threads(1)
    stage, step = args.kill[0], int(args.kill[1])
    loss = DenoisingTask.loss

    def killing_loss(self: DenoisingTask, module: nn.Module, batch: MicroBatch) -> torch.Tensor:
        if (self.name, batch.step) == (stage, step):
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(self, module, batch)

    DenoisingTask.loss = killing_loss
    accelerator = Accelerator(cpu=True)
    run_stages(accelerator, args.folder, args.batch_size, args.buckets, args.model)
    accelerator.end_training()


if __name__ == "__main__":
    main()
