"""Which rows of the training table a step sees: pure functions of a key and the step."""

from collections.abc import Callable

import numpy as np

from skindiff.seeding import numpy_generator

Sampler = Callable[[int], np.ndarray]
"""Maps an optimiser step, counted from 0, to the rows of its global batch."""


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
