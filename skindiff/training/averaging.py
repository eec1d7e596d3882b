"""Exponential moving averages of trainable weights, by diffusers' EMAModel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from diffusers.training_utils import EMAModel


def moving_average(parameters: Sequence[nn.Parameter], decay: float) -> EMAModel:
    """Return a moving average that starts at ``parameters`` and warms up as (1 + step) / (10 + step)."""
    # Imported here because it pulls in every network of diffusers: seconds that a classifier need not wait.
    from diffusers.training_utils import EMAModel

    return EMAModel(parameters, decay=decay)


@contextmanager
def ema_weights(ema: EMAModel | None, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let ``parameters`` hold their moving average inside the context; do nothing where ``ema`` is None."""
    if ema is None:
        yield
        return
    ema.store(parameters)
    ema.copy_to(parameters)
    try:
        yield
    finally:
        ema.restore(parameters)
