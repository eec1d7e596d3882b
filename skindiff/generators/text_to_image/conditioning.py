"""What a network that denoises is conditioned on, whatever an architecture has of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Conditioning:
    """Tensors by name, each with a row for every prompt (or image); an architecture that needs none has none.

    Attributes:
        tensors: of prompts before the text encoders token ids by ``input_ids`` and the like, after them what
            pipelines of diffusers are called with, such as ``prompt_embeds`` and ``pooled_prompt_embeds``.
    """

    tensors: Mapping[str, torch.Tensor]

    def __getitem__(self, rows: Any) -> "Conditioning":
        """Return some rows of every tensor, by whatever indexes a tensor."""
        return Conditioning({name: tensor[rows] for name, tensor in self.tensors.items()})

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next(iter(self.tensors.values())).device

    def to(self, device: torch.device | str) -> "Conditioning":
        """Return it on a device."""
        return Conditioning({name: tensor.to(device) for name, tensor in self.tensors.items()})

    def cast(self, dtype: torch.dtype) -> "Conditioning":
        """Return it in a precision; ids and masks stay what they are."""
        return Conditioning(
            {
                name: tensor.to(dtype) if tensor.is_floating_point() else tensor
                for name, tensor in self.tensors.items()
            }
        )

    @classmethod
    def joined(cls, parts: Sequence["Conditioning"]) -> "Conditioning":
        """Return the rows of all parts, which have the same tensors."""
        return cls({name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors})
