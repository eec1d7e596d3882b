"""The one training loop: accumulation, clipping, averaging, logging, and a resume that changes nothing.

Every random number of a training is a function of ``(name, seed, step, position in the global batch)``, so
neither the number of processes nor a kill in between changes what is sampled. A method (textual inversion,
LoRA, a classifier) brings a module, a loss on a :class:`MicroBatch` and a sampler of rows, and nothing else.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.logging import get_logger
from torch import nn

from skindiff.errors import TrainingError
from skindiff.peers import Peers
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
from skindiff.training.loop_config import LoopConfig
from skindiff.training.preparation import build_optimiser as _optimiser
from skindiff.training.preparation import refuse_batches_of_one, refuse_sharding, trainable_parameters
from skindiff.training.samplers import Sampler
from skindiff.training.schedules import learning_rate_factor
from skindiff.training.single_process import Worker

if TYPE_CHECKING:
    from diffusers.training_utils import EMAModel

logger = get_logger(__name__)

Log = list[dict[str, float]]


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
        peers = Peers.of(self.accelerator, self.folder)  # before the work: they meet in a collective
        self.read_device()
        self.module.eval()
        with ema_weights(self.ema, self.parameters), torch.no_grad():
            if validate is not None:
                scores = validate(self.module)
                self.log[-1].update(scores)
                self._track(self.step, scores)
            if on_validate is not None and self.accelerator.is_main_process:
                on_validate(self.module, self.log)
        peers.meet(f"{self.name}: validating")

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
