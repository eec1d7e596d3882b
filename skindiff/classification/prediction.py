"""Class probabilities of skin images by a timm classifier, and the scores that a training watches."""

from collections.abc import Mapping

import numpy as np
import torch
from datasets import Dataset
from sklearn.metrics import recall_score, roc_auc_score
from torch import nn
from torch.nn import functional

from skindiff.classification.networks import SkinClassifier
from skindiff.corpora.image_table import ImageTable
from skindiff.training.single_process import Worker


@torch.no_grad()
def predict(
    accelerator: Worker, model: nn.Module, dataset: Dataset | ImageTable, *, batch_size: int = 64
) -> np.ndarray:
    """Return class probabilities of shape (n, classes), float32, rows summing to 1.

    Every batch has ``batch_size`` rows (the last is padded), so a row's result does not depend on how many
    rows there are. Each process that calls this predicts all rows.

    Args:
        accelerator: device and precision.
        model: a classifier from :func:`~skindiff.classification.fine_tuning.train_classifier` or
            ``load_classifier``.
        dataset: images of one size; they are resampled where that is not the model's.
        batch_size: rows at a time.
    """
    assert isinstance(model, SkinClassifier)
    architecture = model.architecture
    table = dataset if isinstance(dataset, ImageTable) else ImageTable.from_dataset(dataset)
    table = table.resized(architecture.working_size)
    model.to(accelerator.device).eval()
    probabilities = np.empty((len(table), len(architecture.class_names)), dtype=np.float32)
    for start in range(0, len(table), batch_size):
        rows = np.arange(start, min(start + batch_size, len(table)))
        padded = np.resize(rows, batch_size)
        images = architecture.centre(as_images(table.pixels[padded], accelerator.device))
        with accelerator.autocast():
            logits = model(images)
        probabilities[rows] = functional.softmax(logits.float(), dim=1)[: len(rows)].cpu().numpy()
    return probabilities


def as_images(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return pixels ``(n, height, width, channels)``, bytes, as ``(n, channels, height, width)``, in 0..1."""
    # Moved as bytes; the permutation of (n, h, w, 3) is channels-last without a copy.
    return torch.from_numpy(pixels).to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255


def validation_scores(accelerator: Worker, model: nn.Module, judged: ImageTable) -> dict[str, float]:
    """Return the loss, accuracy, balanced accuracy and AUROC that weights are selected by, by name."""
    probabilities, labels = predict(accelerator, model, judged), judged.labels
    chosen = probabilities.argmax(axis=1)
    likelihood = np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
    recalls = recall_score(labels, chosen, labels=np.unique(labels), average="macro")
    return {
        "validation_loss": float(-np.log(likelihood.astype(np.float64)).mean()),
        "validation_accuracy": float((chosen == labels).mean()),
        "validation_balanced_accuracy": float(recalls),
        **_auroc("validation_auroc", labels, probabilities),
    }


def _auroc(name: str, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the mean one-vs-rest AUROC of the classes with positives and negatives; nothing without one."""
    both = [code for code in np.unique(labels) if (labels != code).any()]
    aurocs = [roc_auc_score(labels == code, probabilities[:, code]) for code in both]
    return {name: float(np.mean(aurocs))} if aurocs else {}


def watched_scores(
    accelerator: Worker, model: nn.Module, watched: Mapping[str, ImageTable]
) -> dict[str, float]:
    """Return accuracy and AUROC of test sets by name: ``test_<name>_accuracy`` and ``test_<name>_auroc``."""
    scores: dict[str, float] = {}
    for name, table in watched.items():
        probabilities, labels = predict(accelerator, model, table), table.labels
        scores[f"test_{name}_accuracy"] = float((probabilities.argmax(axis=1) == labels).mean())
        scores |= _auroc(f"test_{name}_auroc", labels, probabilities)
    return scores
