"""Synthetic images in place of real ones, now and then.

Trabucco et al. 2023, "Effective Data Augmentation With Diffusion Models" (arXiv 2302.07944): with
probability alpha (theirs is 0.5) a real image of the batch is replaced by one of those that were made from
it. So synthetic images never outnumber real ones by more than alpha : 1 - alpha, however many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skindiff.seeding import numpy_generator
from skindiff.training.samplers import Sampler


@dataclass(frozen=True)
class Mixing:
    """Which synthetic rows may stand in for which real row, and how often.

    Attributes:
        probability: of a replacement, above 0 and at most 1.
        partners: for each real row (the first rows of the table) the rows that may replace it; where there
            are none the real row is shown.
    """

    probability: float
    partners: tuple[tuple[int, ...], ...]

    def sampler(self, real: Sampler, *key: str | int) -> Sampler:
        """Return a sampler that replaces rows of ``real``, decided by ``key`` and the step."""

        def sample(step: int) -> np.ndarray:
            rows = real(step)
            chances, choices = numpy_generator(*key, "mixing", step).random((2, len(rows)))
            mixed = rows.copy()
            for place in np.flatnonzero(chances < self.probability):
                partners = self.partners[rows[place]]
                if partners:
                    mixed[place] = partners[int(choices[place] * len(partners))]
            return mixed

        return sample

    def weights(self, rows: int) -> NDArray[np.float64]:
        """Return what each of ``rows`` rows weighs where weights stand for how often it is shown."""
        weights = np.zeros(rows)
        for row, partners in enumerate(self.partners):
            weights[row] += 1 - self.probability if partners else 1.0
            for partner in partners:
                weights[partner] += self.probability / len(partners)
        return weights


def partners_of(
    real_ids: Sequence[str], real_labels: Sequence[int], sources: Sequence[str | None], labels: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Return for each real row the synthetic rows made from it, or else all of its class without a source.

    Args:
        real_ids: ``image_id`` of the real rows, which come first in the table.
        real_labels: their class codes.
        sources: ``source_id`` of the synthetic rows, which follow; None for text-to-image.
        labels: their class codes.
    """
    by_source: dict[str, list[int]] = {}
    by_class: dict[int, list[int]] = {}
    for row, (source, label) in enumerate(zip(sources, labels, strict=True), start=len(real_ids)):
        if source is None:
            by_class.setdefault(label, []).append(row)
        else:
            by_source.setdefault(source, []).append(row)
    return tuple(
        tuple(by_source.get(name) or by_class.get(label, []))
        for name, label in zip(real_ids, real_labels, strict=True)
    )
