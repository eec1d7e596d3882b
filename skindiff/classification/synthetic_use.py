"""What is done with the synthetic rows of a training table, which follow its real ones."""

import json
import math
from dataclasses import astuple, dataclass
from typing import get_args

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from scipy.optimize import brentq

from skindiff.classification.arm_names import Arm
from skindiff.classification.blending import Blend, Blending
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.mixing import Mixing, partners_of
from skindiff.errors import ConfigError

_FAR = 1e12
"""A ratio of weights beside which the lighter rows count for nothing."""
_NOTHING = 1e-300


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


def downweighted(
    drawn: NDArray[np.float64], groups: NDArray[np.int64], real: int, share: float
) -> NDArray[np.float64]:
    """Return what each row weighs in the loss, so that added rows have a share of it.

    What is drawn of a group weighs together what it weighed before, and so the balance of groups stays.

    Args:
        drawn: ``(n,)``, how often each row is drawn relative to the others.
        groups: ``(n,)`` codes of what is balanced, such as classes; one alone where nothing is.
        real: how many rows come first; the others are added.
        share: of the added rows together, from 0 to below 1.

    Raises:
        ConfigError: no weight gives them this share, as some groups have rows of one kind alone.
    """
    drawn, added = drawn / drawn.sum(), np.arange(len(drawn)) >= real
    own, more = (np.bincount(groups, drawn * kind) for kind in (~added, added))
    whole = own + more

    def beyond(ratio: float) -> float:
        return float((whole * ratio * more / np.maximum(own + ratio * more, _NOTHING)).sum()) - share

    if share and not beyond(1 / _FAR) < 0 < beyond(_FAR):
        least, most = (beyond(ratio) + share for ratio in (1 / _FAR, _FAR))
        raise ConfigError(
            f"synthetic_share: {share} cannot be had where classes are balanced, as some have real images "
            f"alone, or synthetic ones; take more than {least:.2g} and less than {most:.2g}, or balance none"
        )
    far = math.log(_FAR)
    ratio = math.exp(brentq(lambda log: beyond(math.exp(log)), -far, far, xtol=1e-12)) if share else 0.0
    scale = whole / np.maximum(own + ratio * more, _NOTHING)
    return np.where(added, ratio, 1.0) * scale[groups]


def use_of(
    arm: Arm, config: ExperimentConfig, train: Dataset, drawn: Dataset | None, rows: int
) -> SyntheticUse:
    """Return what an arm does with its synthetic rows.

    Args:
        arm: its name's parts.
        config: with the settings of the uses.
        train: the real rows.
        drawn: the synthetic rows, where there are any.
        rows: how many rows the arm has in all.
    """
    real = len(train)
    if drawn is not None and "mixed" in arm.views:
        sources = drawn["source_id"][:] if "source_id" in drawn.column_names else [None] * len(drawn)
        partners = partners_of(train["image_id"][:], train["label"][:], sources, drawn["label"][:])
        return SyntheticUse(mixing=Mixing(config.mixing_probability, partners))
    if "downweighted" in arm.views:
        return SyntheticUse(share=config.synthetic_share, real=real)
    if "pretrained" in arm.views:
        return SyntheticUse(pretraining=config.pretraining_share, real=real)
    if "own_statistics" in arm.views:
        return SyntheticUse(own_statistics=True, real=real)
    if "equal_exposure" in arm.views:
        return SyntheticUse(equal_exposure=True, real=real)
    for kind in get_args(Blend):
        if kind in arm.views:
            return SyntheticUse(blending=Blending(kind, config.blending_alpha, real, rows), real=real)
    return SyntheticUse()
