"""Which rows of the training table a step sees: pure functions of a key and the step."""

from bisect import bisect_right
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


def one_shape_batches(
    passes: Sampler, shapes: Sequence[object], global_batch: int, *key: str | int
) -> Sampler:
    """Return a sampler whose batches each hold rows of one shape.

    The rows of a pass are grouped by shape, in their own order, and cut into batches, of which the last of
    each shape holds what is left; the batches of the pass come in an order keyed by ``key``.

    Args:
        passes: maps the number of a pass, from 0, to its rows.
        shapes: of every row of the table.
        global_batch: rows of a step.
        key: of the order.
    """
    codes = np.unique([str(shape) for shape in shapes], return_inverse=True)[1]
    starts = [0]

    @lru_cache(maxsize=2)
    def batches(number: int) -> list[np.ndarray]:
        rows = np.asarray(passes(number))
        own = [rows[codes[rows] == code] for code in np.unique(codes[rows])]
        cut = [part for same in own for part in np.split(same, range(global_batch, len(same), global_batch))]
        order = numpy_generator(*key, "pass", number).permutation(len(cut))
        return [cut[place] for place in order]

    def sample(step: int) -> np.ndarray:
        while starts[-1] <= step:
            starts.append(starts[-1] + len(batches(len(starts) - 1)))
        number = bisect_right(starts, step) - 1
        return batches(number)[step - starts[number]]

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
