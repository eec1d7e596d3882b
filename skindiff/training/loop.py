"""The one training loop: accumulation, clipping, averaging, logging, and a resume that changes nothing.

Every random number of a training is a function of ``(name, seed, step, position in the global batch)``, so
neither the number of processes nor a kill in between changes what is sampled. A method (textual inversion,
LoRA, a classifier) brings a module, a loss on a :class:`MicroBatch` and a sampler of rows, and nothing else.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from accelerate.logging import get_logger
from torch import nn

from skindiff.errors import ConfigError, TrainingError
from skindiff.progress import progress
from skindiff.seeding import derive_seed
from skindiff.training.averaging import ema_weights, moving_average
from skindiff.training.checkpoints import (
    Progress,
    load_checkpoint,
    newest_checkpoint,
    read_progress,
    refuse_other_settings,
    remove_checkpoints,
    save_checkpoint,
)
from skindiff.training.preparation import build_optimiser as _optimiser
from skindiff.training.preparation import refuse_batches_of_one, refuse_sharding, trainable_parameters
from skindiff.training.samplers import Sampler
from skindiff.training.schedules import Schedule, learning_rate_factor
from skindiff.training.single_process import Worker

if TYPE_CHECKING:
    from diffusers.training_utils import EMAModel

logger = get_logger(__name__)

Log = list[dict[str, float]]


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
    """sgd has a momentum of 0.9; adamw_8bit needs bitsandbytes (pip install "skindiff[quantised]")."""
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
        """Raise a :class:`ConfigError` that names the first setting that cannot work."""
        for name in ("steps", "batch_size", "gradient_accumulation_steps", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{path}{name} is {getattr(self, name)}: set it to at least 1")
        for name in (
            "warmup_steps",
            "schedule_lead",
            "checkpoint_every",
            "validate_every",
            "weight_decay",
            "max_grad_norm",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{path}{name} is {getattr(self, name)}: set it to 0 or more")
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"{path}learning_rate is {self.learning_rate}: set it above 0")
        if self.schedule_lead and (self.warmup_steps or self.lr_schedule == "constant"):
            raise ConfigError(
                f"{path}schedule_lead is {self.schedule_lead}: it goes with a schedule that falls, and "
                f"without {path}warmup_steps: set it to 0, or {path}lr_schedule to step_third"
            )
        if self.global_batch_size is not None and self.global_batch_size < 1:
            raise ConfigError(
                f"{path}global_batch_size is {self.global_batch_size}: set it to at least 1, or to null"
            )
        if self.global_batch_size is not None and self.gradient_accumulation_steps != 1:
            raise ConfigError(
                f"{path}gradient_accumulation_steps is {self.gradient_accumulation_steps}, and {path}"
                f"global_batch_size={self.global_batch_size} says it too: leave one of them out"
            )
        if self.warmup_steps > self.steps:
            raise ConfigError(
                f"{path}warmup_steps is {self.warmup_steps}: set it to at most {path}steps={self.steps}"
            )
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"{path}ema_decay is {self.ema_decay}: set it to at least 0 and below 1")

    def in_split(self, split_seed: int) -> "LoopConfig":
        """Return these settings with the seed that a split trains with: their own, or the split's for 0."""
        return self if self.seed else replace(self, seed=split_seed)

    def global_batch(self, processes: int) -> int:
        """Return the rows of one optimiser step over all processes and micro-steps."""
        if self.global_batch_size is not None:
            return self.global_batch_size
        return self.batch_size * self.gradient_accumulation_steps * processes

    def shared_by(self, processes: int) -> "LoopConfig":
        """Return these settings with rows and micro-steps for so many processes, where the batch is global.

        Raises:
            ConfigError: the processes cannot share it evenly.
        """
        whole = self.global_batch_size
        if whole is None:
            return self
        if whole % processes:
            able = ", ".join(str(count) for count in range(1, whole + 1) if whole % count == 0)
            raise ConfigError(
                f"global_batch_size is {whole}, which {processes} processes cannot share evenly: launch one "
                f"of {able}, or change it"
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


@dataclass(frozen=True)
class MicroBatch:
    """What one process sees in one micro-step.

    Attributes:
        step: the optimiser step, counted from 0.
        indices: (batch_size,) int64 on the CPU, rows of the training table.
        positions: (batch_size,) int64 on the CPU, the place of each row in the global batch; with
            ``(seed, step, position)`` it keys all noise of a row.
        weight: of the mean loss of these rows among the micro-batches of the step, 1 in the mean; another
            where a last batch cannot be cut evenly.
    """

    step: int
    indices: torch.Tensor
    positions: torch.Tensor
    weight: float = 1.0


Loss = Callable[[nn.Module, MicroBatch], torch.Tensor]


def train(
    accelerator: Worker,
    config: LoopConfig,
    *,
    module: nn.Module,
    loss: Loss,
    sampler: Sampler,
    folder: Path,
    name: str,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    on_validate: Callable[[nn.Module, Log], None] | None = None,
    context: str = "",
) -> Log:
    """Train ``module`` in place, resuming from the newest complete checkpoint in ``folder``.

    Args:
        accelerator: gives device, mixed precision, processes and trackers; its own accumulation count is
            overruled by ``config``.
        config: see :class:`LoopConfig`.
        module: only parameters with ``requires_grad`` are trained, and they must be float32; frozen networks
            that the loss needs stay outside of it.
        loss: maps the prepared module and a micro-batch to the mean loss over its rows; it must call the
            module itself (``module(...)``), and may use the global generator (dropout) but nowhere
            else without a key.
        sampler: maps a step, from 0, to the rows of the global batch; see
            :mod:`skindiff.training.samplers`.
        folder: checkpoints live here; nothing else in it is touched. Every process must see it.
        name: key of the random streams and prefix of what trackers see.
        validate: called in evaluation mode without gradients, with averaged weights where there are any,
            on every process; what the main process returns goes into the log.
        on_validate: called after it, on the main process only, with the module and the log up to now (also
            where ``validate`` is None): to keep the best weights, or make sample grids.
        context: a fingerprint of everything else that decides the result (data, base weights, loss); a
            checkpoint with another one is refused.

    Returns:
        One row per step: ``step`` (done, so from 1), ``loss`` (mean over the global batch), ``grad_norm``
        (before clipping), ``learning_rate``, and what ``validate`` returned where it ran. Afterwards
        ``module`` is in evaluation mode and holds the averaged weights if ``ema_decay`` is set.

    Raises:
        ConfigError: ``config`` cannot work.
        TrainingError: nothing to train, a checkpoint of other settings, or a loss that is not finite.
    """
    config.validate()
    config = config.shared_by(accelerator.num_processes)
    run = _Run(accelerator, config, module, folder, name)
    try:
        run.resume(context)
        bar = progress(
            desc=name.replace("_", " "),
            unit="step",
            total=config.steps,
            initial=run.step,
            disable=not accelerator.is_main_process,
        )
        with bar:
            while run.step < config.steps:
                run.optimiser_step(loss, sampler)
                bar.update()
                if run.due(config.log_every):
                    run.read_device()
                    bar.set_postfix(loss=f"{run.log[-1]['loss']:.4g}", refresh=False)
                if run.due(config.validate_every) and (validate or on_validate):
                    run.validate(validate, on_validate)
                if config.checkpoint_every and run.due(config.checkpoint_every):
                    run.save()
    finally:
        run.release()
    return run.log


def micro_batches(
    accelerator: Worker, config: LoopConfig, sampler: Sampler, step: int, name: str
) -> list[MicroBatch]:
    """Cut the global batch of ``step``, micro-step by micro-step and in each process by process.

    So the rows and positions of a micro-step over all processes are those of a longer micro-step of one. A
    batch of another size, the last of an epoch, is cut as evenly as can be; a process that is left without
    rows is given one that weighs nothing, since all must take part.

    Raises:
        TrainingError: the sampler gave no row, or three times as many as a step takes.
    """
    processes, index = accelerator.num_processes, accelerator.process_index
    rows = torch.as_tensor(np.asarray(sampler(step), dtype=np.int64))
    expected, count = config.global_batch(processes), len(rows)
    if not 0 < count < 3 * expected:
        raise TrainingError(f"the sampler of {name} gave {count} rows: a step takes {expected}")
    if count == expected:
        positions = torch.arange(expected).view(-1, processes, config.batch_size)[:, index]
        return [MicroBatch(step, rows[own], own) for own in positions]
    parts = np.array_split(np.arange(count), processes * config.gradient_accumulation_steps)
    return [
        MicroBatch(step, rows[own], torch.from_numpy(own), len(part) * len(parts) / count)
        for part in parts[index::processes]
        for own in [part if len(part) else np.zeros(1, dtype=np.int64)]
    ]


class _Run:
    """The moving parts of one training."""

    def __init__(
        self, accelerator: Worker, config: LoopConfig, module: nn.Module, folder: Path, name: str
    ) -> None:
        refuse_sharding(accelerator)
        refuse_batches_of_one(module, config, name)
        self.accelerator, self.config, self.module = accelerator, config, module
        self.folder, self.name = folder, name
        self.parameters = trainable_parameters(module, name)
        self.peak = config.peak_learning_rate(accelerator.num_processes)
        self.step = 0
        self.log: Log = []
        self.settings: dict[str, Any] = {}
        self.unread: list[tuple[torch.Tensor, torch.Tensor, float]] = []
        accelerator.gradient_accumulation_steps = config.gradient_accumulation_steps
        self.prepared, self.optimiser = accelerator.prepare(module, _optimiser(config, self.parameters))
        self.ema: EMAModel | None = None

    def due(self, every: int) -> bool:
        """Say whether something that happens every ``every`` steps, and after the last, happens now."""
        return self.step == self.config.steps or (every > 0 and self.step % every == 0)

    def resume(self, context: str) -> None:
        """Start from the newest checkpoint where there is one, and from the module as it is otherwise."""
        settings = self.config.fingerprint(self.accelerator.num_processes)
        settings["name"], settings["context"] = self.name, context
        self.settings = settings
        checkpoint = newest_checkpoint(self.folder)
        if checkpoint is not None:
            refuse_other_settings(checkpoint, settings)
            progress, states = read_progress(checkpoint), load_checkpoint(checkpoint, self.module)
            self.step, self.log = progress.step, progress.log
            self.optimiser.load_state_dict(states["optimiser"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(states["scaler"])
            logger.info("%s: resuming after step %d from %s", self.name, self.step, checkpoint)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:  # a kill may have left a part of an older one
            remove_checkpoints(self.folder, but=checkpoint)
        if self.config.ema_decay:
            self.ema = moving_average(self.parameters, self.config.ema_decay)
            if checkpoint is not None:
                self.ema.load_state_dict(states["ema"])
                self.ema.to(self.accelerator.device)

    def optimiser_step(self, loss: Loss, sampler: Sampler) -> None:
        """Take one optimiser step and keep its loss and gradient norm on the device."""
        config, accelerator = self.config, self.accelerator
        at = min(self.step + config.schedule_lead, config.steps)
        factor = learning_rate_factor(config.lr_schedule, at, config.steps, config.warmup_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self.peak * factor
        self.prepared.train()
        batches = micro_batches(accelerator, config, sampler, self.step, self.name)
        total = torch.zeros((), device=accelerator.device)
        for micro, batch in enumerate(batches):
            last = micro == len(batches) - 1
            torch.manual_seed(
                derive_seed(self.name, config.seed, self.step, accelerator.process_index, micro)
            )
            with nullcontext() if last else accelerator.no_sync(self.prepared):
                with accelerator.autocast():
                    value = loss(self.prepared, batch) * batch.weight
                accelerator.backward(value)
            total += value.detach().float() / len(batches)
        # An infinite bound leaves the gradients alone and still measures them.
        norm = accelerator.clip_grad_norm_(self.parameters, config.max_grad_norm or math.inf)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.step(self.parameters)
        self.step += 1
        self.unread.append((total, norm.detach().float(), self.peak * factor))

    def read_device(self) -> None:
        """Move the losses and norms since the last read into the log, one transfer and one reduction for all.

        Raises:
            TrainingError: one of them is not finite.
        """
        if not self.unread:
            return
        local = torch.stack([torch.stack((total, norm)) for total, norm, _ in self.unread])
        values = self.accelerator.reduce(local, reduction="mean").tolist()
        first = self.step - len(self.unread) + 1
        for offset, ((total, norm), (_, _, rate)) in enumerate(zip(values, self.unread, strict=True)):
            row = {"loss": total, "grad_norm": norm, "learning_rate": rate}
            self._refuse_not_finite(first + offset, row)
            self.log.append({"step": first + offset, **row})
            self._track(first + offset, row)
        self.unread.clear()

    def _track(self, step: int, values: dict[str, float]) -> None:
        self.accelerator.log({f"{self.name}/{key}": value for key, value in values.items()}, step=step)

    def _refuse_not_finite(self, step: int, row: dict[str, float]) -> None:
        # With a gradient scaler (fp16) an overflow is expected: it skips the step and lowers the scale.
        watched = ("loss",) if self.accelerator.scaler is not None else ("loss", "grad_norm")
        for key in watched:
            if not math.isfinite(row[key]):
                kept = newest_checkpoint(self.folder)
                raise TrainingError(
                    f"{self.name}: {key} is {row[key]} at step {step} of {self.config.steps}: "
                    f"lower learning_rate={self.config.learning_rate} or train without mixed precision "
                    f"(newest checkpoint: {kept.name if kept else 'none'})"
                )

    def validate(
        self,
        validate: Callable[[nn.Module], dict[str, float]] | None,
        on_validate: Callable[[nn.Module, Log], None] | None,
    ) -> None:
        """Score the (averaged) weights and add the scores to the last row of the log."""
        self.read_device()
        self.module.eval()
        with ema_weights(self.ema, self.parameters), torch.no_grad():
            if validate is not None:
                scores = validate(self.module)
                self.log[-1].update(scores)
                self._track(self.step, scores)
            if on_validate is not None and self.accelerator.is_main_process:
                on_validate(self.module, self.log)
        self.accelerator.wait_for_everyone()

    def save(self) -> None:
        """Write a checkpoint from the main process while the others wait."""
        self.read_device()
        if self.accelerator.is_main_process:
            states: dict[str, Any] = {"optimiser": self.optimiser.state_dict()}
            if self.ema is not None:
                states["ema"] = self.ema.state_dict()
            if self.accelerator.scaler is not None:
                states["scaler"] = self.accelerator.scaler.state_dict()
            save_checkpoint(self.folder, Progress(self.step, self.settings, self.log), self.module, states)
        self.accelerator.wait_for_everyone()

    def release(self) -> None:
        """Give the module back as it came: unwrapped, in evaluation mode, with the averaged weights."""
        if self.ema is not None:
            self.ema.copy_to(self.parameters)
        self.accelerator.unwrap_model(self.prepared, keep_fp32_wrapper=False)
        # Accelerate marks a module as prepared for ever; the next training must prepare it afresh.
        self.module.__dict__.pop("_is_accelerate_prepared", None)
        self.module.eval()
        self.accelerator.free_memory()
