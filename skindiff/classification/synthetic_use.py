"""What is done with the synthetic rows of a training table, which follow its real ones."""

import json
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from skindiff.classification.blending import Blending
from skindiff.classification.mixing import Mixing


@dataclass(frozen=True)
class SyntheticUse:
    """What is done with the synthetic rows of a training table, which follow its real ones.

    Attributes:
        mixing: they are shown only in place of real ones; classes are then balanced, and epochs counted, over
            the real rows.
        weights: (n,) of all rows in the loss, 1 in the mean; all alike when None.
        pretraining: share of the steps that show them alone, before the real rows alone; together when 0.
        own_statistics: batch norm has statistics of its own for them, which are not used when it is asked.
        blending: images are part one and part the other, and so are labels.
        equal_exposure: every step shows the real rows that it shows without them, and as many of them; epochs
            are counted over the real rows.
        real: how many rows are real.
    """

    mixing: Mixing | None = None
    weights: NDArray[np.float64] | None = None
    pretraining: float = 0.0
    own_statistics: bool = False
    blending: Blending | None = None
    equal_exposure: bool = False
    real: int = 0

    def pretraining_steps(self, steps: int) -> int:
        """Return how many of so many steps show synthetic rows alone."""
        return round(self.pretraining * steps)

    def digest(self) -> bytes:
        """Return what decides a training, to key checkpoints by; empty where all rows are used alike."""
        known: list[object] = []
        if self.mixing is not None:
            known += [self.mixing.probability, self.mixing.partners]
        if self.weights is not None:
            known += ["weights", self.weights.tolist()]
        if self.pretraining:
            known += ["pretraining", self.pretraining, self.real]
        if self.own_statistics:
            known += ["own statistics", self.real]
        if self.equal_exposure:
            known += ["equal exposure", self.real]
        if self.blending is not None:
            known += [*astuple(self.blending)]
        return json.dumps(known).encode() if known else b""


ALIKE = SyntheticUse()
"""Synthetic rows are rows like any other."""


def downweighted(real: int, added: int, share: float) -> NDArray[np.float64]:
    """Return what each row weighs in the loss, 1 in the mean, so that added rows have a share of it.

    Args:
        real: how many rows come first.
        added: how many follow.
        share: of the added rows together, from 0 to below 1.
    """
    rows = real + added
    return np.concatenate([np.full(real, (1 - share) * rows / real), np.full(added, share * rows / added)])
