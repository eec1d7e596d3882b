"""Prompts for a T5 text encoder: exactly the ids that its pipeline makes. It learns no words."""

from collections.abc import Sequence
from typing import Any

import torch

from skindiff.errors import GeneratorError


def tokenise(tokenizer: Any, prompts: Sequence[str], length: int) -> torch.Tensor:
    """Turn prompts into ids as the pipeline does, but refuse what it would quietly cut off.

    Args:
        tokenizer: of the pipeline.
        prompts: any number.
        length: places of a prompt, ``max_sequence_length`` of the pipeline.

    Returns:
        Ids of shape (prompts, length), int64, on the CPU.

    Raises:
        GeneratorError: a prompt is too long.
    """
    for prompt in prompts:
        count = len(tokenizer(prompt, verbose=False).input_ids)
        if count > length:
            raise GeneratorError(
                f"prompt {prompt!r} is too long: it is {count} tokens for the T5 text encoder, which takes "
                f"{length}; shorten it"
            )
    ids: torch.Tensor = tokenizer(
        list(prompts), padding="max_length", max_length=length, return_tensors="pt"
    ).input_ids
    return ids


def encode(encoder: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return what the encoder makes of ids, each row (length, width); it never learns."""
    with torch.no_grad():
        states: torch.Tensor = encoder(ids.to(encoder.device))[0]
    return states
