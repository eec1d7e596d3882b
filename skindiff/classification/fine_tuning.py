"""Train a timm classifier on skin images and predict with it.

Preset ``grouped`` takes the same number of optimiser steps whatever the training set, and keeps the weights
with the best balanced accuracy (or another ``selection``) on validation images; with ``epochs`` it counts
passes over the images instead of steps. Preset ``published`` repeats the published protocol of the main paper
(see :func:`published_settings`), which selects on the images it is tested on: a caller who wants that passes
the test set as ``validation``.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate.logging import get_logger
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from skindiff.classification.blending import PARTNER
from skindiff.classification.classifier_config import (
    PAPER_FIRST_EPOCH,
    ClassifierConfig,
    architecture_of,
    counts_passes,
    epoch_settings,
    pass_sizes,
    published_settings,
    settings_of,
)
from skindiff.classification.networks import SkinClassifier, build_classifier, save_classifier
from skindiff.classification.own_statistics import join_norms, rows_are, split_norms
from skindiff.classification.prediction import as_images, validation_scores, watched_scores
from skindiff.classification.synthetic_use import ALIKE, SyntheticUse, downweighted
from skindiff.corpora.crops import CropKind
from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError, TrainingError
from skindiff.files import replacing
from skindiff.training.augmentation import Augmenter, working_size
from skindiff.training.balancing import balanced_groups, balancing_weights, drawing_rates, oversampled_rows
from skindiff.training.checkpoints import remove_checkpoints, trainable_state
from skindiff.training.loop import Log, Loss, MicroBatch, train
from skindiff.training.samplers import Sampler, beside, epoch_batches, shuffled_batches, weighted_batches
from skindiff.training.single_process import Worker

logger = get_logger(__name__)

LOG_FILE, BEST_FILE = "training_log.json", "best.safetensors"


def train_classifier(
    accelerator: Worker,
    config: ClassifierConfig,
    train_set: Dataset | ImageTable,
    validation: Dataset | ImageTable | None,
    class_names: Sequence[str],
    folder: Path,
    seed: int,
    watched: Mapping[str, ImageTable] | None = None,
    use: SyntheticUse = ALIKE,
    pass_rows: int | None = None,
    crop: CropKind = "centre",
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
        watched: test sets by name, scored wherever there is a validation: ``test_<name>_accuracy`` and
            ``test_<name>_auroc`` in the log. For looking at only: no weights are chosen by them.
        use: what is done with the synthetic rows of ``train_set``, which follow its real ones.
        pass_rows: takes the steps of passes over so many images, where passes are counted, to take as many as
            a larger arm; its own number when left out.
        crop: that made squares of the corpus' pictures, for the description.

    Returns:
        The classifier, on the accelerator's device, in evaluation mode.

    Raises:
        ConfigError: a setting cannot work, such as one channel for coloured images.
        TrainingError: the sets do not fit the classes, or the loss is not finite.
    """
    table = _table(train_set, class_names)
    judged = None if validation is None else _table(validation, class_names)
    _refuse_unusable(config, table, judged)
    shown = table if use.mixing is None else table.select(range(len(use.mixing.partners)))
    counted = shown.select(range(use.real)) if use.equal_exposure else shown
    if config.preset == "published":
        config = published_settings(config, pass_rows or len(counted), accelerator.num_processes)
    else:
        rows = pass_rows or len(_epoch(config, counted, seed))
        config = epoch_settings(config, rows, accelerator.num_processes)
    config = replace(config, loop=replace(config.loop, seed=seed))
    config.validate()
    table = table.resized(working_size(config.image_size, config.augment))
    model = _network(config, class_names)
    model.architecture = replace(model.architecture, crop=crop)
    if use.own_statistics:
        split_norms(model.network)
    folder.mkdir(parents=True, exist_ok=True)
    selection = _Selection(config, folder / BEST_FILE, use.pretraining_steps(config.loop.steps) + 1)

    def validate(module: nn.Module) -> dict[str, float]:
        scores = {} if judged is None else validation_scores(accelerator, module, judged)
        return scores | watched_scores(accelerator, module, watched or {})

    log = train(
        accelerator,
        config.loop,
        module=model,
        loss=_classification_loss(config, table, accelerator.device, use),
        sampler=_sampler(config, shown, use, accelerator.num_processes),
        folder=folder,
        name="classifier",
        validate=None if judged is None and not watched else validate,
        on_validate=None if judged is None else selection.keep_best,
        context=_context(config, table, judged, use),
    )
    if selection.best(log) is not None:
        selection.restore(model)
    join_norms(model.network)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        _finish(folder, config, model, log)
    accelerator.wait_for_everyone()
    return model.eval()


class _Selection:
    """The best validated weights so far, decided by the log alone, so that a resume decides the same."""

    def __init__(self, config: ClassifierConfig, file: Path, first_step: int = 0) -> None:
        self.published, self.file = config.preset == "published", file
        self.chosen_by = f"validation_{'loss' if self.published else config.selection}"
        self.chooses = self.published or config.selection != "none"
        self.first_step = PAPER_FIRST_EPOCH * config.loop.validate_every if self.published else first_step

    def score(self, row: dict[str, float]) -> float:
        """Return what the best row has most of, -inf for a row that does not compete."""
        if not self.chooses or "validation_loss" not in row or row["step"] < self.first_step:
            return -math.inf
        score = row[self.chosen_by]
        return -score if self.chosen_by == "validation_loss" else score

    def best(self, log: Log) -> dict[str, float] | None:
        """Return the first row with the highest score, or None where no row competes."""
        row = max(log, key=self.score)
        return row if self.score(row) > -math.inf else None

    def keep_best(self, model: nn.Module, log: Log) -> None:
        """Write what training has changed, if the last row of the log is the best."""
        if self.best(log) is log[-1]:
            tensors = {name: tensor.detach().contiguous() for name, tensor in trainable_state(model).items()}
            with replacing(self.file) as partial:
                save_file(tensors, partial)

    def restore(self, model: nn.Module) -> None:
        """Put the kept weights back."""
        kept = load_file(self.file)
        with torch.no_grad():
            for name, tensor in trainable_state(model).items():
                tensor.copy_(kept[name])


def _network(config: ClassifierConfig, class_names: Sequence[str]) -> SkinClassifier:
    architecture = architecture_of(config, class_names)
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


def _refuse_unusable(config: ClassifierConfig, table: ImageTable, judged: ImageTable | None) -> None:
    if len(table) == 0:
        raise TrainingError("the training set is empty: check the split and the arm")
    if len(table.class_names) < 2:
        raise TrainingError(
            f"{table.class_names[0]!r} is the only class, and there is nothing to tell apart: add images of "
            "another"
        )
    if judged is not None and len(judged) == 0:
        raise TrainingError("the validation set is empty: pass None to keep the last weights")
    if judged is not None and config.selection == "auroc" and len(set(judged.labels.tolist())) < 2:
        raise TrainingError(
            "selection: auroc cannot choose where all validation images are of one class; take loss"
        )
    absent = [name for code, name in enumerate(table.class_names) if code not in table.labels]
    if absent:
        logger.warning("no training image of %s: the classifier cannot learn it", ", ".join(absent))
    if config.channels == 1 and not table.grey:
        raise ConfigError("channels is 1, and the training images are in colour: set channels to 3")


def _epoch(config: ClassifierConfig, table: ImageTable, seed: int) -> np.ndarray:
    """Return the rows of one pass over the training images."""
    return oversampled_rows(table.labels, seed) if config.balance == "oversample" else np.arange(len(table))


def _sampler(config: ClassifierConfig, shown: ImageTable, use: SyntheticUse, processes: int) -> Sampler:
    first = use.pretraining_steps(config.loop.steps)
    if first:
        real, added = np.arange(use.real), np.arange(use.real, len(shown))
        parts = [_part_sampler(config, shown, rows, processes) for rows in (added, real)]
        return lambda step: parts[0](step) if step < first else parts[1](step - first)
    whole = counts_passes(config)
    if use.equal_exposure:
        real, added = np.arange(use.real), np.arange(use.real, len(shown))
        own = _part_sampler(config, shown, real, processes, whole=whole)
        return beside(own, _part_sampler(config, shown, added, processes, "added"))
    sampler = _part_sampler(config, shown, np.arange(len(shown)), processes, whole=whole)
    return sampler if use.mixing is None else use.mixing.sampler(sampler, "classifier", config.loop.seed)


def _part_sampler(
    config: ClassifierConfig,
    shown: ImageTable,
    part: np.ndarray,
    processes: int,
    *names: str,
    whole: bool = False,
) -> Sampler:
    """Return a sampler of some rows, balanced among themselves; in whole passes where asked for."""
    table = shown if len(part) == len(shown) else shown.select(part)
    batch = config.loop.global_batch(processes)
    key: tuple[str | int, ...] = ("classifier", config.loop.seed, *names)
    weights = balancing_weights(table, config.balance)
    rows = part[_epoch(config, table, config.loop.seed)]
    if whole:
        places = epoch_batches(pass_sizes(config, len(rows), processes), *key, weights=weights)
    elif weights is not None:
        places = weighted_batches(weights, batch, *key)
    else:
        places = shuffled_batches(len(rows), batch, *key)
    return lambda step: np.asarray(rows[places(step)])


def _loss_weights(config: ClassifierConfig, table: ImageTable, use: SyntheticUse) -> np.ndarray | None:
    """Return (n,) what each row weighs in the loss, or None where all weigh alike."""
    if use.share is None:
        return None
    drawn = drawing_rates(table, config.balance, config.loop.seed)
    return downweighted(drawn, balanced_groups(table, config.balance), use.real, use.share)


def _classification_loss(
    config: ClassifierConfig,
    table: ImageTable,
    device: torch.device,
    use: SyntheticUse = ALIKE,
) -> Loss:
    augmenter = Augmenter(config.augment, config.image_size, config.colour_jitter, config.loop.seed)
    key = ("classifier", config.loop.seed)
    weights = _loss_weights(config, table, use)

    def loss(module: nn.Module, batch: MicroBatch) -> torch.Tensor:
        rows = batch.indices.numpy()
        images = augmenter(as_images(table.pixels[rows], device), batch.step, batch.positions)
        labels = torch.from_numpy(table.labels[rows]).to(device)
        if use.blending is not None:
            drawn = use.blending.draw(rows, batch.positions.numpy(), *key, batch.step)
            others = augmenter(
                as_images(table.pixels[drawn.rows], device), batch.step, batch.positions + PARTNER
            )
            images, shares = use.blending.blend(images, others, drawn)
            logits, theirs = module(images), torch.from_numpy(table.labels[drawn.rows]).to(device)
            both = [functional.cross_entropy(logits, one, reduction="none") for one in (labels, theirs)]
            return (shares * both[0] + (1 - shares) * both[1]).mean()
        told = rows_are(module, batch.indices.to(device) >= use.real) if use.own_statistics else nullcontext()
        with told:
            logits = module(images)
        if weights is None:
            return functional.cross_entropy(logits, labels)
        # Over the number of rows and not their weight: the mean over processes is that over the batch.
        each = functional.cross_entropy(logits, labels, reduction="none")
        return (each * torch.as_tensor(weights[rows], dtype=each.dtype, device=device)).mean()

    return loss


def _context(
    config: ClassifierConfig,
    table: ImageTable,
    judged: ImageTable | None,
    use: SyntheticUse,
) -> str:
    """Return a digest of everything outside of the loop's settings that decides the result."""
    digest = hashlib.sha256()
    settings = settings_of(config)
    # The loop compares its own settings; a weights file counts by what is in it.
    for name in ("loop", "weights", "keep_weights"):
        del settings[name]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for images in (table, judged):
        if images is not None:
            digest.update(np.ascontiguousarray(images.pixels).data)
            digest.update(images.labels.tobytes())
            digest.update(json.dumps([images.pixels.shape, images.values, images.class_names]).encode())
    digest.update(use.digest())
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
