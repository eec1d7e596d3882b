"""The training loop of two players: a discriminator's steps, then one of the generator, and an exact resume.

It keeps the promises of :mod:`skindiff.training.loop` (keyed randomness, checkpoints, averaging) for a GAN.
The players are not wrapped for several processes: a gradient penalty differentiates through the
discriminator, which DistributedDataParallel does not support, so gradients are averaged by hand. Batch norm
sees the rows of its own process only: with it, two processes do not follow one.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from torch import nn

from skindiff.errors import TrainingError
from skindiff.files import write_atomically
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
from skindiff.training.loop import Log, MicroBatch, micro_batches
from skindiff.training.loop_config import LoopConfig
from skindiff.training.preparation import (
    build_optimiser,
    refuse_batches_of_one,
    refuse_sharding,
    trainable_parameters,
)
from skindiff.training.samplers import Sampler
from skindiff.training.schedules import learning_rate_factor

if TYPE_CHECKING:
    from diffusers.training_utils import EMAModel

logger = get_logger(__name__)

DIVERGED_FILE = "diverged.json"
PlayerLoss = Callable[[MicroBatch], dict[str, torch.Tensor]]
"""Maps a micro-batch to ``loss``, the mean over its rows that the player lowers, and to what else is logged
of it. Both players' losses return the same names at every step."""


class Player:
    """One of the two networks, with its loss and its optimiser.

    Args:
        name: ``"discriminator"`` or ``"generator"``: prefix of its columns in the log.
        module: its network; parameters with ``requires_grad`` are trained.
        loss: what it lowers.
        rate: its learning rate over the loop's, 1 for the same.
    """

    def __init__(self, name: str, module: nn.Module, loss: PlayerLoss, rate: float = 1.0) -> None:
        self.name, self.module, self.loss, self.rate = name, module, loss, rate
        self.parameters = trainable_parameters(module, name)
        self.optimiser: torch.optim.Optimizer

    @contextmanager
    def held_still(self) -> Iterator[None]:
        """Let gradients pass through the player without any of its own."""
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self.parameters:
                parameter.requires_grad_(True)


def train_players(
    accelerator: Accelerator,
    config: LoopConfig,
    *,
    generator: Player,
    discriminator: Player,
    sampler: Sampler,
    folder: Path,
    name: str,
    discriminator_steps: int = 1,
    betas: tuple[float, float] = (0.5, 0.999),
    measure: Callable[[nn.Module], dict[str, float]] | None = None,
    context: str = "",
) -> Log:
    """Train both players in place, resuming from the newest complete checkpoint in ``folder``.

    Args:
        accelerator: device, mixed precision (bf16 or none), processes and trackers.
        config: a step is one step of the generator; the moving average is the generator's.
        generator: moves once a step.
        discriminator: moves ``discriminator_steps`` times a step, before the generator.
        sampler: maps a turn of the discriminator, ``step * discriminator_steps + k``, to rows. The generator
            is given the rows of the last turn. A micro-batch's ``step`` is the turn for the discriminator.
        folder: checkpoints live here, and :data:`DIVERGED_FILE` if the training diverges.
        name: key of the random streams and prefix of what trackers see.
        discriminator_steps: turns of the discriminator per step.
        betas: of Adam, for both players.
        measure: called with the generator in evaluation mode, with averaged weights where there are any.
        context: a fingerprint of everything else that decides the result.

    Returns:
        One row per step: ``step``, ``learning_rate``, for each player ``<player>_loss``,
        ``<player>_grad_norm`` and what else its loss returned, and what ``measure`` returned where it ran.
        Afterwards both are in evaluation mode and the generator holds the averaged weights.

    Raises:
        ConfigError: ``config`` cannot work.
        TrainingError: fp16, a checkpoint of other settings, or a loss or gradient that is not finite.
    """
    config.validate()
    config = config.shared_by(accelerator.num_processes)
    match = _Match(accelerator, config, generator, discriminator, folder, name, discriminator_steps, betas)
    match.resume(context)
    bar = progress(
        desc=name,
        unit="step",
        total=config.steps,
        initial=match.step,
        disable=not accelerator.is_main_process,
    )
    with bar:
        while match.step < config.steps:
            match.play(sampler)
            bar.update()
            if match.due(config.log_every):
                match.read_device()
            if measure is not None and match.due(config.validate_every):
                match.measure(measure)
            if config.checkpoint_every and match.due(config.checkpoint_every):
                match.save()
    match.finish()
    return match.log


class _Match:
    """The moving parts of one training."""

    def __init__(
        self,
        accelerator: Accelerator,
        config: LoopConfig,
        generator: Player,
        discriminator: Player,
        folder: Path,
        name: str,
        discriminator_steps: int,
        betas: tuple[float, float],
    ) -> None:
        refuse_sharding(accelerator)
        for player in (generator, discriminator):
            refuse_batches_of_one(player.module, config, player.name)
        if accelerator.scaler is not None:
            raise TrainingError(
                f"{name}: mixed_precision is fp16, whose loss scale two players cannot share: use bf16 or no"
            )
        self.accelerator, self.config, self.folder, self.name = accelerator, config, folder, name
        self.generator, self.discriminator = generator, discriminator
        self.turns, self.betas = discriminator_steps, betas
        self.modules = nn.ModuleDict({player.name: player.module for player in self.players})
        self.modules.to(accelerator.device)
        self.peak = config.peak_learning_rate(accelerator.num_processes)
        for player in self.players:
            player.optimiser = build_optimiser(config, player.parameters, betas)
        self.step = 0
        self.log: Log = []
        self.settings: dict[str, Any] = {}
        self.columns: list[str] = []
        self.unread: list[tuple[torch.Tensor, float]] = []
        self.ema: EMAModel | None = None

    @property
    def players(self) -> tuple[Player, Player]:
        return self.discriminator, self.generator

    def due(self, every: int) -> bool:
        """Say whether something that happens every ``every`` steps, and after the last, happens now."""
        return self.step == self.config.steps or (every > 0 and self.step % every == 0)

    def resume(self, context: str) -> None:
        """Start from the newest checkpoint where there is one, and from the players as they are otherwise."""
        self.settings = {
            **self.config.fingerprint(self.accelerator.num_processes),
            "name": self.name,
            "context": context,
            "discriminator_steps": self.turns,
            "betas": list(self.betas),
            "rates": [player.rate for player in self.players],
        }
        checkpoint = newest_checkpoint(self.folder)
        if checkpoint is not None:
            refuse_other_settings(checkpoint, self.settings)
            progress, states = read_progress(checkpoint), load_checkpoint(checkpoint, self.modules)
            self.step, self.log = progress.step, progress.log
            for player in self.players:
                player.optimiser.load_state_dict(states["optimisers"][player.name])
            logger.info("%s: resuming after step %d from %s", self.name, self.step, checkpoint)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:  # a kill may have left a part of an older one
            remove_checkpoints(self.folder, but=checkpoint)
        if self.config.ema_decay:
            self.ema = moving_average(self.generator.parameters, self.config.ema_decay)
            if checkpoint is not None:
                self.ema.load_state_dict(states["ema"])
                self.ema.to(self.accelerator.device)

    def play(self, sampler: Sampler) -> None:
        """Take the discriminator's turns and the generator's one, and keep the outcome on the device."""
        config = self.config
        at = min(self.step + config.schedule_lead, config.steps)
        factor = learning_rate_factor(config.lr_schedule, at, config.steps, config.warmup_steps)
        for player in self.players:
            for group in player.optimiser.param_groups:
                group["lr"] = self.peak * factor * player.rate
        self.modules.train()
        seen: list[dict[str, torch.Tensor]] = []
        for turn in range(self.step * self.turns, (self.step + 1) * self.turns):
            batches = micro_batches(self.accelerator, config, sampler, turn, self.name)
            seen.append(self._turn(self.discriminator, batches))
        outcome = {key: torch.stack([row[key] for row in seen]).mean() for key in seen[0]}
        own = [MicroBatch(self.step, batch.indices, batch.positions) for batch in batches]
        with self.discriminator.held_still():
            outcome |= self._turn(self.generator, own)
        if self.ema is not None:
            self.ema.step(self.generator.parameters)
        self.step += 1
        self.columns = list(outcome)
        self.unread.append((torch.stack(list(outcome.values())), self.peak * factor))

    def _turn(self, player: Player, batches: Sequence[MicroBatch]) -> dict[str, torch.Tensor]:
        """Take one optimiser step of ``player`` and return what its loss said, and the gradient's norm."""
        accelerator, outcome = self.accelerator, dict[str, torch.Tensor]()
        for micro, batch in enumerate(batches):
            # Dropout uses the global generator; everything else has a key of its own.
            torch.manual_seed(
                derive_seed(
                    self.name,
                    player.name,
                    self.config.seed,
                    batch.step,
                    accelerator.process_index,
                    micro,
                )
            )
            with accelerator.autocast():
                values = player.loss(batch)
            (values["loss"] / len(batches)).backward()
            for key, value in values.items():
                column = f"{player.name}_{key}"
                share = value.detach().float() / len(batches)
                outcome[column] = outcome[column] + share if micro else share
        self._average_gradients(player)
        # An infinite bound leaves the gradients alone and still measures them.
        norm = nn.utils.clip_grad_norm_(player.parameters, self.config.max_grad_norm or math.inf)
        player.optimiser.step()
        player.optimiser.zero_grad(set_to_none=True)
        outcome[f"{player.name}_grad_norm"] = norm.detach().float()
        return outcome

    def _average_gradients(self, player: Player) -> None:
        """Give every process the mean gradient, in one reduction."""
        if self.accelerator.num_processes == 1:
            return
        gradients = [parameter.grad for parameter in player.parameters if parameter.grad is not None]
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        joined = self.accelerator.reduce(joined, reduction="mean")
        parts = joined.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def read_device(self) -> None:
        """Move what happened since the last read into the log, one transfer and one reduction for all.

        Raises:
            TrainingError: something is not finite.
        """
        if not self.unread:
            return
        local = torch.stack([values for values, _ in self.unread])
        first = self.step - len(self.unread) + 1
        rows = self.accelerator.reduce(local, reduction="mean").tolist()
        for offset, (values, (_, rate)) in enumerate(zip(rows, self.unread, strict=True)):
            row = dict(zip(self.columns, values, strict=True)) | {"learning_rate": rate}
            self._refuse_not_finite(first + offset, row)
            self.log.append({"step": first + offset, **row})
            self._track(first + offset, row)
        self.unread.clear()

    def _track(self, step: int, values: dict[str, float]) -> None:
        self.accelerator.log({f"{self.name}/{key}": value for key, value in values.items()}, step=step)

    def _refuse_not_finite(self, step: int, row: dict[str, float]) -> None:
        """Raise where a number is not finite, and leave the curves beside the last good checkpoint."""
        broken = [key for key, value in row.items() if not math.isfinite(value)]
        if not broken:
            return
        kept = newest_checkpoint(self.folder)
        if self.accelerator.is_main_process:
            said = {"step": step, "not_finite": broken, "log": self.log}
            write_atomically(self.folder / DIVERGED_FILE, json.dumps(said))
        raise TrainingError(
            f"{self.name} has diverged: {broken[0]} is {row[broken[0]]} at step {step} of "
            f"{self.config.steps}: lower learning_rate={self.config.learning_rate} or clip with "
            f"max_grad_norm (newest checkpoint: {kept.name if kept else 'none'}; curves: {DIVERGED_FILE})"
        )

    def measure(self, measure: Callable[[nn.Module], dict[str, float]]) -> None:
        """Measure the (averaged) generator and add the scores to the last row of the log."""
        self.read_device()
        self.modules.eval()
        with ema_weights(self.ema, self.generator.parameters), torch.no_grad():
            scores = measure(self.generator.module)
        self.log[-1].update(scores)
        self._track(self.step, scores)

    def save(self) -> None:
        """Write a checkpoint from the main process while the others wait."""
        self.read_device()
        if self.accelerator.is_main_process:
            optimisers = {player.name: player.optimiser.state_dict() for player in self.players}
            states: dict[str, Any] = {"optimisers": optimisers}
            if self.ema is not None:
                states["ema"] = self.ema.state_dict()
            save_checkpoint(self.folder, Progress(self.step, self.settings, self.log), self.modules, states)
        self.accelerator.wait_for_everyone()

    def finish(self) -> None:
        """Put the averaged weights into the generator and both players into evaluation mode."""
        if self.ema is not None:
            self.ema.copy_to(self.generator.parameters)
        self.modules.eval()
