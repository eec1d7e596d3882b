"""Images whose label may be wrong, and images that are off topic, by the features of a frozen network.

Labels are doubted as confident learning does it (Northcutt et al. 2021): a probe that has not seen an image,
nor any of its group, says how likely every class is. A label is doubted if another class is at least as
likely as it is on average for the images that bear it, and its own is among the least likely of the corpus,
by the probe and by the nearest images of other groups together. An image is off topic if it lies farther from
the others than images of the corpus do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from skindiff.classification.probe import ProbeConfig, ProbeRows, fit_probe
from skindiff.errors import TrainingError
from skindiff.seeding import derive_seed

FloatArray = NDArray[np.float64]

FOLDS = 5
"""Parts of the groups; the probe that judges a part has seen the others."""

DIMENSIONS = 128
"""Principal components of the features that are looked at; a probe is then fitted ten times faster."""

NEIGHBOURS = 15
"""Nearest images of other groups that are asked for their labels."""

LOOKED_AT = 0.05
"""Largest share of the images whose labels are doubted: a probability that excludes a label in one corpus
does not in another, but the order holds. Of 5% of the labels of HAM10000 (5,984 images of 7 classes) that
were swapped 46% are doubted, and 59 to 63% of the doubted ones are swapped; of Fitzpatrick17k (4,087 images
of 21 classes, which a probe tells apart in 38% of cases) 41% and 47%."""

OFF_TOPIC_NEIGHBOUR, OFF_TOPIC = 30, 3.0
"""The neighbour whose distance tells, and how far it must lie above the upper quarter of all images, in terms
of the distance from their middle to that quarter (logarithms). Of Fitzpatrick17k's photographs planted among
HAM10000, one in a hundred, half are off topic then, as are 0.8% of HAM10000's own; among the photographs of
Fitzpatrick17k, which are of any kind, hardly any of what was planted is found."""


@dataclass(frozen=True)
class Doubts:
    """What is doubted of every image.

    Attributes:
        probabilities: ``(n, classes)`` by a probe that saw none of the image's group.
        suggested: ``(n,)`` code of the class that an image looks like; its own where that is not doubted.
        order: rows whose label is doubted, the most doubtful first.
    """

    probabilities: FloatArray
    suggested: NDArray[np.int64]
    order: NDArray[np.int64]


def principal(features: NDArray[Any]) -> FloatArray:
    """Return the main components of features (n, width) as (n, at most DIMENSIONS), in their own scale."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ axes[:, ::-1][:, :DIMENSIONS])


def doubt_labels(
    features: NDArray[Any], labels: NDArray[np.int64], groups: Sequence[str], classes: int, seed: int = 0
) -> Doubts:
    """Find labels that the features of an image speak against.

    Args:
        features: ``(n, width)`` of a frozen network.
        labels: ``(n,)`` codes.
        groups: patient, lesion or duplicate cluster of every image; its images never judge one another.
        classes: how many there are.
        seed: of the folds.

    Raises:
        TrainingError: there are images of one class alone, or too few groups to judge any.
    """
    if len(set(groups)) < FOLDS or len(set(labels.tolist())) < 2:
        raise TrainingError(
            f"label errors: {len(set(groups))} groups of {len(set(labels.tolist()))} classes are too few; "
            f"there must be {FOLDS} groups and two classes"
        )
    seen = principal(features)
    probabilities = _out_of_fold(seen, labels, groups, classes, seed)
    own = probabilities[np.arange(len(labels)), labels]
    # How sure the probe is of a class on average, where a label says that it is that class.
    usual = np.array(
        [own[labels == one].mean() if (labels == one).any() else np.inf for one in range(classes)]
    )
    above = np.where(probabilities >= usual, probabilities, -1.0)
    suggested = np.where(above.max(axis=1) > 0, above.argmax(axis=1), labels)
    rows = np.arange(len(labels))
    near = _shares_of_neighbours(seen, labels, groups, classes)[rows, labels]
    doubt = -np.log(own + 1e-9) - np.log(near + 1e-3)
    order = np.argsort(-doubt, kind="stable")[: round(LOOKED_AT * len(labels))]
    order = order[suggested[order] != labels[order]]
    doubted = np.isin(rows, order)
    return Doubts(probabilities, np.where(doubted, suggested, labels).astype(np.int64), order)


def off_topic(features: NDArray[Any], groups: Sequence[str]) -> FloatArray:
    """Return how far an image lies from the others: ``(n,)``, above 1 for one that is off topic.

    Args:
        features: ``(n, width)`` of a frozen network.
        groups: of every image; the images of a group are as good as one.
    """
    seen = principal(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9))
    seen /= np.maximum(seen.std(axis=0), 1e-9)
    distances = _nearest(seen, groups, OFF_TOPIC_NEIGHBOUR)[0]
    distances[~np.isfinite(distances)] = 0
    far = np.log(np.maximum(distances.max(axis=1), 1e-9))
    middle, upper = np.percentile(far, [50, 75])
    return np.asarray((far - upper) / max(OFF_TOPIC * (upper - middle), 1e-9))


def _out_of_fold(
    seen: FloatArray, labels: NDArray[np.int64], groups: Sequence[str], classes: int, seed: int
) -> FloatArray:
    ones = np.ones(len(labels))
    every = ProbeRows(seen[:, None].astype(np.float32), labels, groups, ones, ones, float(len(labels)))
    strength = fit_probe(ProbeConfig(), every, classes, seed).strength
    config = ProbeConfig(strengths=[strength])
    cut = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=derive_seed("label errors", seed) % 2**32)
    probabilities = np.zeros((len(labels), classes))
    for kept, left in cut.split(labels, labels, groups):
        part = ProbeRows(
            every.features[kept], labels[kept], [groups[row] for row in kept], ones[kept], ones[kept],
            float(len(kept)),
        )  # fmt: skip
        probabilities[left] = fit_probe(config, part, classes, seed).predict(seen[left])
    return probabilities


def _nearest(seen: FloatArray, groups: Sequence[str], count: int) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return distances to and rows of the nearest images of other groups, (n, count); inf where are fewer."""
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    extra = min(len(seen), count + int(np.minimum(np.bincount(codes).max(), 3 * count)))
    with threadpool_limits(1):
        found, rows = NearestNeighbors(n_neighbors=extra, algorithm="brute").fit(seen).kneighbors(seen)
    found = np.where(codes[rows] == codes[:, None], np.inf, found)
    order = np.argsort(found, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _shares_of_neighbours(
    seen: FloatArray, labels: NDArray[np.int64], groups: Sequence[str], classes: int
) -> FloatArray:
    """Return the shares of the nearest images of other groups that bear every label, (n, classes)."""
    distances, rows = _nearest(seen, groups, NEIGHBOURS)
    # A rare class has fewer images that could be near.
    weight = np.isfinite(distances) / np.bincount(labels, minlength=classes)[labels[rows]]
    shares = np.zeros((len(seen), classes))
    for place in range(rows.shape[1]):
        shares[np.arange(len(seen)), labels[rows[:, place]]] += weight[:, place]
    return np.asarray(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12))
