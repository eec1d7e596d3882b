"""Frozen parts of a base model, which are on the device while they work and may be unloaded afterwards."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.logging import get_logger
from accelerate.utils.memory import clear_device_cache
from torch import nn

from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.generators.tokens import text_homes

logger = get_logger(__name__)


def frozen_texts(pipeline: Any, learning: Sequence[nn.Module]) -> list[nn.Module]:
    """Return the text encoders that are not among ``learning``: their prompts are encoded once."""
    texts = architecture_of(pipeline).text_encoders(pipeline)
    return [text for text in texts if not any(text is one for one in learning)]


@contextmanager
def at_work(
    pipeline: Any, parts: Sequence[nn.Module], device: torch.device, *, unload: bool
) -> Iterator[None]:
    """Have parts of a pipeline on the device inside the context.

    Args:
        pipeline: that they belong to.
        parts: frozen networks.
        device: to work on.
        unload: let go of their weights afterwards, but of the words that an adapter is saved with; they
            cannot be called any more.
    """
    for part in parts:
        part.to(device)
    yield
    if not unload or not parts:
        return
    size = sum(weight.nbytes for part in parts for weight in part.parameters())
    words = [encoder.get_input_embeddings() for _, encoder in text_homes(pipeline) if encoder in parts]
    # Copied, as a weight that is mapped from a file holds the whole file in memory.
    kept = [(one, one.weight.detach().to("cpu", copy=True)) for one in words]
    for part in parts:
        part.to("meta")
    for embedding, weight in kept:
        embedding.weight = nn.Parameter(weight, requires_grad=False)
    clear_device_cache(garbage_collection=True)
    names = " and ".join(dict.fromkeys(type(part).__name__ for part in parts))
    logger.info("%s: %.1f MB of weights are unloaded, which training does not need", names, size / 1e6)
