"""Random streams that depend on names alone, never on the process, the platform or what was sampled before.

Training and synthesis derive every random number from a key such as ``("lora", seed, step)``. A run that
was killed therefore resumes exactly without any saved generator state, and what is sampled does not depend
on the number of processes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(*parts: str | int) -> int:
    """Return a seed in [0, 2**63) that is a pure function of ``parts`` (SHA-256 of their text)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(*parts: str | int) -> torch.Generator:
    """Return a CPU generator seeded by :func:`derive_seed`; move its tensors, not the generator."""
    import torch  # here, so that corpora load without it

    return torch.Generator("cpu").manual_seed(derive_seed(*parts))


def numpy_generator(*parts: str | int) -> np.random.Generator:
    """Return a NumPy generator seeded by :func:`derive_seed`."""
    return np.random.default_rng(derive_seed(*parts))
