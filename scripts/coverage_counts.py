"""How often intervals cover the truth, and effects are found, over many simulated studies of one design."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize, stats
from simulated_studies import Design, simulate, simulate_elsewhere

from skindiff.classification.weighted_scores import weighted_scores
from skindiff.evaluation.statistics.elsewhere import compared
from skindiff.evaluation.statistics.summary import summarise

METRICS = ("balanced_accuracy", "f1", "auroc", "sensitivity_at_90_specificity")


@dataclass(frozen=True)
class Calibration:
    """What was counted over the studies of a design, for one score; shares in [0, 1], widths in score units.

    Attributes:
        design: its name.
        metric: the score.
        studies: how many.
        covered: share of the uncorrected 95% intervals that hold the true difference of the last arm.
        helps: share whose interval lies above zero; with an effect this is the power.
        any_found: share with any arm's corrected interval off zero; without effect the family-wise error.
        mean_covered: share of the intervals of the reference's mean that hold its mean over all studies.
        width: median width of the interval of the difference.
        stated_power: median (and mean_stated_power, the mean) of the power stated for five points.
        minimum_effect: median of the stated minimum detectable effect.
        cautioned: share of the studies whose row carries a caution.
    """

    design: str
    metric: str
    studies: int
    covered: float
    helps: float
    any_found: float
    mean_covered: float
    width: float
    stated_power: float
    mean_stated_power: float
    minimum_effect: float
    cautioned: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def wilson(share: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson interval of a share that was seen over ``count`` independent studies."""
    found = stats.binomtest(round(share * count), count).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def calibrate(
    design: Design,
    studies: int,
    *,
    replicates: int = 200,
    metrics: Sequence[str] = METRICS,
    truth: float = 0.0,
    seed: int = 0,
) -> list[Calibration]:
    """Simulate studies, summarise each as a report would, and count.

    Args:
        design: the kind of study.
        studies: how many; 2,000 know a coverage of 95% to half a point.
        replicates: of each study's bootstrap.
        metrics: scores to count for.
        truth: the true difference of the last arm in these scores (0 where ``design.effect`` is 0).
        seed: names the random streams.

    Returns:
        One :class:`Calibration` per metric.
    """
    rows = [
        summarise(simulate(design, seed, study), metrics=metrics, replicates=replicates, seed=study)
        for study in range(studies)
    ]
    return [
        _count(design, metric, [[row for row in found if row["metric"] == metric] for found in rows], truth)
        for metric in metrics
    ]


def _count(
    design: Design, metric: str, found: Sequence[Sequence[dict[str, Any]]], truth: float
) -> Calibration:
    last = [rows[-1] for rows in found]
    low, high = (np.array([row[f"delta_ci_{end}"] for row in last]) for end in ("low", "high"))
    real = np.array([[rows[0][name] for name in ("mean", "ci_low", "ci_high")] for rows in found])
    middle = real[:, 0].mean()
    corrected = [[row["delta_p_corrected"] <= 0.05 for row in rows[1:]] for rows in found]
    stated = [row["power_at_5_points"] for row in last]
    return Calibration(
        design=design.name,
        metric=metric,
        studies=len(found),
        covered=float(np.mean((low <= truth) & (truth <= high))),
        helps=float(np.mean(low > 0)),
        any_found=float(np.mean([any(one) for one in corrected])),
        mean_covered=float(np.mean((real[:, 1] <= middle) & (middle <= real[:, 2]))),
        width=float(np.median(high - low)),
        stated_power=float(np.median(stated)),
        mean_stated_power=float(np.mean(stated)),
        minimum_effect=float(np.median([row["minimum_effect"] for row in last])),
        cautioned=float(np.mean([row["caution"] is not None for row in last])),
    )


def covered_elsewhere(
    design: Design, studies: int, metrics: Sequence[str], *, replicates: int = 200
) -> dict[str, tuple[float, float]]:
    """Return how often the interval of the difference between two places holds zero, and its median width.

    Args:
        design: the kind of study; in both places images are of one distribution.
        studies: how many are simulated.
        metrics: scores to count for.
        replicates: of each study's bootstrap.
    """
    held: dict[str, list[tuple[bool, float]]] = {metric: [] for metric in metrics}
    for study in range(studies):
        here, there = simulate_elsewhere(replace(design, arms=1), study)
        for row in compared(here, there, "elsewhere", metrics, replicates, seed=study):
            low, high = row["change_ci_low"], row["change_ci_high"]
            held[row["metric"]].append((low <= 0 <= high, high - low))
    return {
        metric: (float(np.mean([one for one, _ in found])), float(np.median([width for _, width in found])))
        for metric, found in held.items()
    }


def true_difference(design: Design, metric: str, studies: int = 200, seed: int = 0) -> float:
    """Return the mean difference of the last arm to the reference over simulated studies (no bootstrap)."""
    found = []
    for study in range(studies):
        by_arm: dict[str, list[float]] = {}
        for cell in simulate(design, "truth", seed, study):
            once = np.ones((1, len(cell.labels)))
            score = weighted_scores(cell.labels, cell.probabilities, once, [metric])[metric][0]
            by_arm.setdefault(cell.key.arm, []).append(float(score))
        arms = list(by_arm.values())
        found.append(np.mean(arms[-1]) - np.mean(arms[0]))
    return float(np.mean(found))


def plant(design: Design, metric: str, difference: float, studies: int = 200) -> Design:
    """Return the design with the effect that makes the last arm better by ``difference`` in a score.

    Args:
        design: without an effect.
        metric: the score, such as ``"balanced_accuracy"``.
        difference: wanted, in the score's unit (0.05 is five points), positive.
        studies: simulated for every step of the search, on the same random numbers.
    """
    without = true_difference(design, metric, studies)

    def missing(effect: float) -> float:
        # The same studies without effect take out what these few have by chance.
        return true_difference(replace(design, effect=effect), metric, studies) - without - difference

    effect = float(optimize.brentq(missing, 0.0, 3.0, xtol=1e-3))
    return replace(design, effect=effect, name=f"{design.name}, planted {100 * difference:+.1f}")


def naive_width(
    design: Design, metric: str, studies: int, replicates: int = 200
) -> tuple[float, float, float]:
    """Return what becomes of the interval of a difference if every image is taken for a patient of its own.

    Args:
        design: whose groups repeat, without an effect.
        metric: the score.
        studies: to simulate.
        replicates: of each study's bootstrap.

    Returns:
        The mean ratio of the width by group to that by image, and how often either interval holds zero.
    """
    ratios, held = [], []
    for study in range(studies):
        cells = simulate(design, "naive", study)
        apart = [replace(cell, group_ids=cell.image_ids) for cell in cells]
        ends = [
            (row["delta_ci_low"], row["delta_ci_high"])
            for kind in (cells, apart)
            for row in summarise(kind, metrics=[metric], replicates=replicates, seed=study)[-1:]
        ]
        clustered, naive = (high - low for low, high in ends)
        ratios.append(clustered / naive)
        held.append([low <= 0 <= high for low, high in ends])
    by_group, by_image = np.mean(held, axis=0)
    return float(np.mean(ratios)), float(by_group), float(by_image)
