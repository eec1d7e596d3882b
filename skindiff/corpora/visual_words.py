"""Which images are worth comparing: a bag of visual words per image, weighted by TF-IDF.

Comparing every image with every other would take hours; images that show the same thing share rare visual
words, so each image is compared only with those that share most. A word is a pair of codes, one for each
half of a RootSIFT descriptor (an inverted multi-index), which makes 16,384 words out of two times 128
centres. On Fitzpatrick17k (4,087 images) this puts all 21 verified pairs at the first rank, as a flat
vocabulary of 16,384 centres does in fifty times the time.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from skindiff.corpora.local_features import LocalFeatures, rooted
from skindiff.progress import progress
from skindiff.seeding import numpy_generator

CENTRES = 128
"""Centres per half of a descriptor (see the module's text)."""

SAMPLE = 100_000
"""Descriptors that the centres are fitted to."""

ITERATIONS = 10
"""Rounds of k-means; more do not change the ranks."""

EXHAUSTIVE = 8_192
"""Images up to which every bag of words is compared with every other. Beyond, the vocabulary is four times as
large and grows as the corpus does, and words of too many images propose nothing: the work for an image stays
the same, but for finding its words. Of Fitzpatrick17k's 4,087 photographs, searched as if they were 10,000,
this finds 800 of the 837 pairs that are accepted otherwise, 115 others, which show one patient each too, and
all 21 verified ones (scripts/compare_audit_searches.py)."""

MOST_IMAGES = 500
"""Images that a word may stand in to propose pairs, where there are more than EXHAUSTIVE."""

_BLOCK = 256

FeaturesOf = Callable[[int], LocalFeatures]
"""Gives the features of an image by its number; they need not all fit into memory."""


def candidate_pairs(
    counts: Sequence[int],
    features: FeaturesOf,
    candidates: int,
    mirrored_candidates: int,
    executor: Executor,
    exhaustive: int = EXHAUSTIVE,
) -> list[tuple[int, int, bool]]:
    """Propose the pairs of images that look most alike.

    Args:
        counts: keypoints of every image; those without any are proposed for nothing.
        features: of an image by its number.
        candidates: how many others each image proposes.
        mirrored_candidates: how many others each image proposes that look like its mirror image.
        executor: where the work runs; NumPy must be kept to one thread per call by the caller.
        exhaustive: images up to which every one is compared with every other.

    Returns:
        Sorted, each pair once per way round: ``(first, second, mirrored)`` with ``first < second``.
    """
    total = len(counts)
    if total < 2 or not any(counts):
        return []
    growth = 4 * total / exhaustive if total > exhaustive else 1
    centres = _fit_centres(counts, features, round(CENTRES * math.sqrt(growth)))

    def words_of(number: int) -> list[NDArray[np.int32]]:
        own = features(number)
        ways = [own, own.mirrored()] if mirrored_candidates else [own]
        return [_words(way.descriptors, centres) for way in ways]

    words: list[list[NDArray[np.int32]]] = []
    with progress(total=total, desc="reading visual words", unit="image") as bar:
        # In blocks: an executor takes in all that it is given, and would hold the features of all images.
        for start in range(0, total, _BLOCK):
            words += executor.map(words_of, range(start, min(start + _BLOCK, total)))
            bar.update(min(_BLOCK, total - start))
    upright = [ways[0] for ways in words]
    vocabulary = centres.shape[1] ** 2
    weights = _inverse_document_frequency(upright, vocabulary)
    bags = _bags(upright, weights)
    index = bags.T.tocsr()
    if growth > 1:
        index = sparse.diags_array((np.diff(index.indptr) <= MOST_IMAGES).astype(np.float32)) @ index
        index.eliminate_zeros()
    pairs = {(a, b, False) for a, b in _most_alike(bags, index, candidates, executor)}
    if mirrored_candidates:
        flipped = _bags([ways[1] for ways in words], weights)
        pairs |= {(a, b, True) for a, b in _most_alike(flipped, index, mirrored_candidates, executor)}
    return sorted(pairs)


def _fit_centres(counts: Sequence[int], features: FeaturesOf, centres: int) -> np.ndarray:
    """K-means on a seeded sample: float32 (2, centres, 64)."""
    random = numpy_generator("audit", "visual-words")
    share = SAMPLE / sum(counts)
    drawn = [random.random(count) < share for count in counts]
    sample = rooted(
        np.concatenate([features(n).descriptors[one] for n, one in enumerate(drawn) if one.any()])
    )
    first = random.permutation(len(sample))[:centres]
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


def _words(descriptors: np.ndarray, centres: np.ndarray) -> NDArray[np.int32]:
    """The distinct visual words of one image, sorted."""
    upper, lower = np.split(rooted(descriptors), 2, axis=1)
    codes = _nearest(upper, centres[0]) * centres.shape[1] + _nearest(lower, centres[1])
    return np.unique(codes).astype(np.int32)


def _inverse_document_frequency(words: list[NDArray[np.int32]], vocabulary: int) -> np.ndarray:
    frequency = np.zeros(vocabulary, np.int64)
    for one in words:
        frequency[one] += 1
    return np.log((len(words) + 1) / np.maximum(frequency, 1)).astype(np.float32)


def _bags(words: list[NDArray[np.int32]], weights: np.ndarray) -> sparse.csr_matrix:
    """One row of unit length per image (float32, (n, words))."""
    data = [weights[one] / max(float(np.linalg.norm(weights[one])), 1e-6) for one in words]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in words])])
    return sparse.csr_matrix(
        (np.concatenate(data), np.concatenate(words), starts), shape=(len(words), len(weights))
    )


def _most_alike(
    queries: sparse.csr_matrix, index: sparse.csr_matrix, candidates: int, executor: Executor
) -> Iterator[tuple[int, int]]:
    """Yield (smaller, larger) row numbers: each query with the ``candidates`` bags it shares most with."""

    def block(start: int) -> list[tuple[int, int]]:
        score = queries[start : start + _BLOCK] @ index
        found = []
        for row, (begin, end) in enumerate(pairwise(score.indptr.tolist())):
            others, shared = score.indices[begin:end], score.data[begin:end].copy()
            shared[others == start + row] = 0
            best = np.argsort(-shared, kind="stable")[:candidates]
            found += [_ordered(start + row, int(other)) for other in others[best[shared[best] > 0]]]
        return found

    for pairs in executor.map(block, range(0, queries.shape[0], _BLOCK)):
        yield from pairs


def _ordered(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)
