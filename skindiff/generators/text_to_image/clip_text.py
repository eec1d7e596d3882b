"""Prompts for a CLIP text encoder: exactly the ids that its pipeline makes."""

import re
from collections.abc import Sequence

import torch
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPTokenizer

from skindiff.errors import GeneratorError

_PLACEHOLDER = re.compile(r"<[^<>\s]+>")


def tokenise(tokenizer: CLIPTokenizer, prompts: Sequence[str], *, cut: bool = False) -> torch.Tensor:
    """Turn prompts into ids as the pipeline does, but refuse what it would quietly get wrong.

    Args:
        tokenizer: one of the pipeline's.
        prompts: any number.
        cut: cut the end of prompts that are too long.

    Returns:
        Ids of shape (prompts, places of the tokenizer), int64, on the CPU.

    Raises:
        GeneratorError: a ``<placeholder>`` of a prompt is not exactly its own added ids, or a prompt is too
            long for the text encoder and not to be cut.
    """
    rows = []
    for prompt in prompts:
        expanded = _expanded(tokenizer, prompt)
        most = tokenizer.model_max_length
        ids = tokenizer(expanded, verbose=False, truncation=cut, max_length=most if cut else None).input_ids
        if len(ids) > most:
            raise GeneratorError(_too_long(tokenizer, prompt))
        _check_placeholders(tokenizer, prompt, ids)
        padded = tokenizer(expanded, padding="max_length", truncation=cut, max_length=most)
        rows.append(torch.tensor(padded.input_ids))
    return torch.stack(rows)


def surplus(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> list[int]:
    """Return how many tokens of each prompt are too many."""
    lengths = [len(tokenizer(_expanded(tokenizer, prompt), verbose=False).input_ids) for prompt in prompts]
    return [max(0, length - tokenizer.model_max_length) for length in lengths]


def _expanded(tokenizer: CLIPTokenizer, prompt: str) -> str:
    """Return a prompt with the names of all rows of its placeholders, for any pipeline."""
    # Some img2img classes lack the mixin, and would show the first row of a word alone.
    expanded: str = TextualInversionLoaderMixin().maybe_convert_prompt(prompt, tokenizer)
    return expanded


def _too_long(tokenizer: CLIPTokenizer, prompt: str) -> str:
    """Return what is said of a prompt that does not fit, in words, which is what can be left out."""
    words, most = prompt.split(), tokenizer.model_max_length
    fit = 0
    for count in range(1, len(words)):
        expanded = _expanded(tokenizer, " ".join(words[:count]))
        if len(tokenizer(expanded, verbose=False).input_ids) > most:
            break
        fit = count
    return (
        f"prompt {prompt!r} is too long: {fit} of its {len(words)} words fit into the {most} tokens of CLIP; "
        f"leave out {len(words) - fit} or more, or lower vectors of a learned token (only captions of a "
        "training are cut)"
    )


def _check_placeholders(tokenizer: CLIPTokenizer, prompt: str, ids: list[int]) -> None:
    added = tokenizer.get_added_vocab()
    for placeholder in dict.fromkeys(_PLACEHOLDER.findall(prompt)):
        if placeholder not in added:
            raise GeneratorError(
                f"prompt {prompt!r}: {placeholder} is no learned token of this pipeline: load the adapter "
                "that holds it, or name the condition in words"
            )
        own = [added[placeholder]]
        while (name := f"{placeholder}_{len(own)}") in added:
            own.append(added[name])
        found = sum(ids[place : place + len(own)] == own for place in range(len(ids)))
        exact = found == prompt.count(placeholder) and sum(map(ids.count, own)) == found * len(own)
        if not exact or f"{placeholder}_" in prompt:
            raise GeneratorError(
                f"prompt {prompt!r}: {placeholder} does not become exactly its own {len(own)} ids: put "
                "spaces around it and leave out its numbered parts"
            )
