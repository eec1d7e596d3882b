"""Which rows of the training table a step sees: pure functions of a key and the step."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from skindiff.seeding import numpy_generator

Sampler = Callable[[int], np.ndarray]
"""Maps an optimiser step, counted from 0, to the rows of its global batch; at the end of a pass over the
images they may be fewer, or a few more."""


def epoch_sizes(rows: int, global_batch: int, least: int = 1) -> list[int]:
    """Return how many rows each step of one pass over the images has.

    Args:
        rows: of one pass.
        global_batch: rows of a step.
        least: a last batch of fewer rows joins the one before, if there is one: batch norm needs two.
    """
    full, rest = divmod(rows, global_batch)
    sizes = [global_batch] * full + [rest] * (rest > 0)
    if len(sizes) > 1 and sizes[-1] < least:
        sizes[-2:] = [sizes[-2] + sizes[-1]]
    return sizes


def epoch_batches(sizes: Sequence[int], *key: str | int, weights: np.ndarray | None = None) -> Sampler:
    """Return a sampler of whole passes: each shows every row once, and ends with a batch of what is left.

    Args:
        sizes: of the batches of one pass, of :func:`epoch_sizes`.
        key: of the order.
        weights: (n,); where they are given a pass takes as many rows with replacement, in proportion to them.
    """
    rows, ends = sum(sizes), np.cumsum(sizes)
    shares = None if weights is None else np.asarray(weights, dtype=np.float64) / np.sum(weights)

    @lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        generator = numpy_generator(*key, "epoch", epoch)
        return (
            generator.permutation(rows) if shares is None else generator.choice(len(shares), rows, p=shares)
        )

    def sample(step: int) -> np.ndarray:
        epoch, place = divmod(step, len(sizes))
        return order(epoch)[ends[place] - sizes[place] : ends[place]]

    return sample


def shuffled_batches(rows: int, global_batch: int, *key: str | int) -> Sampler:
    """Return a sampler that runs through permutations of ``rows`` rows, one per epoch, keyed by ``key``.

    Batches go on across epoch ends, so every row is seen equally often up to one.
    """

    def sample(step: int) -> np.ndarray:
        places = np.arange(step * global_batch, (step + 1) * global_batch)
        epochs = places // rows
        batch = np.empty(global_batch, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            batch[here] = numpy_generator(*key, "epoch", int(epoch)).permutation(rows)[places[here] % rows]
        return batch

    return sample


def weighted_batches(weights: np.ndarray, global_batch: int, *key: str | int) -> Sampler:
    """Return a sampler that takes rows with replacement in proportion to ``weights`` (n,), keyed by step."""
    probabilities = np.asarray(weights, dtype=np.float64) / np.sum(weights, dtype=np.float64)

    def sample(step: int) -> np.ndarray:
        return numpy_generator(*key, "step", step).choice(
            len(probabilities), size=global_batch, p=probabilities
        )

    return sample


def beside(first: Sampler, second: Sampler) -> Sampler:
    """Return a sampler of the rows of ``first``, each followed by one of ``second``.

    ``second`` must give a row or more; what it has too few of is left out.
    """

    def sample(step: int) -> np.ndarray:
        own, other = first(step), second(step)
        both = min(len(own), len(other))
        return np.concatenate([np.stack([own[:both], other[:both]], axis=1).ravel(), own[both:]])

    return sample
