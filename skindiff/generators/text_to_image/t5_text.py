"""Prompts for a T5 text encoder: exactly the ids that its pipeline makes. It learns no words."""

from collections.abc import Sequence
from typing import Any

import torch

from skindiff.errors import GeneratorError


def tokenise(tokenizer: Any, prompts: Sequence[str], length: int, *, cut: bool = False) -> torch.Tensor:
    """Turn prompts into ids as the pipeline does, but refuse what it would quietly cut off.

    Args:
        tokenizer: of the pipeline.
        prompts: any number.
        length: places of a prompt, ``max_sequence_length`` of the pipeline.
        cut: cut the end of prompts that are too long.

    Returns:
        Ids of shape (prompts, length), int64, on the CPU.

    Raises:
        GeneratorError: a prompt is too long and not to be cut.
    """
    if not cut:
        refuse_long(tokenizer, prompts, length, "T5")
    ids: torch.Tensor = tokenizer(
        list(prompts), padding="max_length", truncation=cut, max_length=length, return_tensors="pt"
    ).input_ids
    return ids


def refuse_long(tokenizer: Any, prompts: Sequence[str], length: int, encoder: str) -> None:
    """Raise a GeneratorError for the first prompt of more tokens than ``length``, which ``encoder`` takes."""
    for prompt, more in zip(prompts, surplus(tokenizer, prompts, length), strict=True):
        if more:
            raise GeneratorError(
                f"prompt {prompt!r} is too long: it is {length + more} tokens for {encoder}, which takes "
                f"{length}; shorten it (only captions of a training are cut)"
            )


def surplus(tokenizer: Any, prompts: Sequence[str], length: int) -> list[int]:
    """Return how many tokens of each prompt are more than ``length``."""
    return [max(0, len(tokenizer(prompt, verbose=False).input_ids) - length) for prompt in prompts]


def encode(encoder: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return what the encoder makes of ids, each row (length, width); it never learns."""
    with torch.no_grad():
        states: torch.Tensor = encoder(ids.to(encoder.device))[0]
    return states
