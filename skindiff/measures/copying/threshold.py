"""From which similarity on an image counts as a near copy: set where few unseen real images would be flagged.

Real images of people that the generator has never seen come near to training images too, as far as patients
and lesions are alike. They say how near is no copying. The threshold is the smallest one above which, with
the confidence asked for, at most a given share of such images lies: a distribution-free tolerance limit
(Wilks 1941, Ann. Math. Statist. 12, 91-96) whose bound is that of Clopper & Pearson (1934, Biometrika 26,
404-413), over groups, since images of one lesion come near to the same training image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from skindiff.measures.copying.rows import Share

THRESHOLD = 0.93
"""Similarity of structures from which an image counts as a near copy where no held-out images say better."""
FEATURES_THRESHOLD = 1.0
"""The same where features of a network are compared: no more than what is equal in them."""
SAME = 0.98
"""Similarity of structures from which two real images are likely one photograph: in four conditions of
Fitzpatrick17k one in another size has 0.9997, two of one patient have 0.90; of 500 unseen lesions of HAM10000
none comes nearer to another lesion than 0.97."""
TWIN = 0.95
"""Similarity of structures from which an image of another corpus is taken for one of the study: of 150 images
of HAM10000 each, 99% to 100% of the copies that are mirrored, turned, cropped, recompressed, recoloured or
retoned come nearer (:mod:`.planted`), and of 1,000 of its lesions none to 3,000 others (the nearest has
0.942; of Fitzpatrick17k's 468 basal cell carcinomas to the same 3,000 it has 0.854)."""
_STEP = 1e-4
"""Similarities have four decimals."""


@dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from.

    Attributes:
        value: similarity from which an image counts as a near copy.
        source: ``held-out`` (set on real images that the generator never saw), or ``default``
            (:data:`THRESHOLD`, where those were too few).
        groups: of held-out images that it was set on.
        flagged_groups: of these, how many have an image at or above it.
        false_flags: share of groups that was asked for at most.
        bound: with the confidence asked for, at most this share of such groups is flagged.
    """

    value: float
    source: Literal["held-out", "default"]
    groups: int
    flagged_groups: int
    false_flags: float
    bound: float


def held_out_threshold(
    similarities: NDArray[np.float64],
    groups: Sequence[str],
    *,
    false_flags: float,
    confidence: float,
    default: float,
) -> Threshold:
    """Set the threshold on held-out real images.

    Args:
        similarities: ``(n,)``, of each to its nearest training image, with four decimals.
        groups: of the held-out images.
        false_flags: largest share of groups that may be flagged.
        confidence: that it is no more, for groups yet unseen.
        default: least threshold where there are too few groups for that (at 2% and 95% fewer than 149). It is
            raised only as far as more than the share asked for lies above it: a single image that comes
            nearer may be a training image in another size, and must not hide all copies.
    """
    nearest: dict[str, float] = {}
    for group, similarity in zip(groups, similarities.tolist(), strict=True):
        nearest[group] = max(similarity, nearest.get(group, -1.0))
    ranked = sorted(nearest.values(), reverse=True)
    total = len(ranked)
    counts = takewhile(lambda count: upper_bound(count, total, confidence) <= false_flags, range(total))
    allowed = list(counts)
    spared = len(allowed) - 1 if allowed else int(false_flags * total)
    highest_left = ranked[spared] if ranked else -1.0
    value = min(1.0, round(highest_left + _STEP, 4))
    source: Literal["held-out", "default"] = "held-out"
    if not allowed and default > value:
        value, source = default, "default"
    flagged = sum(similarity >= value for similarity in ranked)
    bound = upper_bound(flagged, total, confidence)
    return Threshold(value, source, total, flagged, false_flags, bound)


def upper_bound(count: int, total: int, confidence: float) -> float:
    """Return the one-sided upper limit of a share of which ``count`` of ``total`` were seen."""
    return 1.0 if count >= total else float(beta.ppf(confidence, count + 1, total - count))


def share_interval(flags: Sequence[bool], clusters: Sequence[str], level: float = 0.95) -> Share:
    """Return a share of images with its interval, images of one cluster counted as one that is seen in parts.

    The exact interval of Clopper and Pearson with the number of clusters in place of images (Korn & Graubard
    1998, Survey Methodology 24, 193-201, with images of a cluster taken to be all alike).

    Args:
        flags: one per image; at least one.
        clusters: what images are sampled together with (their source, or they alone).
        level: of the interval.
    """
    total = len(set(clusters))
    share = float(np.mean(flags))
    count, tail = share * total, (1 - level) / 2
    low = float(beta.ppf(tail, count, total - count + 1)) if count > 0 else 0.0
    high = float(beta.ppf(1 - tail, count + 1, total - count)) if count < total else 1.0
    return {"share": share, "low": low, "high": high}
