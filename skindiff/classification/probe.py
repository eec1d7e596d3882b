"""Linear probes: multinomial logistic regression on the features of a frozen backbone.

A probe is fitted in about a second, without luck of its own: the same rows give the same probe. Every arm has
the same exposure, as its rows weigh as much together as the real training rows do, so a repeat of every image
changes nothing; in ``+equal_exposure`` arms the real rows alone weigh that much, and the added ones as much
again. The strength of the penalty is chosen within the training groups, by the log loss of real
images of groups that were left out; validation images have no say.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from skindiff.classification.cells import backbone_name
from skindiff.errors import RunFolderError, TrainingError
from skindiff.files import replacing
from skindiff.foreign import Malformed
from skindiff.measures.backbones import check_backbone
from skindiff.seeding import derive_seed
from skindiff.training.augmentation import Augment
from skindiff.weights import read_tensors
from skindiff.wrong_settings import refuse

FloatArray = NDArray[np.float64]
PROBE_FILE = "probe.safetensors"
_NEVER = -1e300
"""A bias beside which no probability is left."""
_LEAST = 1e-6
"""Probability below which a left-out image's class is not held against a strength any further."""


@dataclass
class ProbeConfig:
    """How linear probes look at images, and how their strength is chosen."""

    image_size: int | None = None
    """Height and width in pixels that the backbone sees; null is 128 for lite0, which is three times as fast
    as its own 224, and any other backbone's own."""
    augment: Augment = "none"
    """Further views of the training images: geometric, published, medmnist, randaugment, flip; or none."""
    views: int = 4
    """How many further views of each training image, where augment is not none."""
    balance: Literal["class", "none"] = "class"
    """class lets the images of every class weigh as much together; none lets every image weigh as much."""
    strengths: list[float] = field(
        default_factory=lambda: [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
    )
    """Inverse strengths of the penalty (C of scikit-learn) to choose from, for features of variance 1."""
    folds: int = 3
    """Parts of the training groups, each of which judges the strengths once."""

    preset: ClassVar[str] = "grouped"

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if self.image_size is not None and not 32 <= self.image_size <= 1024:
            refuse(f"{path}image_size: {self.image_size} is outside 32 to 1024 pixels")
        if not 1 <= self.views <= 64:
            refuse(f"{path}views: {self.views} is outside 1 to 64; for none set augment to none")
        if self.balance not in ("class", "none"):
            refuse(f"{path}balance: {self.balance!r} is unknown; use class or none")
        if not self.strengths or min(self.strengths) <= 0:
            refuse(f"{path}strengths: {self.strengths} must name at least one, all above 0")
        if not 2 <= self.folds <= 20:
            refuse(f"{path}folds: {self.folds} is outside 2 to 20")


def check_probe(architecture: str, config: ProbeConfig, path: str = "") -> None:
    """Raise a ConfigError if a probe cannot be; nothing is fetched."""
    check_backbone(backbone_name(architecture), setting="architectures", path=path)
    config.validate(f"{path}probe.")


@dataclass(frozen=True)
class Probe:
    """A fitted probe.

    Attributes:
        weight: ``(classes, features)``, for features as the backbone gives them.
        bias: ``(classes,)``; -inf for a class without training images.
        strength: the chosen one.
        losses: mean log loss of left-out real images, by strength; empty where there was no choice.
    """

    weight: FloatArray
    bias: FloatArray
    strength: float
    losses: dict[float, float]

    def predict(self, features: NDArray[Any]) -> FloatArray:
        """Return class probabilities ``(n, classes)`` of ``(n, features)``."""
        found: FloatArray = special.softmax(features.astype(np.float64) @ self.weight.T + self.bias, axis=1)
        return found


def save_probe(probe: Probe, folder: Path) -> None:
    """Write the weights of a probe to ``probe.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / PROBE_FILE) as partial:
        # A class without training images has -inf, which no file of weights may hold.
        save_file({"weight": probe.weight, "bias": np.maximum(probe.bias, _NEVER)}, partial)


def load_probe(folder: Path) -> Probe:
    """Read back the weights that :func:`save_probe` wrote, without what led to the choice of strength.

    Raises:
        RunFolderError: the file is damaged.
    """
    try:
        found = {name: tensor.numpy() for name, tensor in read_tensors(folder / PROBE_FILE).items()}
        return Probe(found["weight"], found["bias"], math.nan, {})
    except (Malformed, KeyError) as error:
        raise RunFolderError(f"{folder.name}: {PROBE_FILE} is no probe; delete it and run again") from error


@dataclass(frozen=True)
class ProbeRows:
    """What a probe is fitted on.

    Attributes:
        features: ``(n, views, width)``, the image itself first.
        labels: ``(n,)`` codes.
        groups: patient, lesion or duplicate cluster of each row; a synthetic image has that of its source.
        weights: ``(n,)``, of the rows relative to another, before classes are balanced.
        judges: ``(n,)``, how much each row counts where strengths are judged; 0 for not at all.
        exposure: what all rows of a part weigh together: the number of real training rows.
        others: a second group of each row, of an image that it is blended with; its own where there is none.
        part: ``(n,)``; the rows of a part have their own balance and exposure. All are of one when None.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: Sequence[str]
    weights: FloatArray
    judges: FloatArray
    exposure: float
    others: Sequence[str] = ()
    part: NDArray[np.int64] | None = None

    def merged(self) -> "ProbeRows":
        """Return the same problem with the repeats of an image as one row of their joint weight."""
        places: dict[tuple[bytes, int, str, str, int], int] = {}
        others = self.others or self.groups
        part = np.zeros(len(self.labels), dtype=np.int64) if self.part is None else self.part
        known = (self.labels.tolist(), self.groups, others, part.tolist())
        keys = zip((one.tobytes() for one in self.features), *known, strict=True)
        where = [places.setdefault(key, len(places)) for key in keys]
        first = np.unique(where, return_index=True)[1]
        return ProbeRows(
            self.features[first], self.labels[first], [self.groups[row] for row in first],
            _sums(where, self.weights), _sums(where, self.judges), self.exposure,
            [others[row] for row in first], part[first],
        )  # fmt: skip


def _sums(where: Sequence[int], weights: FloatArray) -> FloatArray:
    return np.asarray(np.bincount(where, weights), dtype=np.float64)


def fit_probe(config: ProbeConfig, rows: ProbeRows, classes: int, seed: int) -> Probe:
    """Fit a probe, at the strength that left-out groups choose.

    Args:
        config: see :class:`ProbeConfig`.
        rows: see :class:`ProbeRows`.
        classes: how many there are.
        seed: of the folds.

    Raises:
        TrainingError: there are training images of fewer than two classes.
    """
    if len(set(rows.labels.tolist())) < 2:
        raise TrainingError(
            "probe: all training images are of one class, and there is nothing to tell apart: check the "
            "split and the arm"
        )
    with threadpool_limits(1):  # the same sums in any process; these problems are small
        return _fitted(config, rows.merged(), classes, seed)


def _fitted(config: ProbeConfig, rows: ProbeRows, classes: int, seed: int) -> Probe:
    count, views, width = rows.features.shape
    flat = rows.features.reshape(count * views, width).astype(np.float64)
    weights = np.repeat(_balanced(config, rows.labels, rows.weights, rows.exposure, rows.part) / views, views)
    centre = np.average(flat, axis=0, weights=weights)
    # One number for all features: one for each would blow up those that hardly vary among training images,
    # and do in others (measured: dark skin after training on light skin, 18% against 56% balanced accuracy).
    scale = math.sqrt(np.average((flat - centre) ** 2, axis=0, weights=weights).mean()) or 1.0
    seen, basis = (flat - centre) / scale, None
    if len(seen) < width:  # what no row spans, the penalty keeps at zero: fewer numbers, the same probe
        left, values, basis = np.linalg.svd(seen, full_matrices=False)
        seen = left * values
    losses = _losses(config, rows, seen, weights, classes, seed)
    best = (
        min(losses, key=lambda one: losses[one]) if losses else config.strengths[len(config.strengths) // 2]
    )
    weight, bias = _coefficients(_regression(best).fit(seen, np.repeat(rows.labels, views), weights), classes)
    weight = weight if basis is None else weight @ basis
    return Probe(weight / scale, bias - weight @ (centre / scale), best, losses)


def _balanced(
    config: ProbeConfig,
    labels: NDArray[np.int64],
    weights: FloatArray,
    total: float,
    part: NDArray[np.int64] | None = None,
) -> FloatArray:
    """Return weights that sum to a total in each part, if asked for the same for every class of it."""
    if part is not None and len(np.unique(part)) > 1:
        balanced = np.zeros(len(labels))
        for one in np.unique(part):
            balanced[part == one] = _balanced(config, labels[part == one], weights[part == one], total)
        return balanced
    if config.balance == "class":
        weights = weights / np.maximum(np.bincount(labels, weights), 1e-12)[labels]
    return np.asarray(weights * (total / weights.sum()))


def _losses(
    config: ProbeConfig, rows: ProbeRows, seen: FloatArray, weights: FloatArray, classes: int, seed: int
) -> dict[float, float]:
    """Return the mean log loss of left-out judges by strength; none where there is no choice.

    Strengths are gone through from the strongest penalty on, and no further than two beyond the best.
    """
    views, labels = rows.features.shape[1], rows.labels
    parts = _parts(config, rows, seed)
    if not parts or len(config.strengths) < 2:
        return {}
    judges = _balanced(config, labels, rows.judges, 1.0)
    tries, single = [], seen.astype(np.float32)  # a choice needs no more digits, and is made sooner
    for kept, left in parts:
        own, fitted = left[judges[left] > 0], (kept[:, None] * views + np.arange(views)).ravel()
        if len(own) and len(set(labels[kept].tolist())) > 1:
            tries.append(
                (own, single[fitted], np.repeat(labels[kept], views), weights[fitted], _regression(1.0, 1e-4))
            )
    losses: dict[float, float] = {}
    for strength in sorted(config.strengths) if tries else ():
        losses[strength] = 0.0
        for own, known, codes, weighed, model in tries:
            weight, bias = _coefficients(model.set_params(C=strength).fit(known, codes, weighed), classes)
            logs = special.log_softmax(
                seen[own * views] @ weight.T + bias, axis=1
            )  # of the images themselves
            likely = np.maximum(logs[np.arange(len(own)), labels[own]], math.log(_LEAST))
            losses[strength] -= float(judges[own] @ likely)
        best = min(losses, key=lambda one: losses[one])
        if list(losses).index(best) < len(losses) - 2:
            break
    return losses


def _parts(config: ProbeConfig, rows: ProbeRows, seed: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return for each fold the rows that are fitted on and those left out; none where there is no choice.

    Folds are cut from the rows that judge, so that arms with the same real rows have the same; another row
    is left out with the group of its source.
    """
    judging = np.flatnonzero(rows.judges > 0)
    labels, groups = rows.labels[judging], [rows.groups[row] for row in judging.tolist()]
    folds = min(config.folds, len(set(groups)), int(np.bincount(labels).max()))
    if folds < 2:
        return []
    cut = StratifiedGroupKFold(folds, shuffle=True, random_state=derive_seed("probe folds", seed) % 2**32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # one of few groups; it is fitted on
        left = [{groups[row] for row in part} for _, part in cut.split(labels, labels, groups)]
    pairs = list(zip(rows.groups, rows.others or rows.groups, strict=True))
    out = [np.array([group in part or other in part for group, other in pairs]) for part in left]
    return [(np.flatnonzero(~one), np.flatnonzero(one)) for one in out]


def _regression(strength: float, tolerance: float = 1e-5) -> LogisticRegression:
    return LogisticRegression(C=strength, tol=tolerance, max_iter=1000, warm_start=True)


def _coefficients(model: LogisticRegression, classes: int) -> tuple[FloatArray, FloatArray]:
    """Return coefficients and intercepts of every class; one without images is never predicted."""
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one row, of the second class against the first
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    weight, bias = np.zeros((classes, coefficients.shape[1])), np.full(classes, -np.inf)
    weight[model.classes_], bias[model.classes_] = coefficients, intercepts
    return weight, bias
