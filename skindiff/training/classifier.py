"""Train a timm classifier on skin images and predict with it.

Preset ``clean`` takes the same number of optimiser steps whatever the training set, and keeps the weights
with the best balanced accuracy on validation images. Preset ``paper`` repeats the published protocol (see
:func:`paper_settings`), which selects on the images it is tested on: a caller who wants that passes the test
set as ``validation``.
"""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import Dataset
from safetensors.torch import load_file, save_file
from sklearn.metrics import recall_score
from torch import nn
from torch.nn import functional

from skindiff.errors import ConfigError, TrainingError
from skindiff.training.checkpoints import remove_checkpoints, trainable_state
from skindiff.training.classifier_data import (
    Augment,
    Augmenter,
    Balance,
    ImageTable,
    balancing_weights,
    centre_images,
    working_size,
)
from skindiff.training.classifier_network import (
    Architecture,
    Head,
    SkinClassifier,
    build_classifier,
    refuse_impossible,
    save_classifier,
)
from skindiff.training.loop import Log, LoopConfig, Loss, MicroBatch, train
from skindiff.training.samplers import Sampler, shuffled_batches, weighted_batches

logger = get_logger(__name__)

LOG_FILE, BEST_FILE = "training_log.json", "best.safetensors"
PAPER_BATCH = 256
PAPER_FIRST_EPOCH = 11
"""Epochs (from 1) before this one are never selected by the published code."""


def _loop_defaults() -> LoopConfig:
    return LoopConfig(
        steps=300, batch_size=64, learning_rate=1e-3, lr_schedule="cosine", warmup_steps=15, validate_every=30
    )


@dataclass
class ClassifierConfig:
    """Which network learns from which view of the images, and for how long."""

    preset: Literal["clean", "paper"] = "clean"
    """paper repeats the published protocol and overrules augment, balance, head, dropout, trainable, loop."""
    architecture: str = "resnet18"
    """Any timm name, such as resnet18, vgg16 or vit_base_patch16_224."""
    pretrained: bool = False
    """Start from timm's weights, out of the local cache or from the Hub."""
    weights: str | None = None
    """Start from a local safetensors file in timm's names instead."""
    image_size: int = 64
    """Height and width in pixels of what the network sees; the paper's is 224."""
    augment: Augment = "geometric"
    """geometric: crop of 80 to 100%, rotation by 15 degrees, flips; paper: as published; flip; none."""
    colour_jitter: float = 0.0
    """Half width of random factors on brightness, contrast and saturation; 0 switches it off."""
    balance: Balance = "class"
    """Draw classes, or classes within skin types, equally often; none draws every row equally often."""
    head: Head = "linear"
    """paper puts 256 units, ReLU and dropout 0.4 before the classes."""
    dropout: float = 0.0
    """Dropout before the head, from 0 to below 1."""
    trainable: Literal["all", "head"] = "all"
    """head freezes everything but the last block, which makes sense with pretrained weights only."""
    paper_epochs: int = 30
    """Epochs of preset paper, of ceil(images / 256) steps each; preset clean does not look at it."""
    keep_weights: bool = True
    """Keep the final weights in the folder (45 MB for ResNet-18, 540 MB for VGG-16)."""
    loop: LoopConfig = field(default_factory=_loop_defaults)
    """Steps, batch, rates; its seed is the one given to train_classifier."""

    def validate(self, path: str = "") -> None:
        """Raise a :class:`ConfigError` that names the first setting that cannot work."""
        if self.image_size < 1:
            raise ConfigError(f"{path}image_size is {self.image_size}: set it to at least 1 pixel")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"{path}dropout is {self.dropout}: set it in [0, 1)")
        if not 0 <= self.colour_jitter < 1:
            raise ConfigError(f"{path}colour_jitter is {self.colour_jitter}: set it in [0, 1)")
        if self.paper_epochs < 1:
            raise ConfigError(f"{path}paper_epochs is {self.paper_epochs}: set it to at least 1")
        if self.pretrained and self.weights is not None:
            raise ConfigError(f"{path}pretrained and {path}weights={self.weights} are both set: take one")
        self.loop.validate(f"{path}loop.")
        refuse_impossible(_architecture(self, ("a", "b")), self.weights, path)


def paper_settings(config: ClassifierConfig, rows: int, processes: int) -> ClassifierConfig:
    """Return ``config`` with the settings of the paper's code (its scripts/train_classifier.py).

    30 epochs with replacement in batches of 256, Adam at 1e-3 times 0.1 after every third, no clipping, a
    sampler of inverse class frequencies, the crop-rotate-flip-cut augmentation, and a head of 256 units with
    everything else of VGG-16 frozen (dropout 0.5 as in torchvision's). Its ``ColorJitter()`` has no
    arguments, which changes nothing, so nothing is done here. Other architectures are not in its code; they
    get the same head and are trained whole. Selected is the lowest loss from the eleventh epoch on; the
    original falls back to the untrained weights if no later epoch is better than the eleventh.

    Args:
        config: its architecture, weights, image size, accumulation and checkpoints stay.
        rows: images in the training set.
        processes: of the run; 256 must be a multiple of them times the accumulation.
    """
    parts = processes * config.loop.gradient_accumulation_steps
    if PAPER_BATCH % parts:
        raise ConfigError(
            f"preset is paper, whose batch of {PAPER_BATCH} cannot be cut into {parts} parts: set "
            "gradient_accumulation_steps x processes to a power of two"
        )
    per_epoch = math.ceil(rows / PAPER_BATCH)
    loop = replace(
        config.loop,
        steps=config.paper_epochs * per_epoch,
        batch_size=PAPER_BATCH // parts,
        learning_rate=1e-3,
        scale_lr=False,
        lr_schedule="step_third",
        warmup_steps=0,
        optimiser="adam",
        weight_decay=0.0,
        max_grad_norm=0.0,
        ema_decay=0.0,
        validate_every=per_epoch,
    )
    vgg = config.architecture.startswith("vgg")
    return replace(
        config,
        augment="paper",
        colour_jitter=0.0,
        balance="class",
        head="paper",
        dropout=0.5 if vgg else 0.0,
        trainable="head" if vgg else "all",
        loop=loop,
    )


def train_classifier(
    accelerator: Accelerator,
    config: ClassifierConfig,
    train_set: Dataset | ImageTable,
    validation: Dataset | ImageTable | None,
    class_names: Sequence[str],
    folder: Path,
    seed: int,
) -> SkinClassifier:
    """Train a classifier and keep its weights, its log and its description in ``folder``.

    A training that was killed is resumed where ``loop.checkpoint_every`` is set. Two processes follow one
    only for networks without batch norm.

    Args:
        accelerator: device, precision and processes.
        config: see :class:`ClassifierConfig`.
        train_set: images of one size with labels; an :class:`ImageTable` saves decoding it again.
        validation: images to select the weights on, or None to keep the last ones.
        class_names: the classes in the order of their codes, which both sets must have.
        folder: ``classifier.safetensors``, ``classifier.json`` and ``training_log.json`` come here.
        seed: root of initial weights, batches and augmentations; the same for every arm of a comparison.

    Returns:
        The classifier, on the accelerator's device, in evaluation mode.

    Raises:
        ConfigError: a setting cannot work.
        TrainingError: the sets do not fit the classes, or the loss is not finite.
    """
    rows = len(train_set)
    if config.preset == "paper":
        config = paper_settings(config, rows, accelerator.num_processes)
    config = replace(config, loop=replace(config.loop, seed=seed))
    config.validate()
    table = _table(train_set, class_names).resized(working_size(config.image_size, config.augment))
    judged = None if validation is None else _table(validation, class_names)
    _refuse_unusable(table, judged)
    model = _network(config, class_names)
    folder.mkdir(parents=True, exist_ok=True)
    selection = _Selection(config, rows, folder / BEST_FILE)
    log = train(
        accelerator,
        config.loop,
        module=model,
        loss=_classification_loss(config, table, accelerator.device),
        sampler=_sampler(config, table, accelerator.num_processes),
        folder=folder,
        name="classifier",
        validate=None if judged is None else lambda module: _scores(accelerator, module, judged),
        on_validate=None if judged is None else selection.keep_best,
        context=_context(config, table, judged),
    )
    if selection.best(log) is not None:
        selection.restore(model)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        _finish(folder, config, model, log)
    accelerator.wait_for_everyone()
    return model.eval()


@torch.no_grad()
def predict(
    accelerator: Accelerator, model: nn.Module, dataset: Dataset | ImageTable, *, batch_size: int = 64
) -> np.ndarray:
    """Return class probabilities of shape (n, classes), float32, rows summing to 1.

    Every batch has ``batch_size`` rows (the last is padded), so a row's result does not depend on how many
    rows there are. Each process that calls this predicts all rows.

    Args:
        accelerator: device and precision.
        model: a classifier from :func:`train_classifier` or ``load_classifier``.
        dataset: images of one size; they are resampled where that is not the model's.
        batch_size: rows at a time.
    """
    assert isinstance(model, SkinClassifier)
    size, augment = model.architecture.image_size, model.architecture.augment
    table = dataset if isinstance(dataset, ImageTable) else ImageTable.from_dataset(dataset)
    table = table.resized(working_size(size, augment))
    model.to(accelerator.device).eval()
    probabilities = np.empty((len(table), len(model.architecture.class_names)), dtype=np.float32)
    for start in range(0, len(table), batch_size):
        rows = np.arange(start, min(start + batch_size, len(table)))
        padded = np.resize(rows, batch_size)
        images = centre_images(_images(table.pixels[padded], accelerator.device), size, augment)
        with accelerator.autocast():
            logits = model(images)
        probabilities[rows] = functional.softmax(logits.float(), dim=1)[: len(rows)].cpu().numpy()
    return probabilities


class _Selection:
    """The best validated weights so far, decided by the log alone, so that a resume decides the same."""

    def __init__(self, config: ClassifierConfig, rows: int, file: Path) -> None:
        self.paper, self.file = config.preset == "paper", file
        self.first_step = PAPER_FIRST_EPOCH * math.ceil(rows / PAPER_BATCH) if self.paper else 0

    def score(self, row: dict[str, float]) -> float:
        """Return what the best row has most of, -inf for a row that does not compete."""
        if "validation_loss" not in row or row["step"] < self.first_step:
            return -math.inf
        return -row["validation_loss"] if self.paper else row["validation_balanced_accuracy"]

    def best(self, log: Log) -> dict[str, float] | None:
        """Return the first row with the highest score, or None where no row competes."""
        row = max(log, key=self.score)
        return row if self.score(row) > -math.inf else None

    def keep_best(self, model: nn.Module, log: Log) -> None:
        """Write what training has changed, if the last row of the log is the best."""
        if self.best(log) is log[-1]:
            tensors = {name: tensor.detach().contiguous() for name, tensor in trainable_state(model).items()}
            partial = self.file.with_suffix(".partial")
            save_file(tensors, partial)
            os.replace(partial, self.file)

    def restore(self, model: nn.Module) -> None:
        """Put the kept weights back."""
        kept = load_file(self.file)
        with torch.no_grad():
            for name, tensor in trainable_state(model).items():
                tensor.copy_(kept[name])


def _architecture(config: ClassifierConfig, class_names: Sequence[str]) -> Architecture:
    return Architecture(
        config.architecture,
        config.image_size,
        tuple(class_names),
        head=config.head,
        dropout=config.dropout,
        augment=config.augment,
    )


def _network(config: ClassifierConfig, class_names: Sequence[str]) -> SkinClassifier:
    architecture = _architecture(config, class_names)
    model = build_classifier(
        architecture, pretrained=config.pretrained, weights=config.weights, seed=config.loop.seed
    )
    if config.trainable == "head":
        if not config.pretrained and config.weights is None:
            logger.warning("%s is frozen but for its head, and its weights are random", config.architecture)
        model.requires_grad_(False)
        for parameter in model.head_parameters():
            parameter.requires_grad_(True)
    return model


def _table(images: Dataset | ImageTable, class_names: Sequence[str]) -> ImageTable:
    table = images if isinstance(images, ImageTable) else ImageTable.from_dataset(images)
    if table.class_names != tuple(class_names):
        raise TrainingError(
            f"a table's classes are {list(table.class_names)}, the classifier's {list(class_names)}: "
            "build every table from one sequence of classes"
        )
    return table


def _refuse_unusable(table: ImageTable, judged: ImageTable | None) -> None:
    if len(table) == 0:
        raise TrainingError("the training set is empty: check the split and the arm")
    if judged is not None and len(judged) == 0:
        raise TrainingError("the validation set is empty: pass None to keep the last weights")
    absent = [name for code, name in enumerate(table.class_names) if code not in table.labels]
    if absent:
        logger.warning("no training image of %s: the classifier cannot learn it", ", ".join(absent))


def _sampler(config: ClassifierConfig, table: ImageTable, processes: int) -> Sampler:
    weights, batch = balancing_weights(table, config.balance), config.loop.global_batch(processes)
    if weights is None:
        return shuffled_batches(len(table), batch, "classifier", config.loop.seed)
    return weighted_batches(weights, batch, "classifier", config.loop.seed)


def _classification_loss(config: ClassifierConfig, table: ImageTable, device: torch.device) -> Loss:
    augmenter = Augmenter(config.augment, config.image_size, config.colour_jitter, config.loop.seed)

    def loss(module: nn.Module, batch: MicroBatch) -> torch.Tensor:
        rows = batch.indices.numpy()
        images = augmenter(_images(table.pixels[rows], device), batch.step, batch.positions)
        labels = torch.from_numpy(table.labels[rows]).to(device)
        return functional.cross_entropy(module(images), labels)

    return loss


def _images(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    # Moved as bytes; the permutation of (n, h, w, 3) is channels-last without a copy.
    return torch.from_numpy(pixels).to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255


def _scores(accelerator: Accelerator, model: nn.Module, judged: ImageTable) -> dict[str, float]:
    probabilities, labels = predict(accelerator, model, judged), judged.labels
    chosen = probabilities.argmax(axis=1)
    likelihood = np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
    recalls = recall_score(labels, chosen, labels=np.unique(labels), average="macro")
    return {
        "validation_loss": float(-np.log(likelihood.astype(np.float64)).mean()),
        "validation_accuracy": float((chosen == labels).mean()),
        "validation_balanced_accuracy": float(recalls),
    }


def _context(config: ClassifierConfig, table: ImageTable, judged: ImageTable | None) -> str:
    """Return a digest of everything outside of the loop's settings that decides the result."""
    digest = hashlib.sha256()
    settings = asdict(config)
    # The loop compares its own settings; a weights file counts by what is in it.
    for name in ("loop", "weights", "keep_weights"):
        del settings[name]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for images in (table, judged):
        if images is not None:
            digest.update(np.ascontiguousarray(images.pixels).data)
            digest.update(images.labels.tobytes())
            digest.update(json.dumps([images.pixels.shape, images.skin_types, images.class_names]).encode())
    if config.weights is not None:
        digest.update(hashlib.sha256(Path(config.weights).read_bytes()).digest())
    return digest.hexdigest()[:32]


def _finish(folder: Path, config: ClassifierConfig, model: SkinClassifier, log: Log) -> None:
    """Write what the training was for, and only then remove what it needed on the way."""
    (folder / LOG_FILE).write_text(json.dumps(log))
    if config.keep_weights:
        save_classifier(folder, model)
    remove_checkpoints(folder)
    (folder / BEST_FILE).unlink(missing_ok=True)
