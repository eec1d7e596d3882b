"""Test scores along a training: what a report of the best test epoch would have claimed.

Chaptoukaev ("The Effectiveness of Generative Models for Data Augmentation in Medical Applications", section
4.1) trains for 100 epochs and records "the best test accuracy in 100 epochs". That chooses by the images it
reports on, so it is too high, and the more so the smaller the test set. It is given with the score of the
weights that validation chose, and is used for nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np

from skindiff.classification.rows import BestEpoch, BestEpochRow, MeanBestEpochs

Log = Sequence[Mapping[str, float]]

_SCORES: tuple[Literal["best_accuracy", "auroc_at_best_accuracy", "best_auroc"], ...] = (
    "best_accuracy",
    "auroc_at_best_accuracy",
    "best_auroc",
)
_SEEDS = ("split_seed", "train_seed")


def best_epoch(log: Log, group: str) -> BestEpoch:
    """Return the best test scores of a training that watched its tests.

    Args:
        log: rows with ``step`` and, where it was scored, ``test_<group>_accuracy`` and
            ``test_<group>_auroc``.
        group: the test set's name.

    Returns:
        ``best_step`` (the first with the highest accuracy), ``best_accuracy`` and
        ``auroc_at_best_accuracy`` there, ``best_auroc`` (the highest of any step, so perhaps of another),
        all in [0, 1], AUROCs None where the test set has one class; ``epochs`` (how many there were to
        choose from).

    Raises:
        ValueError: the log has no such score.
    """
    accuracy, auroc = f"test_{group}_accuracy", f"test_{group}_auroc"
    scored = [row for row in log if accuracy in row]
    if not scored:
        raise ValueError(f"the log holds no {accuracy}: train with experiment.test_curve")
    best = max(scored, key=lambda row: row[accuracy])
    return {
        "best_step": int(best["step"]),
        "best_accuracy": best[accuracy],
        "auroc_at_best_accuracy": best.get(auroc),
        "best_auroc": max((row[auroc] for row in scored if auroc in row), default=None),
        "epochs": len(scored),
    }


def mean_best_epochs(rows: Sequence[BestEpochRow]) -> list[MeanBestEpochs]:
    """Return one row per series: its key without seeds, the mean of each score, its spread, and the runs.

    Args:
        rows: of :attr:`skindiff.classification.experiment.Experiment.best_epochs`, of all splits.

    Returns:
        Rows with ``<score>`` (mean) and ``<score>_sd`` (sample standard deviation, None for one run) of the
        three scores of :func:`best_epoch`, and ``runs``; in the order of first appearance.
    """
    left_out = (*_SEEDS, *_SCORES, "best_step", "epochs")
    groups: dict[tuple[tuple[str, object], ...], list[BestEpochRow]] = {}
    for row in rows:
        key = tuple((name, value) for name, value in row.items() if name not in left_out)
        groups.setdefault(key, []).append(row)
    found: list[MeanBestEpochs] = []
    for key, members in groups.items():
        summary: dict[str, Any] = dict(key)
        for score in _SCORES:
            values = [value for row in members if (value := row[score]) is not None]
            summary[score] = float(np.mean(values)) if values else None
            summary[f"{score}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found.append(cast(MeanBestEpochs, {**summary, "runs": len(members)}))
    return found
