"""Which images are worth comparing: a bag of visual words per image, weighted by TF-IDF.

Comparing every image with every other would take hours; images that show the same thing share rare visual
words, so each image is compared only with those that share most. A word is a pair of codes, one for each
half of a RootSIFT descriptor (an inverted multi-index), which makes 16,384 words out of two times 128
centres. On Fitzpatrick17k (4,087 images) this puts all 21 verified pairs at the first rank, as a flat
vocabulary of 16,384 centres does in fifty times the time.
"""

from collections.abc import Iterable
from concurrent.futures import Executor

import numpy as np
from scipy import sparse

from skindiff.corpora.local_features import LocalFeatures, rooted
from skindiff.seeding import numpy_generator

CENTRES = 128
"""Centres per half of a descriptor (see the module's text)."""

SAMPLE = 100_000
"""Descriptors that the centres are fitted to."""

ITERATIONS = 10
"""Rounds of k-means; more do not change the ranks."""

_BLOCK = 256


def candidate_pairs(
    features: list[LocalFeatures], candidates: int, mirrored_candidates: int, executor: Executor
) -> list[tuple[int, int, bool]]:
    """Propose the pairs of images that look most alike.

    Args:
        features: of all images; those without any keypoint are proposed for nothing.
        candidates: how many others each image proposes.
        mirrored_candidates: how many others each image proposes that look like its mirror image.
        executor: where the work runs; NumPy must be kept to one thread per call by the caller.

    Returns:
        Sorted, each pair once per way round: ``(first, second, mirrored)`` with ``first < second``.
    """
    if len(features) < 2 or not any(len(one.points) for one in features):
        return []
    centres = _fit_centres(features)
    words = list(executor.map(lambda one: _words(one.descriptors, centres), features))
    weights = _inverse_document_frequency(words)
    bags = _bags(words, weights)
    pairs = {(a, b, False) for a, b in _most_alike(bags, bags, candidates, executor)}
    if mirrored_candidates:
        words = list(executor.map(lambda one: _words(one.mirrored().descriptors, centres), features))
        flipped = _bags(words, weights)
        pairs |= {(a, b, True) for a, b in _most_alike(flipped, bags, mirrored_candidates, executor)}
    return sorted(pairs)


def _fit_centres(features: list[LocalFeatures]) -> np.ndarray:
    """K-means on a seeded sample: float32 (2, centres, 64)."""
    random = numpy_generator("audit", "visual-words")
    share = SAMPLE / sum(len(one.descriptors) for one in features)
    sample = rooted(
        np.concatenate([one.descriptors[random.random(len(one.descriptors)) < share] for one in features])
    )
    first = random.permutation(len(sample))[:CENTRES]
    halves = [np.ascontiguousarray(half) for half in np.split(sample, 2, axis=1)]
    return np.stack([_k_means(half, half[first]) for half in halves])


def _k_means(sample: np.ndarray, centres: np.ndarray) -> np.ndarray:
    for _ in range(ITERATIONS):
        code = _nearest(sample, centres)
        members = sparse.csr_matrix(
            (np.ones(len(code), np.float32), (code, np.arange(len(code)))), (len(centres), len(code))
        )
        size = np.bincount(code, minlength=len(centres))[:, None]
        centres = np.where(size > 0, members @ sample / np.maximum(size, 1), centres).astype(np.float32)
    return centres


def _nearest(values: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the nearest centre for each row of ``values``."""
    offset = (centres**2).sum(axis=1) / 2
    return np.concatenate(
        [(values[i : i + 8192] @ centres.T - offset).argmax(axis=1) for i in range(0, len(values), 8192)]
        or [np.zeros(0, np.int64)]
    )


def _words(descriptors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The distinct visual words of one image, sorted."""
    upper, lower = np.split(rooted(descriptors), 2, axis=1)
    return np.unique(_nearest(upper, centres[0]) * CENTRES + _nearest(lower, centres[1]))


def _inverse_document_frequency(words: list[np.ndarray]) -> np.ndarray:
    frequency = np.bincount(np.concatenate(words), minlength=CENTRES**2)
    return np.log((len(words) + 1) / np.maximum(frequency, 1)).astype(np.float32)


def _bags(words: list[np.ndarray], weights: np.ndarray) -> sparse.csr_matrix:
    """One row of unit length per image (float32, (n, words))."""
    data = [weights[one] / max(float(np.linalg.norm(weights[one])), 1e-6) for one in words]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in words])])
    return sparse.csr_matrix(
        (np.concatenate(data), np.concatenate(words), starts), shape=(len(words), CENTRES**2)
    )


def _most_alike(
    queries: sparse.csr_matrix, bags: sparse.csr_matrix, candidates: int, executor: Executor
) -> Iterable[tuple[int, int]]:
    """Yield (smaller, larger) row numbers: each query with the ``candidates`` bags it shares most with."""
    transposed = bags.T.tocsr()
    kept = min(candidates, bags.shape[0] - 1)

    def block(start: int) -> list[tuple[int, int]]:
        score = (queries[start : start + _BLOCK] @ transposed).toarray()
        here = np.arange(len(score))
        score[here, start + here] = -1
        best = np.argpartition(-score, kept - 1, axis=1)[:, :kept]
        rows, ranks = np.nonzero(np.take_along_axis(score, best, axis=1) > 0)
        ends = np.sort(np.stack([start + rows, best[rows, ranks]], axis=1), axis=1)
        return [(int(first), int(second)) for first, second in ends]

    for pairs in executor.map(block, range(0, bags.shape[0], _BLOCK)):
        yield from pairs
