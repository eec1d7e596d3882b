"""The settings of a training loop: how long, how fast, in which batches."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from skindiff.errors import ConfigError
from skindiff.training.precision import lacking_for_bitsandbytes
from skindiff.training.schedules import Schedule
from skindiff.wrong_settings import refuse


@dataclass
class LoopConfig:
    """How long, how fast and how carefully to train; steps are optimiser steps everywhere."""

    steps: int = 1000
    """Optimiser steps of the whole training, whatever the number of processes."""
    batch_size: int = 4
    """Rows per process and micro-step."""
    gradient_accumulation_steps: int = 1
    """Micro-steps per optimiser step."""
    global_batch_size: int | None = None
    """Rows of one optimiser step over all processes and micro-steps, which then follow from it: batch_size is
    the most rows of a process and micro-step. null: batch_size x accumulation x processes, which grows with
    the processes."""
    learning_rate: float = 1e-4
    """Peak learning rate."""
    scale_lr: bool = False
    """Multiply learning_rate by the rows of one optimiser step over all processes and micro-steps."""
    lr_schedule: Schedule = "constant"
    """Shape after the warm-up; step_third multiplies by 0.1 after each third of the steps."""
    warmup_steps: int = 0
    """Optimiser steps of linear warm-up."""
    schedule_lead: int = 0
    """Optimiser steps that the schedule runs ahead, as where a scheduler moves before the first epoch."""
    optimiser: Literal["adamw", "adam", "adamw_8bit", "sgd"] = "adamw"
    """sgd has a momentum of 0.9; adamw_8bit needs CUDA and bitsandbytes (pip install
    "skindiff[quantised]")."""
    weight_decay: float = 1e-2
    """Decoupled for adamw and adamw_8bit, added to the gradient for adam and sgd."""
    max_grad_norm: float = 1.0
    """Clip the norm of all gradients together to this; 0 switches clipping off."""
    ema_decay: float = 0.0
    """Decay of the moving average of the weights, which is what is kept in the end; 0 switches it off."""
    checkpoint_every: int = 0
    """Optimiser steps between checkpoints, of which the newest is kept; 0 writes none."""
    log_every: int = 10
    """Optimiser steps between reads of loss and gradient norm from the device; all steps stay in the log."""
    validate_every: int = 0
    """Optimiser steps between validations; 0 validates only after the last step."""
    seed: int = 0
    """Root of everything random in a training by textual inversion or LoRA; 0 is the seed of the split, so
    that each split of a study has its own. Other trainings are given theirs beside these settings."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        for name in ("steps", "batch_size", "gradient_accumulation_steps", "log_every"):
            if getattr(self, name) < 1:
                refuse(f"{path}{name} is {getattr(self, name)}: set it to at least 1")
        for name in (
            "warmup_steps",
            "schedule_lead",
            "checkpoint_every",
            "validate_every",
            "weight_decay",
            "max_grad_norm",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                refuse(f"{path}{name} is {getattr(self, name)}: set it to 0 or more")
        if self.optimiser == "adamw_8bit" and (lacking := lacking_for_bitsandbytes()):
            refuse(f"{path}optimiser is adamw_8bit, which {lacking}, or set it to adamw")
        if not 0 < self.learning_rate < math.inf:
            refuse(f"{path}learning_rate is {self.learning_rate}: set it above 0")
        if self.schedule_lead and (self.warmup_steps or self.lr_schedule == "constant"):
            refuse(
                f"{path}schedule_lead is {self.schedule_lead}: it goes with a schedule that falls, and "
                f"without {path}warmup_steps: set it to 0, or {path}lr_schedule to step_third"
            )
        if self.global_batch_size is not None and self.global_batch_size < 1:
            refuse(f"{path}global_batch_size is {self.global_batch_size}: set it to at least 1, or to null")
        if self.global_batch_size is not None and self.gradient_accumulation_steps != 1:
            refuse(
                f"{path}gradient_accumulation_steps is {self.gradient_accumulation_steps}, and {path}"
                f"global_batch_size={self.global_batch_size} says it too: leave one of them out"
            )
        if self.warmup_steps > self.steps:
            refuse(f"{path}warmup_steps is {self.warmup_steps}: set it to at most {path}steps={self.steps}")
        if not 0 <= self.ema_decay < 1:
            refuse(f"{path}ema_decay is {self.ema_decay}: set it to at least 0 and below 1")

    def in_split(self, split_seed: int) -> "LoopConfig":
        """Return these settings with the seed that a split trains with: their own, or the split's for 0."""
        return self if self.seed else replace(self, seed=split_seed)

    def global_batch(self, processes: int) -> int:
        """Return the rows of one optimiser step over all processes and micro-steps."""
        if self.global_batch_size is not None:
            return self.global_batch_size
        return self.batch_size * self.gradient_accumulation_steps * processes

    def shared_by(self, processes: int, path: str = "") -> "LoopConfig":
        """Return these settings with rows and micro-steps for so many processes, where the batch is global.

        Args:
            processes: that train together.
            path: of these settings, for the message.

        Raises:
            ConfigError: the processes cannot share it evenly.
        """
        whole = self.global_batch_size
        if whole is None:
            return self
        if whole % processes:
            able = ", ".join(str(count) for count in range(1, whole + 1) if whole % count == 0)
            raise ConfigError(
                f"{path}global_batch_size is {whole}, which {processes} processes cannot share evenly: "
                f"launch one of {able}, or change it"
            )
        own = whole // processes
        rows = max(count for count in range(1, min(own, self.batch_size) + 1) if own % count == 0)
        return replace(self, batch_size=rows, gradient_accumulation_steps=own // rows)

    def peak_learning_rate(self, processes: int) -> float:
        """Return the learning rate at the top of the schedule, scaled where ``scale_lr`` asks for it."""
        return self.learning_rate * (self.global_batch(processes) if self.scale_lr else 1)

    def fingerprint(self, processes: int) -> dict[str, Any]:
        """Return the settings that decide what is learnt, for a checkpoint to be compared with."""
        settings = asdict(self)
        # How often something is written does not change what is learnt, nor how a global batch is shared.
        del settings["log_every"], settings["checkpoint_every"]
        if not settings["schedule_lead"]:
            del settings["schedule_lead"]
        if settings.pop("global_batch_size") is not None:
            del settings["batch_size"], settings["gradient_accumulation_steps"]
        return {**settings, "global_batch": self.global_batch(processes)}


def idle_of_loop(epochs: int | None = None) -> dict[str, str]:
    """Return the settings of a loop that a training overrules whose seed is given to it beside them."""
    seed = {"loop.seed": "the training is given its seed, that of the split or of the command"}
    return seed | ({"loop.steps": "they follow from epochs"} if epochs else {})
