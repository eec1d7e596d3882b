"""Learned words: their names, and their rows in the embedding matrices of text encoders."""

import copy
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import CLIPTokenizer

from skindiff.errors import GeneratorError
from skindiff.generators.text_to_image.loading import architecture_of

MOST_VECTORS = 64
"""Rows of a placeholder; a prompt has 77 places for all its words."""
_LONGEST_SLUG = 60


@dataclass(frozen=True)
class TokenMap:
    """The learned words of an adapter.

    Attributes:
        tokens: the placeholder of each condition, such as ``{"psoriasis": "<skindiff-psoriasis>"}``; empty
            for an adapter without textual inversion.
        vectors: rows of the embedding matrix per placeholder; beyond one they follow diffusers' naming
            (``<x>``, ``<x>_1``, ...), of which a prompt holds only the first.
        initialiser: the word that the rows started from.
    """

    tokens: dict[str, str]
    vectors: int = 1
    initialiser: str = "skin"

    def subject(self, condition: str) -> str:
        """Return what stands for ``condition`` in a prompt: its placeholder, or its own name without one."""
        return self.tokens.get(condition, condition)

    def names(self, condition: str) -> list[str]:
        """Return the names of all rows of a condition's placeholder, in order."""
        first = self.tokens[condition]
        return [first, *(f"{first}_{vector}" for vector in range(1, self.vectors))]


def placeholder_for(condition: str) -> str:
    """Return the placeholder of a condition, a function of its name alone, such as ``<skindiff-psoriasis>``.

    Names of lower-case ASCII words and digits are kept with hyphens for spaces. Any other name, and one of
    over 60 characters (it becomes a file's), loses something on the way and so carries eight hex digits of
    its SHA-256, which keeps it unlike all others.
    """
    slug = "-".join(re.findall(r"[a-z0-9]+", condition.lower()))[:_LONGEST_SLUG]
    if slug.replace("-", " ") != condition:
        digest = hashlib.sha256(condition.encode()).hexdigest()[:8]
        slug = f"{slug}-{digest}" if slug else digest
    return f"<skindiff-{slug}>"


def is_placeholder(word: str) -> bool:
    """Return whether a word can be a placeholder: its name becomes a file's."""
    return re.fullmatch(r"<[\w-][\w.-]{0,100}>", word) is not None


def make_token_map(conditions: Sequence[str], vectors: int = 1, initialiser: str = "skin") -> TokenMap:
    """Name the placeholders of ``conditions``.

    Raises:
        GeneratorError: two conditions would share a placeholder, or ``vectors`` is below 1.
    """
    if not 1 <= vectors <= MOST_VECTORS:
        raise GeneratorError(f"vectors is {vectors}: give each condition at least 1, at most {MOST_VECTORS}")
    tokens: dict[str, str] = {}
    for condition in conditions:
        token = placeholder_for(condition)
        if token in tokens.values():
            raise GeneratorError(f"condition {condition!r}: another one has the token {token}: rename one")
        tokens[condition] = token
    return TokenMap(tokens, vectors, initialiser)


def initialiser_ids(tokenizer: CLIPTokenizer, initialiser: str, vectors: int) -> list[int]:
    """Return the vocabulary ids that the rows of a placeholder start from, repeated to ``vectors`` of them.

    Raises:
        GeneratorError: the initialiser is no token or more tokens than there are rows.
    """
    ids = tokenizer(initialiser, add_special_tokens=False).input_ids
    if not 1 <= len(ids) <= vectors or tokenizer.unk_token_id in ids:
        pieces = tokenizer.convert_ids_to_tokens(ids)
        raise GeneratorError(
            f"initialiser {initialiser!r} is {len(ids)} tokens of this model ({' '.join(pieces)}): with "
            f"vectors={vectors} choose a known word of {'exactly 1' if vectors == 1 else f'1 to {vectors}'}"
        )
    return [ids[vector % len(ids)] for vector in range(vectors)]


def text_homes(pipeline: Any) -> list[tuple[CLIPTokenizer, Any]]:
    """Return each tokenizer and text encoder in which learned tokens live."""
    homes = architecture_of(pipeline).token_homes
    return [(getattr(pipeline, home.tokenizer), getattr(pipeline, home.text_encoder)) for home in homes]


def set_tokenizers(pipeline: Any, tokenizers: Sequence[CLIPTokenizer]) -> None:
    """Give a pipeline other tokenizers in the places where learned tokens live."""
    for home, tokenizer in zip(architecture_of(pipeline).token_homes, tokenizers, strict=True):
        setattr(pipeline, home.tokenizer, tokenizer)


Rows = list[dict[str, list[int]]]
"""The ids of each condition's rows, for each place where learned tokens live."""


def add_tokens(pipeline: Any, token_map: TokenMap) -> Rows:
    """Give ``pipeline`` the placeholders of ``token_map``, each row a copy of its initialiser's.

    The pipeline gets copies of its tokenizers, so that the old ones stay as they were.

    Returns:
        In each place the rows are one contiguous range over all conditions.

    Raises:
        GeneratorError: a placeholder is in a vocabulary already, the initialiser cannot be used, or the
            architecture has no place for them.
    """
    homes = text_homes(pipeline)
    names = [name for condition in token_map.tokens for name in token_map.names(condition)]
    if names and not homes:
        raise GeneratorError(
            f"a {type(pipeline).__name__} takes no learned words, as diffusers has no loader for them: train "
            "a LoRA"
        )
    starts = []
    for tokenizer, _ in homes:
        vocabulary = tokenizer.get_vocab()
        if taken := [name for name in names if name in vocabulary]:
            raise GeneratorError(
                f"token {taken[0]} is in the vocabulary already: load a fresh pipeline, or unload the "
                "adapter that brought it"
            )
        starts.append(initialiser_ids(tokenizer, token_map.initialiser, token_map.vectors))
    set_tokenizers(pipeline, [copy.deepcopy(tokenizer) for tokenizer, _ in homes])
    found: Rows = []
    for (tokenizer, encoder), start in zip(text_homes(pipeline), starts, strict=True):
        tokenizer.add_tokens(names)
        _grow_embeddings(encoder, len(tokenizer))
        ids = {
            condition: cast(list[int], tokenizer.convert_tokens_to_ids(token_map.names(condition)))
            for condition in token_map.tokens
        }
        weight = encoder.get_input_embeddings().weight
        with torch.no_grad():
            for rows in ids.values():
                weight[rows] = weight[start]
        found.append(ids)
    return found


def _grow_embeddings(encoder: Any, rows: int) -> None:
    if rows > encoder.get_input_embeddings().num_embeddings:
        # The fresh rows are overwritten at once; sampling them must not move the global generator.
        with torch.random.fork_rng(devices=[]):
            encoder.resize_token_embeddings(rows, mean_resizing=False)
    encoder.get_input_embeddings().requires_grad_(False)


def token_ids(pipeline: Any, token_map: TokenMap) -> Rows:
    """Return the ids of each condition's rows in a pipeline that has them.

    Raises:
        GeneratorError: the pipeline lacks one of the placeholders.
    """
    found: Rows = []
    for tokenizer, _ in text_homes(pipeline):
        vocabulary = tokenizer.get_added_vocab()
        ids = {}
        for condition in token_map.tokens:
            names = token_map.names(condition)
            missing = [name for name in names if name not in vocabulary]
            if missing:
                raise GeneratorError(
                    f"token {missing[0]} is unknown to this pipeline: load its adapter first"
                )
            ids[condition] = [vocabulary[name] for name in names]
        found.append(ids)
    return found
