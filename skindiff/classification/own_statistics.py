"""Batch norm with statistics of its own for synthetic images, which are not used when the network is asked.

After AdvProp's auxiliary batch norm (Xie et al. 2020, arXiv 1911.09665), applied to generated images in arXiv
2312.02253: the network shares its weights, and what is particular to the look of synthetic images goes into
means, variances and scales that are thrown away.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class TwoNorms(nn.Module):
    """A batch norm, and one of the same start for synthetic rows; only in training are they told apart."""

    synthetic: torch.Tensor | None

    def __init__(self, real: _BatchNorm) -> None:
        super().__init__()
        self.real, self.other = real, copy.deepcopy(real)
        self.synthetic = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (b, ...) real and synthetic rows apart; all as real where it is not said which is."""
        rows = self.synthetic if self.training else None
        if rows is None or not rows.any():
            return torch.as_tensor(self.real(x))
        if rows.all():
            return torch.as_tensor(self.other(x))
        real, other = _normalised(self.real, x[~rows]), _normalised(self.other, x[rows])
        # Back in the order of the batch.
        place = torch.argsort(torch.argsort(rows.to(torch.int8), stable=True), stable=True)
        return torch.cat([real, other]).index_select(0, place)


def _normalised(norm: _BatchNorm, x: torch.Tensor) -> torch.Tensor:
    """Normalise rows as in training; one row at one place has no variance, and takes what the others left."""
    alone = x.numel() == x.shape[1]
    seen = torch.as_tensor(norm.train(not alone)(x))
    norm.train()
    return seen


def split_norms(network: nn.Module) -> None:
    """Give every batch norm of a network one of its own for synthetic rows, in place."""
    for name, part in list(network.named_modules()):
        if isinstance(part, _BatchNorm):
            network.set_submodule(name, TwoNorms(part))


def join_norms(network: nn.Module) -> None:
    """Undo :func:`split_norms`, in place: what was learnt of the look of synthetic rows is left behind."""
    for name, part in list(network.named_modules()):
        if isinstance(part, TwoNorms):
            network.set_submodule(name, part.real)


@contextmanager
def rows_are(network: nn.Module, synthetic: torch.Tensor) -> Iterator[None]:
    """Say inside which rows of the batch are synthetic, a bool tensor (b,) on the network's device."""
    parts = [part for part in network.modules() if isinstance(part, TwoNorms)]
    for part in parts:
        part.synthetic = synthetic
    try:
        yield
    finally:
        for part in parts:
            part.synthetic = None
