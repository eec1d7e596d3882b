"""What is done with the synthetic rows of a training table, which follow its real ones."""

import json
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from skindiff.classification.blending import Blending
from skindiff.classification.mixing import Mixing
from skindiff.errors import ConfigError

_FAR = 30.0
"""Logarithm of a ratio of weights beside which the lighter rows count for nothing."""


@dataclass(frozen=True)
class SyntheticUse:
    """What is done with the synthetic rows of a training table, which follow its real ones.

    Attributes:
        mixing: they are shown only in place of real ones; classes are then balanced, and epochs counted, over
            the real rows.
        share: of the loss that is of synthetic rows, however often they are shown; all rows weigh alike when
            None.
        pretraining: share of the steps that show them alone, before the real rows alone; together when 0.
        own_statistics: batch norm has statistics of its own for them, which are not used when it is asked.
        blending: images are part one and part the other, and so are labels.
        equal_exposure: every step shows the real rows that it shows without them, and as many of them; epochs
            are counted over the real rows.
        real: how many rows are real.
    """

    mixing: Mixing | None = None
    share: float | None = None
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
        if self.share is not None:
            known += ["share", self.share, self.real]
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


def downweighted(drawn: NDArray[np.float64], real: int, share: float) -> NDArray[np.float64]:
    """Return what each row weighs in the loss, 1 in the mean of what is drawn: added rows have a share of it.

    Args:
        drawn: ``(n,)``, how often each row is drawn relative to the others.
        real: how many rows come first; the others are added.
        share: of the added rows together, from 0 to below 1.
    """
    added = drawn[real:].sum() / drawn.sum()
    return np.repeat([(1 - share) / (1 - added), share / added], [real, len(drawn) - real])


def downweighted_in_classes(labels: NDArray[np.int64], real: int, share: float) -> NDArray[np.float64]:
    """Return what rows weigh before every class is given the same weight, so that added rows have a share.

    Args:
        labels: ``(n,)`` codes.
        real: how many rows come first; the others are added.
        share: of the added rows in the mean over the classes, from 0 to below 1.

    Raises:
        ConfigError: no weight gives them this share, as some classes have no rows of one of the kinds.
    """
    if share == 0:
        return np.repeat([1.0, 0.0], [real, len(labels) - real])
    classes = int(labels.max()) + 1
    kinds = (np.bincount(part, minlength=classes) for part in (labels[:real], labels[real:]))
    own, added = (kind[np.bincount(labels) > 0] for kind in kinds)

    def beyond(log_ratio: float) -> float:
        weighed = added * np.exp(log_ratio)
        return float((weighed / (own + weighed)).mean()) - share

    if beyond(-_FAR) > 0 or beyond(_FAR) < 0:
        least, most = beyond(-_FAR) + share, beyond(_FAR) + share
        raise ConfigError(
            f"synthetic_share: {share} cannot be had where every class weighs as much, as some have real "
            f"images alone, or synthetic ones; take {least:.2f} to {most:.2f}, or balance none"
        )
    ratio = float(np.exp(brentq(beyond, -_FAR, _FAR, xtol=1e-12)))
    return np.repeat([1.0, ratio], [real, len(labels) - real])
