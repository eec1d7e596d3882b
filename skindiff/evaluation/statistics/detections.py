"""How often a detector recognises generated images, and its own recall, with intervals over images and seeds.

As for classifiers (:mod:`.estimates`): the bootstrap resamples generated images, and groups of held-out
images in all seeds together, for a lesion may be held out in several; the spread between seeds is measured,
not resampled, and the quantile is Student's. The share of the recall, a ratio of two means over seeds, is
taken on the logarithmic scale, to first order. Verdicts on a study's classes are corrected together (Holm).

Coverage of 95% intervals, 500 simulated studies of each design, 100 generated images for each seed; two
binomial standard errors are 2 points (``scripts/calibrate_detection.py`` prints it again):

============================  =====  =========  ======
design                        share  detection  recall
============================  =====  =========  ======
3 seeds                       94.0   95.4       92.2
3 seeds, half as often        95.8   95.2       97.0
3 seeds, 40 lesions           95.8   95.0       96.4
3 seeds that differ much      95.2   94.4       97.0
3 seeds that do not differ    95.2   96.0       96.2
3 seeds, recall of 0.8        95.2   94.8       95.8
5 seeds                       95.0   95.0       95.0
1 seed that does not differ   96.4   96.2       96.0
============================  =====  =========  ======

Of seven classes that are recognised as often as real images one was called different in 0.8% of 400 studies
with three seeds. With the degrees of freedom of an interval, which fit its level and not the tail that the
correction asks of, it was 10%.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from skindiff.evaluation.detection import Detection, Judged
from skindiff.evaluation.rows import DetectionRow, DetectorAccuracy
from skindiff.evaluation.statistics.comparisons import holm
from skindiff.evaluation.statistics.estimates import LEVEL, Estimate, estimate
from skindiff.evaluation.statistics.paired_bootstrap import FloatArray
from skindiff.measures.group_bootstrap import group_means, resampled

Interval = tuple[float | None, float | None]


@dataclass(frozen=True)
class _Share:
    """Detection over recall: its value, both rates, and its logarithm, None where nothing was detected."""

    value: float
    rate: Estimate
    recall: Estimate
    logarithm: Estimate | None

    def interval(self, level: float = LEVEL) -> Interval:
        """Return its ends, None for one without limit; where nothing varied, what both rates' ends allow."""
        if self.logarithm is None or self.logarithm.variance == 0:
            least, most = self.rate.share_interval(level)
            ends = np.divide([least, most], self.recall.share_interval(level)[::-1])
        else:
            ends = np.exp(self.logarithm.interval(level))
        low, high = (float(end) if np.isfinite(end) else None for end in ends)
        return low, high

    @property
    def for_verdict(self) -> "_Share":
        """The same with the degrees of freedom of the seeds alone, for the levels of a correction."""
        if self.logarithm is None:
            return self
        of_seeds = replace(self.logarithm, seed_variance=self.logarithm.variance, image_variance=0.0)
        return replace(self, logarithm=of_seeds)

    @property
    def p_value(self) -> float:
        """Of a detection rate that is the recall; where none was recognised, of a recall of zero."""
        return (self.logarithm or self.recall).p_value()


def detection_rows(detections: Sequence[Detection], *, replicates: int = 2000) -> list[DetectionRow]:
    """Return one row per generator and class, over all seeds.

    Args:
        detections: of one or several seeds and generators.
        replicates: of the bootstrap, which resamples generated images and groups of held-out images.

    Returns:
        Rows with ``generator``, ``class_name``, ``seeds``; ``images`` and ``held_out_images`` (summed over
        seeds); ``detection``, ``recall`` and ``share`` (detection / recall), each with ``_ci_low`` and
        ``_ci_high`` (95%); of ``share`` also ``_p_corrected`` and, at ``corrected_level``,
        ``_ci_low_corrected`` and ``_ci_high_corrected``, of all ``comparisons`` in these rows together;
        ``others`` (the rate at which held-out images of other classes get the label);
        ``confidence`` and ``recall_confidence`` (mean probability of the class over the images that were
        recognised, None if none was); ``mean_probability`` (over all generated images). All
        in [0, 1] but ``share``, which is None where no held-out image was recognised. Classes of which
        there is no synthetic image have no row.
    """
    by_generator: dict[str, list[Detection]] = {}
    for one in detections:
        by_generator.setdefault(one.generator, []).append(one)
    found = [
        _row(generator, name, code, drawn, replicates)
        for generator, members in by_generator.items()
        for code, name in enumerate(members[0].class_names)
        if (drawn := [one for one in members if (one.generated.labels == code).any()])
    ]
    known = [(row, share.for_verdict) for row, share in found if share is not None]
    for (row, share), correction in zip(known, holm([share.p_value for _, share in known]), strict=True):
        low, high = share.interval(correction.level)
        row |= {
            "share_p_corrected": correction.p_value,
            "share_ci_low_corrected": low,
            "share_ci_high_corrected": high,
            "corrected_level": correction.level,
            "comparisons": correction.comparisons,
        }
    return [row for row, _ in found]


def _row(
    generator: str, name: str, code: int, members: list[Detection], replicates: int
) -> tuple[DetectionRow, _Share | None]:
    generated = [one.generated.of_class(code) for one in members]
    real = [one.held_out.of_class(code) for one in members]
    key, equal = ("detection", generator, name), [1.0] * len(members)
    images = sum(len(one.labels) for one in generated)
    drawn = _apart(generated, replicates, *key, "generated")
    known, groups = _together(real, replicates, *key, "held out")
    rate, recall = estimate(drawn, equal, images), estimate(known, equal, groups)
    share = None
    if rate is not None and recall is not None and recall.value > 0:
        logarithm = None
        if rate.value > 0:
            moved = drawn / rate.value - known / recall.value  # to first order
            moved += np.log(rate.value / recall.value)
            logarithm = estimate(moved, equal, min(images, groups))
        share = _Share(rate.value / recall.value, rate, recall, logarithm)
    detected, recalled = (one.share_interval() if one else (None, None) for one in (rate, recall))
    shared = share.interval() if share else (None, None)
    others = [np.mean(one.held_out.called(code)) for one in members if len(one.held_out.called(code))]
    row: DetectionRow = {
        "generator": generator,
        "class_name": name,
        "seeds": len(members),
        "images": images,
        "held_out_images": sum(len(one.labels) for one in real),
        "detection": float(drawn[:, 0].mean()),
        "detection_ci_low": detected[0],
        "detection_ci_high": detected[1],
        "recall": float(known[:, 0].mean()),
        "recall_ci_low": recalled[0],
        "recall_ci_high": recalled[1],
        "share": share.value if share else None,
        "share_ci_low": shared[0],
        "share_ci_high": shared[1],
        "others": float(np.mean(others)) if others else None,
        "confidence": _confidence(generated),
        "recall_confidence": _confidence(real),
        "mean_probability": float(np.mean(np.concatenate([one.own for one in generated]))),
    }
    return row, share


def _apart(members: list[Judged], replicates: int, *key: str) -> FloatArray:
    """Return each seed's share of right images, ``(seeds, replicates + 1)``; no image is of two seeds."""
    return np.stack(
        [
            group_means(one.right[None], one.groups, replicates, *key, number)[:, 0]
            for number, one in enumerate(members)
        ]
    )


def _together(members: list[Judged], replicates: int, *key: str) -> tuple[FloatArray, int]:
    """Return the same under one draw of groups for all seeds, NaN where a seed has none, and their number."""
    groups = sorted({group for one in members for group in one.groups})
    place = {group: number for number, group in enumerate(groups)}
    weights = resampled(len(groups), replicates, *key)
    found = []
    for one in members:
        own = weights[:, [place[group] for group in one.groups]]
        with np.errstate(invalid="ignore"):
            found.append(own @ one.right / own.sum(1))
    return np.stack(found), len(groups)


def _confidence(members: list[Judged]) -> float | None:
    recognised = np.concatenate([one.own[one.right == 1] for one in members])
    return float(recognised.mean()) if len(recognised) else None


def detector_accuracy(detections: Sequence[Detection]) -> DetectorAccuracy:
    """Return accuracy and balanced accuracy on the held-out real images, means over seeds, in [0, 1]."""
    held_out = list({one.seed: one.held_out for one in detections}.values())
    recalls = [
        np.mean([one.right[one.labels == code].mean() for code in np.unique(one.labels)]) for one in held_out
    ]
    return {
        "accuracy": float(np.mean([one.right.mean() for one in held_out])),
        "balanced_accuracy": float(np.mean(recalls)),
        "seeds": float(len(held_out)),
    }
