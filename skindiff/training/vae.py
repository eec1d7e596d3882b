"""Train the VAE families of Ravani et al., Chaptoukaev and Le Roux on the one loop.

The loss of an image is its squared error summed over the pixels in [-1, 1], plus weighted KL divergences, all
divided by the number of values of the image, so that one learning rate fits every size. A Gaussian likelihood
of variance v per value corresponds to ``kl_weight`` = 2 v.
"""

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import ModelMixin
from safetensors.torch import load_file, save_file
from torch import nn

from skindiff.corpora.image_table import ImageTable
from skindiff.errors import TrainingError
from skindiff.files import replacing
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.families import find_family, imported
from skindiff.generators.vae_parts import Reconstruction
from skindiff.seeding import derive_seed, torch_generator
from skindiff.training.augmentation import Augmenter
from skindiff.training.balancing import balancing_weights
from skindiff.training.checkpoints import remove_checkpoints, trainable_state
from skindiff.training.generator_data import (
    generator_images,
    generator_table,
    refuse_absent_class,
    table_fingerprint,
)
from skindiff.training.loop import Log, Loss, MicroBatch, train
from skindiff.training.samplers import Sampler, epoch_batches, epoch_sizes, shuffled_batches, weighted_batches
from skindiff.training.vae_config import VAEConfig

NAME = "vae"
RowNoise = Callable[[Sequence[torch.Generator]], torch.Tensor]
LOG_FILE, PIPELINE, BEST_FILE = "training_log.json", "pipeline", "best.safetensors"


def train_vae(
    accelerator: Accelerator,
    config: VAEConfig,
    table: ImageTable,
    folder: Path,
    seed: int,
    validation: ImageTable | None = None,
) -> ClassConditionalPipeline:
    """Train a VAE of the family that ``config`` names and save it as a pipeline in ``folder/pipeline``.

    A training that was killed is resumed where ``loop.checkpoint_every`` is set. Two processes follow one
    only for the fully connected families: the others have batch norm.

    Args:
        accelerator: device, precision and processes.
        config: one of the families' settings in :mod:`skindiff.training.vae_config`.
        table: training images of any one size; they are resampled to ``config.image_size``.
        folder: ``pipeline``, ``training_log.json`` and, meanwhile, checkpoints come here.
        seed: root of initial weights, batches, views and noise.
        validation: held-out images of the same classes: the weights with the lowest loss on them are kept
            (Le Roux has early stopping), checked every ``loop.validate_every`` steps. None keeps
            the last.

    Returns:
        The pipeline, on the accelerator's device, ready to generate.

    Raises:
        ConfigError: a setting cannot work, alone or with these images (grey for 3 channels, and back).
        TrainingError: no image, a class without any, or a loss that is not finite.
    """
    config = _settled(config, len(table), seed, accelerator.num_processes)
    seen = generator_table(table, config.image_size, config.channels)
    judged = None
    if validation is not None:
        if validation.class_names != table.class_names:
            raise TrainingError(
                f"validation has the classes {list(validation.class_names)}, the training set "
                f"{list(table.class_names)}: build both from one sequence of classes"
            )
        judged = generator_table(validation, config.image_size, config.channels)
    pipeline = vae_pipeline(config, table.class_names)
    if not pipeline.needs_images:
        refuse_absent_class(seen)
    folder.mkdir(parents=True, exist_ok=True)
    best = folder / BEST_FILE
    log = train(
        accelerator,
        config.loop,
        module=pipeline.vae,
        loss=_loss(config, seen, pipeline.vae.row_noise, accelerator.device),
        sampler=_sampler(config, seen, accelerator.num_processes),
        folder=folder,
        name=NAME,
        validate=None if judged is None else lambda module: _scores(accelerator, config, module, judged),
        on_validate=None if judged is None else lambda module, rows: _keep_best(module, rows, best),
        context=_context(config, seen, judged),
    )
    if judged is not None:
        _restore(pipeline.vae, best)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (folder / LOG_FILE).write_text(json.dumps(log))
        pipeline.save_pretrained(folder / PIPELINE)
        remove_checkpoints(folder)
        best.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return pipeline


def vae_pipeline(config: VAEConfig, class_names: tuple[str, ...]) -> ClassConditionalPipeline:
    """Return an untrained pipeline whose weights depend on ``config.loop.seed`` alone.

    The family's network takes the settings that are called as its arguments are, and ``classes``.
    """
    family = find_family(config.family)
    kind, pipeline = imported(family.network), imported(family.pipeline)
    settings = vars(config) | {"classes": len(class_names)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(NAME, "weights", config.loop.seed))
        network = kind(**{name: settings[name] for name in inspect.signature(kind).parameters})
    built: ClassConditionalPipeline = pipeline(
        network, list(class_names), image_size=config.image_size, channels=config.channels
    )
    return built


def vae_loss(config: VAEConfig, found: Reconstruction, images: torch.Tensor, step: int) -> torch.Tensor:
    """Return the mean loss of a batch, per value of an image.

    Args:
        config: the family's, with its penalties.
        found: what the network made of the batch.
        images: (batch, channels, height, width) in [-1, 1].
        step: optimiser steps done, on which capacities depend.
    """
    loss = (found.images.float() - images).square().flatten(1).sum(1).mean()
    for penalty in config.penalties(found.divergences, step):
        loss = loss + penalty
    return loss / images[0].numel()


def _settled(config: VAEConfig, rows: int, seed: int, processes: int) -> VAEConfig:
    """Return ``config`` with its seed, and with the steps that its epochs take."""
    loop = replace(config.loop, seed=seed)
    if config.epochs:
        per_epoch = len(_pass_sizes(config, rows, processes))
        looked = per_epoch if config.early_stopping else loop.validate_every
        loop = replace(loop, steps=config.epochs * per_epoch, validate_every=looked)
    settled = replace(config, loop=loop)
    settled.validate()
    return settled


def _pass_sizes(config: VAEConfig, rows: int, processes: int) -> list[int]:
    micro_batches = processes * config.loop.shared_by(processes).gradient_accumulation_steps
    # Two rows at a time, as most families have batch norm.
    return epoch_sizes(rows, config.loop.global_batch(processes), least=2 * micro_batches)


def _sampler(config: VAEConfig, table: ImageTable, processes: int) -> Sampler:
    weights, batch = balancing_weights(table, config.balance), config.loop.global_batch(processes)
    if config.epochs:
        sizes = _pass_sizes(config, len(table), processes)
        return epoch_batches(sizes, NAME, config.loop.seed, weights=weights)
    if weights is None:
        return shuffled_batches(len(table), batch, NAME, config.loop.seed)
    return weighted_batches(weights, batch, NAME, config.loop.seed)


def _loss(config: VAEConfig, table: ImageTable, row_noise: RowNoise, device: torch.device) -> Loss:
    seed = config.loop.seed
    augmenter = Augmenter(config.augment, config.image_size, 0.0, seed)

    def loss(module: nn.Module, batch: MicroBatch) -> torch.Tensor:
        rows = batch.indices.numpy()
        images = generator_images(table.pixels[rows], device)
        if config.augment != "none":
            images = augmenter(images, batch.step, batch.positions).clamp(-1, 1)
        labels = torch.from_numpy(table.labels[rows]).to(device)
        keys = [torch_generator(NAME, seed, batch.step, int(position)) for position in batch.positions]
        found = module(images, labels, row_noise(keys).to(device, non_blocking=True))
        return vae_loss(config, found, images, batch.step)

    return loss


def _scores(
    accelerator: Accelerator, config: VAEConfig, network: ModelMixin, judged: ImageTable
) -> dict[str, float]:
    """Return the loss on held-out images with the last step's weights on it, and what it is made of."""
    totals = np.zeros(3)
    for start in range(0, len(judged), config.loop.batch_size):
        rows = np.arange(start, min(start + config.loop.batch_size, len(judged)))
        images = generator_images(judged.pixels[rows], accelerator.device)
        labels = torch.from_numpy(judged.labels[rows]).to(accelerator.device)
        # The same noise at every validation, or chance would choose the weights.
        keys = [torch_generator(NAME, "validation", config.loop.seed, int(row)) for row in rows]
        with accelerator.autocast():
            found = network(images, labels, network.row_noise(keys).to(accelerator.device))
        loss = vae_loss(config, found, images, config.loop.steps)
        error = (found.images.float() - images).square().mean()
        nats = found.divergences.sum(1).mean()
        totals += len(rows) * torch.stack((loss, error, nats)).double().cpu().numpy()
    names = ("validation_loss", "validation_squared_error", "validation_nats")
    return dict(zip(names, (totals / len(judged)).tolist(), strict=True))


def _keep_best(module: nn.Module, log: Log, file: Path) -> None:
    """Write the weights if the last validation is the best; the log decides, so a resume decides the same."""
    judged = [row for row in log if "validation_loss" in row]
    if min(judged, key=lambda row: row["validation_loss"]) is log[-1]:
        weights = {name: part.detach().contiguous() for name, part in trainable_state(module).items()}
        with replacing(file) as partial:
            save_file(weights, partial)


def _restore(module: nn.Module, file: Path) -> None:
    kept = load_file(file)
    with torch.no_grad():
        for name, part in trainable_state(module).items():
            part.copy_(kept[name])


def _context(config: VAEConfig, table: ImageTable, judged: ImageTable | None) -> str:
    """Return everything outside of the loop's settings that decides the result."""
    settings = asdict(config)
    del settings["loop"]  # the loop compares its own
    settings["images"] = table_fingerprint(table)
    settings["validation"] = None if judged is None else table_fingerprint(judged)
    return json.dumps(settings, sort_keys=True)
