"""Exponential moving averages of trainable weights, by diffusers' EMAModel."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from diffusers.training_utils import EMAModel
from torch import nn


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
