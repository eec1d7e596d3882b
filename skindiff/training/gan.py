"""Train the conditional GANs of Ravani et al., Chaptoukaev, Le Roux and Bingol et al.

A step is one step of the generator after ``discriminator_steps`` of the discriminator. Discriminators give
logits: ``non_saturating`` is Ravani et al.'s objective and Bingol et al.'s binary cross-entropy,
``minimax`` Chaptoukaev's equation 7. Generated images are given the classes of the real rows beside them, so
that neither side shows a class more often.

Killed and resumed, a training ends in the same weights bit by bit on a CPU. Two processes do not follow one
process as closely as elsewhere: batch norm sees the rows of its own process, and dropout has its own noise.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from diffusers import ModelMixin
from torch import nn
from torch.nn import functional

from skindiff.corpora.image_table import ImageTable
from skindiff.files import write_atomically
from skindiff.generators.adversarial import GANPipeline, Verdict
from skindiff.generators.families import find_family, imported
from skindiff.seeding import derive_seed, torch_generator
from skindiff.training.adversarial_loop import Player, train_players
from skindiff.training.augmentation import Augmenter
from skindiff.training.balancing import balancing_weights
from skindiff.training.gan_config import (
    AttentionGANConfig,
    DCGANConfig,
    FullyConnectedGANConfig,
    GANConfig,
    Objective,
    SNDCGANConfig,
)
from skindiff.training.gan_diversity import PREFIX, DiversityGauge, collapsed_classes, settle_statistics
from skindiff.training.generator_data import (
    generator_images,
    generator_table,
    refuse_absent_class,
    table_fingerprint,
)
from skindiff.training.loop import Log, MicroBatch
from skindiff.training.rows import Diversity
from skindiff.training.samplers import Sampler, shuffled_batches, weighted_batches

__all__ = [
    "AttentionGANConfig",
    "DCGANConfig",
    "FullyConnectedGANConfig",
    "GANConfig",
    "SNDCGANConfig",
    "train_gan",
]

logger = get_logger(__name__)

LOG_FILE, DIVERSITY_FILE = "training_log.json", "diversity.json"
PIPELINE_FOLDER, DISCRIMINATOR_FOLDER = "pipeline", "discriminator"


def train_gan(
    accelerator: Accelerator, config: GANConfig, table: ImageTable, folder: Path, seed: int
) -> GANPipeline:
    """Train a GAN on ``table`` and save its pipeline, its discriminator and both players' curves.

    Killed at any moment and called again, it continues from the newest checkpoint in ``folder``; the last
    checkpoint stays, so that a finished training is not repeated.

    Args:
        accelerator: device, precision (bf16 or none) and processes.
        config: of the family to train.
        table: real images of the classes to generate, resampled to the networks' size.
        folder: ``pipeline``, ``discriminator``, ``training_log.json`` (per step both losses and gradient
            norms, and each class's diversity where it was measured) and ``diversity.json`` (the last measure
            and the classes that have collapsed) come here, and ``diverged.json`` where the training diverges.
        seed: root of first weights, batches and noise.

    Returns:
        The pipeline, on the accelerator's device, with batch norm's statistics settled.

    Raises:
        ConfigError: a setting cannot work, alone or with this corpus (grey against colour).
        TrainingError: an empty table or class, a checkpoint of other settings, or a loss that is not finite.
    """
    config = config.settled(len(table), seed, accelerator.num_processes)
    config.validate()
    refuse_absent_class(table)
    table = generator_table(table, config.working_size(), config.channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.family, seed, "first weights"))
        generator, discriminator = config.networks(len(table.class_names))
    task = _Task(config, table, generator, discriminator, accelerator.device)
    log = train_players(
        accelerator,
        config.loop,
        generator=Player("generator", generator, task.generator_loss),
        discriminator=Player(
            "discriminator", discriminator, task.discriminator_loss, config.discriminator_rate
        ),
        sampler=_sampler(config, table, accelerator.num_processes),
        folder=folder,
        name=config.family,
        discriminator_steps=config.discriminator_steps,
        betas=(config.adam_beta1, config.adam_beta2),
        measure=task.measure,
        context=_context(config, table),
    )
    settle_statistics(generator, config.latent_size, table.labels, seed)
    kind: type[GANPipeline] = imported(find_family(config.family).pipeline)
    pipeline = kind(generator, list(table.class_names), config.image_size, config.channels)
    if accelerator.is_main_process:
        _save(folder, config, pipeline, discriminator, log)
    accelerator.wait_for_everyone()
    return pipeline


class _Task:
    """Both players' losses, and what is measured of the generator, on one table."""

    def __init__(
        self,
        config: GANConfig,
        table: ImageTable,
        generator: nn.Module,
        discriminator: nn.Module,
        device: torch.device,
    ) -> None:
        self.config, self.table, self.device = config, table, device
        self.generator, self.discriminator = generator, discriminator
        self.labels = torch.from_numpy(table.labels)
        self.class_weight = config.class_weight if isinstance(config, AttentionGANConfig) else 0.0
        self.augmenter: Augmenter | None = None
        if config.augment == "flip":
            self.augmenter = Augmenter("flip", config.working_size(), 0.0, config.loop.seed)
        self.gauge = DiversityGauge(table, config.diversity_images, config.loop.seed)

    def discriminator_loss(self, batch: MicroBatch) -> dict[str, torch.Tensor]:
        """Return what the discriminator lowers, and how sure it is of real and synthetic images."""
        real, labels = self._real(batch), self._labels(batch)
        with torch.no_grad():
            drawn = self._drawn(batch, labels, "discriminator")
        of_real: Verdict = self.discriminator(real, labels)
        of_drawn: Verdict = self.discriminator(drawn, labels)
        loss = real_loss(self.config.objective, of_real.scores)
        loss = loss + drawn_loss(self.config.objective, of_drawn.scores)
        outcome = {
            "real": of_real.scores.detach().float().sigmoid().mean(),
            "drawn": of_drawn.scores.detach().float().sigmoid().mean(),
        }
        if self.class_weight:
            # On real images only: generated ones may not look like their class yet and teach a wrong one.
            outcome["class_loss"] = self._class_loss(of_real, labels)
            loss = loss + self.class_weight * outcome["class_loss"]
        if self.config.gradient_penalty:
            outcome["penalty"] = self._penalty(batch, real, drawn, labels)
            loss = loss + self.config.gradient_penalty * outcome["penalty"]
        return {"loss": loss, **outcome}

    def generator_loss(self, batch: MicroBatch) -> dict[str, torch.Tensor]:
        """Return what the generator lowers."""
        labels = self._labels(batch)
        verdict: Verdict = self.discriminator(self._drawn(batch, labels, "generator"), labels)
        loss, outcome = generator_loss(self.config.objective, verdict.scores), {}
        if self.class_weight:
            outcome["class_loss"] = self._class_loss(verdict, labels)
            loss = loss + self.class_weight * outcome["class_loss"]
        return {"loss": loss, **outcome}

    def measure(self, generator: nn.Module) -> dict[str, float]:
        """Return the diversity of each class, and say which have collapsed."""
        row = self.gauge(generator, self.config.latent_size)
        collapsed = collapsed_classes(row, self.table.class_names, self.config.collapse_below)
        if collapsed:
            found = ", ".join(f"{name} ({row[PREFIX + name]:.2f})" for name in collapsed)
            logger.warning(
                "%s has collapsed on %s: its images lie less than %.2f as far apart as real images",
                self.config.family,
                found,
                self.config.collapse_below,
            )
        return {**row, "collapsed": float(len(collapsed))}

    def _real(self, batch: MicroBatch) -> torch.Tensor:
        images = generator_images(self.table.pixels[batch.indices.numpy()], self.device)
        return images if self.augmenter is None else self.augmenter(images, batch.step, batch.positions)

    def _labels(self, batch: MicroBatch) -> torch.Tensor:
        return self.labels[batch.indices].to(self.device)

    def _drawn(self, batch: MicroBatch, labels: torch.Tensor, player: str) -> torch.Tensor:
        noise = [torch.randn(self.config.latent_size, generator=key) for key in self._keys(batch, player)]
        return cast(torch.Tensor, self.generator(torch.stack(noise).to(self.device), labels))

    def _keys(self, batch: MicroBatch, use: str) -> list[torch.Generator]:
        config = self.config
        return [
            torch_generator(config.family, config.loop.seed, use, batch.step, int(position))
            for position in batch.positions
        ]

    def _class_loss(self, verdict: Verdict, labels: torch.Tensor) -> torch.Tensor:
        assert verdict.class_logits is not None
        return functional.cross_entropy(verdict.class_logits, labels)

    def _penalty(
        self, batch: MicroBatch, real: torch.Tensor, drawn: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return how far the gradient's norm is from 1 between the two (Gulrajani et al. 2017, eq. 3)."""
        shares = torch.cat([torch.rand(1, generator=key) for key in self._keys(batch, "penalty")])
        shares = shares.to(self.device)[:, None, None, None]
        mixed = (shares * real + (1 - shares) * drawn.float()).requires_grad_(True)
        scores = self.discriminator(mixed, labels).scores
        (gradient,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def real_loss(objective: Objective, scores: torch.Tensor) -> torch.Tensor:
    """Return the discriminator's loss on (batch,) scores of real images."""
    scores = scores.float()
    return functional.relu(1 - scores).mean() if objective == "hinge" else functional.softplus(-scores).mean()


def drawn_loss(objective: Objective, scores: torch.Tensor) -> torch.Tensor:
    """Return the discriminator's loss on (batch,) scores of synthetic images."""
    scores = scores.float()
    return functional.relu(1 + scores).mean() if objective == "hinge" else functional.softplus(scores).mean()


def generator_loss(objective: Objective, scores: torch.Tensor) -> torch.Tensor:
    """Return the generator's loss on (batch,) scores of its images."""
    match objective:
        case "non_saturating":
            return functional.softplus(-scores.float()).mean()
        case "minimax":
            return -functional.softplus(scores.float()).mean()
        case "hinge":
            return -scores.float().mean()


def _sampler(config: GANConfig, table: ImageTable, processes: int) -> Sampler:
    weights, batch = balancing_weights(table, config.balance), config.loop.global_batch(processes)
    if weights is None:
        return shuffled_batches(len(table), batch, config.family, config.loop.seed)
    return weighted_batches(weights, batch, config.family, config.loop.seed)


def _context(config: GANConfig, table: ImageTable) -> str:
    """Return a digest of everything outside of the loop's settings that decides the result."""
    settings = asdict(config)
    del settings["loop"]  # the loop compares its own
    text = json.dumps([settings, table_fingerprint(table)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _save(
    folder: Path, config: GANConfig, pipeline: GANPipeline, discriminator: ModelMixin, log: Log
) -> None:
    pipeline.save_pretrained(folder / PIPELINE_FOLDER)
    discriminator.save_pretrained(folder / DISCRIMINATOR_FOLDER)
    names = list(pipeline.config.class_names)
    ratios = {name: log[-1][PREFIX + name] for name in names if PREFIX + name in log[-1]}
    said: Diversity = {
        "collapse_below": config.collapse_below,
        "of_real": ratios,
        "collapsed": collapsed_classes(log[-1], names, config.collapse_below),
    }
    write_atomically(folder / DIVERSITY_FILE, json.dumps(said))
    write_atomically(folder / LOG_FILE, json.dumps(log))
