"""A DDPM training to be killed, or run in two processes.

``python -m tests.training.ddpm_run FOLDER [--batch_size N] [--kill_at_step N]``, alone or under
``accelerate launch``.
"""

import argparse
import os
import signal
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from skindiff.training import ddpm
from skindiff.training.loop import MicroBatch
from tests.tiny_generators import tiny_ddpm_config, tiny_table


def run(folder: Path, batch_size: int = 4) -> None:
    config = tiny_ddpm_config(steps=5, batch_size=batch_size, checkpoint_every=2, ema_decay=0.9)
    ddpm.train_ddpm(Accelerator(cpu=True), config, tiny_table(), folder, seed=3)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--kill_at_step", type=int, default=-1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loss = ddpm._Task.loss

    def killing_loss(self: ddpm._Task, module: nn.Module, batch: MicroBatch) -> torch.Tensor:
        if batch.step == options.kill_at_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(self, module, batch)

    ddpm._Task.loss = killing_loss
    run(options.folder, options.batch_size)


if __name__ == "__main__":
    main()
