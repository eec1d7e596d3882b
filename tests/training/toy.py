"""A training small enough for tests, and a program that runs it in processes of its own.

``python -m tests.training.toy FOLDER SETTINGS_JSON [--kill_at_step N | --kill_in_save N]`` under
``accelerate launch`` or alone trains and writes FOLDER/result.safetensors and FOLDER/log.json.
"""

import argparse
import json
import os
import signal
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import nn

from skindiff.seeding import torch_generator
from skindiff.training.loop import Log, MicroBatch, train
from skindiff.training.loop_config import LoopConfig
from skindiff.training.samplers import shuffled_batches

ROWS, WIDTH = 37, 6


class Toy(nn.Module):
    """Two trainable layers with dropout between them, and a frozen one in front."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        generator = torch_generator("toy", "weights")
        self.frozen = nn.Linear(WIDTH, WIDTH)
        self.hidden = nn.Linear(WIDTH, 16)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(16, 1)
        self.register_buffer("seen", torch.zeros(()))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        self.frozen.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += 1
        return self.head(self.dropout(torch.tanh(self.hidden(self.frozen(x)))))


def table() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(ROWS, WIDTH, generator=torch_generator("toy", "x"))
    return x, x.sum(1, keepdim=True).sin()


def toy_loss(module: nn.Module, batch: MicroBatch) -> torch.Tensor:
    x, y = table()
    noise = torch.stack(
        [
            torch.randn(WIDTH, generator=torch_generator("toy", batch.step, int(position)))
            for position in batch.positions
        ]
    )
    return ((module(x[batch.indices] + 0.1 * noise) - y[batch.indices]) ** 2).mean()


def run_toy(
    accelerator: Accelerator, config: LoopConfig, folder: Path, module: nn.Module, **options: object
) -> Log:
    batches = shuffled_batches(ROWS, config.global_batch(accelerator.num_processes), "toy", config.seed)
    arguments = {"loss": toy_loss, "sampler": batches, "name": "toy"} | options
    return train(accelerator, config, module=module, folder=folder, **arguments)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("settings", type=json.loads)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--kill_at_step", type=int, default=-1)
    parser.add_argument("--kill_in_save", type=int, default=-1)
    args = parser.parse_args()
    torch.set_num_threads(1)

    def loss(module: nn.Module, batch: MicroBatch) -> torch.Tensor:
        if batch.step == args.kill_at_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return toy_loss(module, batch)

    replace = os.replace

    def killing_replace(source: Path, target: Path) -> None:
        if Path(target).name == f"checkpoint-{args.kill_in_save}":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = killing_replace
    accelerator = Accelerator(cpu=True)
    module = Toy(args.dropout)
    config = LoopConfig(**args.settings)
    log = run_toy(accelerator, config, args.folder / "training", module, loss=loss)
    if accelerator.is_main_process:
        save_file(module.state_dict(), args.folder / "result.safetensors")
        (args.folder / "log.json").write_text(json.dumps(log))
    accelerator.end_training()


if __name__ == "__main__":
    main()
