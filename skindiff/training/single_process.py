"""One process of several at work by itself: each trains a classifier of its own, and none waits.

A small network gains little from being trained by several processes, and with batch norm it would become
another network. So an experiment gives whole trainings to processes. :class:`SingleProcess` offers what the
training loop uses of :class:`accelerate.Accelerator`, with one process.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn


class SingleProcess:
    """An accelerator's device and precision, without its other processes.

    Args:
        accelerator: of all processes. Its device, precision and gradient scaler are used; its trackers are
            not, since curves of trainings that run side by side would fall into one another.
    """

    num_processes, process_index = 1, 0
    is_main_process = is_local_main_process = True

    def __init__(self, accelerator: Accelerator) -> None:
        self._shared = accelerator
        self.device = accelerator.device
        self.distributed_type = DistributedType.NO
        self.gradient_accumulation_steps = 1

    @property
    def scaler(self) -> Any:
        """The gradient scaler of fp16, or None."""
        return self._shared.scaler

    @property
    def mixed_precision(self) -> str:
        """``no``, ``fp16`` or ``bf16``."""
        return self._shared.mixed_precision

    def prepare(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Move a module to the device; the optimiser learns of the gradient scaler."""
        module.to(self.device)
        return module, self._shared.prepare_optimizer(optimiser)

    def autocast(self) -> AbstractContextManager[Any]:
        """Run in the accelerator's precision."""
        return self._shared.autocast()

    def no_sync(self, module: nn.Module) -> AbstractContextManager[None]:
        """Do nothing: there is no one to wait for."""
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Compute gradients of the mean over the micro-steps."""
        loss = loss / self.gradient_accumulation_steps
        (self.scaler.scale(loss) if self.scaler is not None else loss).backward()

    def clip_grad_norm_(self, parameters: list[nn.Parameter], largest: float) -> torch.Tensor:
        """Clip all gradients together and return their norm before that."""
        if self.scaler is not None:
            self._shared.unscale_gradients()
        return nn.utils.clip_grad_norm_(parameters, largest)

    def reduce(self, tensor: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
        """Return the tensor, which is the mean over one process."""
        return tensor

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """Do nothing."""

    def wait_for_everyone(self) -> None:
        """Do nothing."""

    def unwrap_model(self, module: nn.Module, keep_fp32_wrapper: bool = True) -> nn.Module:
        """Return the module, which was never wrapped."""
        return module

    def free_memory(self) -> None:
        """Forget prepared optimisers."""
        self._shared.free_memory()


Worker = Accelerator | SingleProcess
"""What a training runs on: all processes together, or one by itself."""
