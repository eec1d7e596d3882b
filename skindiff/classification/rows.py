"""The rows that classifiers leave in a report; this module loads nothing heavy."""

from typing import NotRequired, TypedDict

from skindiff.corpora.rows import CorpusCounts

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


BALANCED_BRIER = "balanced_brier"
ELSEWHERE = {
    **{name: METRICS[name] for name in ("balanced_accuracy", "auroc", "sensitivity_at_90_specificity")},
    "calibration_error": METRICS["calibration_error"],
    BALANCED_BRIER: "balanced Brier score",
}
"""The scores on other corpora, where other shares of the classes are common, as tables name them. The Brier
score is the mean over classes of half the squared distance between probabilities and truth, so that every
class weighs alike: less is better, and 0.25 is what equal odds have where there are two."""


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


class ReadCorpus(CorpusCounts):
    """What was read of a corpus, and its name."""

    name: str


class ExternalCounts(TypedDict):
    """What is tested of another corpus; see :mod:`skindiff.classification.external_sets`.

    ``classes`` says what each of its classes is here (None where its images are left out, whose numbers are
    in ``unmapped``) and ``ours`` what each class of the study counts as; ``tested`` has the images of each
    scored class; ``attribute`` is the column by which groups of its images are told apart; ``twins`` are
    images that the study has too (None where they could not be searched for), and ``planted_found`` the share
    of planted copies that such a search finds, by kind; ``trained_again`` are classifiers whose weights were
    not kept, and ``asked_before`` those of other settings that this run has asked about it.
    """

    name: str
    corpus: ReadCorpus
    classes: dict[str, str | None]
    ours: dict[str, str]
    tested: dict[str, int]
    images: int
    groups: int
    unmapped: dict[str, int]
    attribute: NotRequired[str]
    twins: int | None
    twins_from: float
    planted_found: dict[str, float]
    trained_again: int
    asked_before: int
