"""The rows that classifiers leave in a report; this module loads nothing heavy."""

from typing import NotRequired, TypedDict

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "macro precision",
    "recall": "macro recall",
    "f1": "macro F1",
    "auroc": "AUROC",
    "sensitivity_at_90_specificity": "sensitivity at 90% specificity",
    "calibration_error": "calibration error",
}
"""The scores that every row of `results` and `summary` carries, all in [0, 1], as tables name them."""

JUDGED = tuple(name for name in METRICS if name != "calibration_error")
"""Those of which more is better, and about which a contrast may be; the others are described."""


class SeriesColumns(TypedDict):
    """The columns that name a series, as in :class:`~skindiff.classification.cells.CellKey`."""

    scenario: str
    test_group: str
    generator: str | None
    strategy: str | None
    arm: str
    ratio: float | None
    architecture: str
    preset: str


class CellColumns(SeriesColumns):
    """The columns of a row that name a cell."""

    split_seed: int | None
    train_seed: int | None


class Scores(TypedDict):
    """What :func:`~skindiff.classification.metrics.classification_scores` returns."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    balanced_accuracy: float
    auroc: float | None
    sensitivity_at_90_specificity: float | None
    calibration_error: float
    per_class_f1: dict[str, float | None]
    per_skin_type_recall: dict[str, float | None]


class BestEpoch(TypedDict):
    """What :func:`~skindiff.classification.best_epoch.best_epoch` returns."""

    best_step: int
    best_accuracy: float
    auroc_at_best_accuracy: float | None
    best_auroc: float | None
    epochs: int


class BestEpochRow(CellColumns, BestEpoch):
    """A cell and the test scores of its best epoch."""


class MeanBestEpochs(SeriesColumns):
    """A row of :func:`~skindiff.classification.best_epoch.mean_best_epochs`."""

    best_accuracy: float | None
    best_accuracy_sd: float | None
    auroc_at_best_accuracy: float | None
    auroc_at_best_accuracy_sd: float | None
    best_auroc: float | None
    best_auroc_sd: float | None
    runs: int


class SplitRow(TypedDict):
    """A row of the report's ``splits``; ``copies_crossing`` where they were counted."""

    seed: int
    sizes: dict[str, int]
    dropped: dict[str, int]
    groups_crossing: int
    copies_crossing: NotRequired[int]
