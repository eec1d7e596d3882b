"""Which prompt belongs to which row: a few dozen unique prompts stand for thousands of images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from datasets import Dataset

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.generators.prompts import prompt_for
from skindiff.generators.tokens import TokenMap
from skindiff.training.captions import captions


@dataclass(frozen=True)
class PromptTable:
    """The unique prompts of some tables, and the number of each row's prompt.

    Attributes:
        prompts: unique prompts; number 0 is always the empty one, which stands for a dropped prompt.
        rows: for each table the numbers of its rows' prompts, (rows,) int64.
    """

    prompts: list[str]
    rows: list[torch.Tensor]


def prompt_table(
    tables: Sequence[Dataset], tokens: TokenMap, attribute: Attribute | None, parts: Sequence[str] = ()
) -> PromptTable:
    """Number the prompts of ``tables``, which share their label names.

    Args:
        tables: tables of the schema; a null in the attribute's column leaves its phrase out of the prompt.
        tokens: the placeholders; a condition without one is called by its name.
        attribute: what prompts name where it is known, such as the tone of the skin; None names nothing.
        parts: of the captions that follow (:mod:`~skindiff.training.captions`).
    """
    numbers: dict[str, int] = {"": 0}
    rows = []
    for table in tables:
        names = table.features["label"].names
        values = table[attribute.column][:] if attribute else [None] * len(table)
        prompts = [
            prompt_for(tokens.subject(names[label]), value, attribute or SKIN_TYPE, caption)
            for label, value, caption in zip(table["label"][:], values, captions(parts, table), strict=True)
        ]
        rows.append(torch.tensor([numbers.setdefault(prompt, len(numbers)) for prompt in prompts]))
    return PromptTable(list(numbers), rows)
