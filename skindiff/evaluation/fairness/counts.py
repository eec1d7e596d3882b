"""Predictions counted by group and class, as observed and under every resample of patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from fairlearn.metrics import MetricFrame
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from skindiff.classification.cells import Cell
from skindiff.classification.metrics import BINS, confidence_bins

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Weights of one cell's test images, summed by group; the first replicate is the data as observed.

    Attributes:
        groups: names, in the order of the second axis.
        hits: weight of the images named rightly, shape ``(replicates + 1, groups, classes)``.
        total: weight of all images, of the same shape.
        confidence: sum of confidence minus one for each right prediction, ``(replicates + 1, groups, bins)``,
            by bins of confidence.
        observed: macro recall by group through fairlearn, shape ``(groups,)``, NaN without images.
    """

    groups: tuple[str, ...]
    hits: FloatArray
    total: FloatArray
    confidence: FloatArray
    observed: FloatArray

    def recall(self, group: str) -> FloatArray:
        """Return macro recall over the classes present in every replicate, NaN where none is."""
        place = self.groups.index(group)
        found = mean_recall(self.hits[:, place], self.total[:, place])
        found[0] = self.observed[place]
        return found

    def class_recall(self, group: str | None, code: int) -> FloatArray:
        """Return recall of one class in a group (None: in all) in every replicate, NaN without images."""
        places = slice(None) if group is None else [self.groups.index(group)]
        hits, total = self.hits[:, places, code].sum(1), self.total[:, places, code].sum(1)
        return np.divide(hits, total, out=np.full(len(total), np.nan), where=total > 0)

    def gap(self, advantaged: Sequence[str], disadvantaged: Sequence[str]) -> FloatArray:
        """Return macro recall of some groups minus that of others, over the classes that both have."""
        sides = [self._pooled(names) for names in (advantaged, disadvantaged)]
        both = (sides[0][1] > 0) & (sides[1][1] > 0)
        first, second = (mean_recall(hits, np.where(both, total, 0.0)) for hits, total in sides)
        return first - second

    def calibration_error(self, group: str) -> FloatArray:
        """Return the expected calibration error in every replicate, in [0, 1]."""
        place = self.groups.index(group)
        return self._per_image(np.abs(self.confidence[:, place]).sum(1), place)

    def overconfidence(self, group: str) -> FloatArray:
        """Return mean confidence minus accuracy in every replicate, in [-1, 1]."""
        place = self.groups.index(group)
        return self._per_image(self.confidence[:, place].sum(1), place)

    def _per_image(self, summed: FloatArray, place: int) -> FloatArray:
        weight = self.total[:, place].sum(1)
        return np.divide(summed, weight, out=np.full(len(weight), np.nan), where=weight > 0)

    def _pooled(self, names: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        places = [place for place, name in enumerate(self.groups) if name in names]
        return self.hits[:, places].sum(1), self.total[:, places].sum(1)


def mean_recall(hits: FloatArray, total: FloatArray) -> FloatArray:
    """Return recall averaged over the classes (last axis) that weigh something, NaN where none does."""
    present = total > 0
    recall = np.divide(hits, total, out=np.zeros_like(hits), where=present)
    with np.errstate(invalid="ignore"):
        return np.asarray(recall.sum(-1) / present.sum(-1))


def macro_recall(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return recall averaged over the classes among the references, by scikit-learn."""
    return float(recall_score(labels, predicted, labels=np.unique(labels), average="macro"))


def recall_by_group(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], groups: Sequence[str]
) -> dict[str, float]:
    """Return :func:`macro_recall` of every group that occurs, through fairlearn's ``MetricFrame``."""
    frame = MetricFrame(
        metrics=macro_recall, y_true=labels, y_pred=predicted, sensitive_features=np.asarray(groups)
    )
    return {str(name): float(value) for name, value in frame.by_group.items()}


def count(cell: Cell, weights: FloatArray, member_of: Sequence[str | None], groups: Sequence[str]) -> Counts:
    """Count one cell's predictions.

    Args:
        cell: of n test images.
        weights: of its images in every replicate, shape ``(replicates + 1, n)``, the first row ones.
        member_of: the group of every image, None where it is not recorded.
        groups: names of the groups to count.
    """
    known = [row for row, name in enumerate(member_of) if name in groups]
    place = np.array([groups.index(str(member_of[row])) for row in known], dtype=np.int64)
    labels, chances = cell.labels[known], cell.probabilities[known]
    predicted, sure = chances.argmax(1), chances.max(1)
    right, classes, weight = predicted == labels, chances.shape[1], weights[:, known]
    of_class = np.zeros((len(known), len(groups) * classes))
    of_class[np.arange(len(known)), place * classes + labels] = 1.0
    of_bin = np.zeros((len(known), len(groups) * BINS))
    bins = confidence_bins(sure)
    of_bin[np.arange(len(known)), place * BINS + bins] = sure - right
    by_group = recall_by_group(labels, predicted, [groups[one] for one in place]) if known else {}
    shape = (len(weights), len(groups), -1)
    return Counts(
        groups=tuple(groups),
        hits=(weight @ (of_class * right[:, None])).reshape(shape),
        total=(weight @ of_class).reshape(shape),
        confidence=(weight @ of_bin).reshape(shape),
        observed=np.array([by_group.get(name, np.nan) for name in groups]),
    )


def error_if_calibrated(
    cell: Cell, member_of: Sequence[str | None], group: str, rng: np.random.Generator, draws: int = 200
) -> float:
    """Return the mean calibration error of a classifier that is right as often as these confidences say.

    A calibration error is never negative, so few images show one by chance alone; this is that part.
    """
    sure = cell.probabilities.max(1)[[name == group for name in member_of]]
    bins = confidence_bins(sure)
    away = sure - (rng.random((draws, len(sure))) < sure)
    summed = np.stack([away[:, bins == one].sum(1) for one in range(BINS)])
    return float(np.abs(summed).sum(0).mean() / len(sure))


def merged(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells with the test sets of one run (its ``test_group`` s) put together as ``"all"``."""
    runs: dict[tuple, list[Cell]] = {}
    for cell in cells:
        runs.setdefault(cell.key._replace(test_group="all"), []).append(cell)
    return [
        replace(
            members[0],
            key=members[0].key._replace(test_group="all"),
            image_ids=tuple(name for cell in members for name in cell.image_ids),
            group_ids=tuple(name for cell in members for name in cell.group_ids),
            skin_types=tuple(name for cell in members for name in cell.skin_types),
            labels=np.concatenate([cell.labels for cell in members]),
            probabilities=np.concatenate([cell.probabilities for cell in members]),
            attributes={
                column: tuple(name for cell in members for name in cell.attributes[column])
                for column in members[0].attributes
            },
        )
        for members in runs.values()
    ]


def members(cell: Cell, group_of: Mapping[str, str] | None) -> list[str | None]:
    """Return the group of every image: its skin type, or what ``group_of`` says of its image id."""
    if group_of is None:
        return list(cell.skin_types)
    return [group_of.get(image) for image in cell.image_ids]
