"""Which prompt belongs to which row: a few dozen unique prompts stand for thousands of images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from datasets import Dataset

from skindiff.generators.prompts import prompt_for
from skindiff.generators.tokens import TokenMap


@dataclass(frozen=True)
class PromptTable:
    """The unique prompts of some tables, and the number of each row's prompt.

    Attributes:
        prompts: unique prompts; number 0 is always the empty one, which stands for a dropped prompt.
        rows: for each table the numbers of its rows' prompts, (rows,) int64.
    """

    prompts: list[str]
    rows: list[torch.Tensor]


def prompt_table(tables: Sequence[Dataset], tokens: TokenMap, *, mention_tone: bool) -> PromptTable:
    """Number the prompts of ``tables``, which share their label names.

    Args:
        tables: tables of the schema; a skin type of null leaves the tone out of the prompt.
        tokens: the placeholders; a condition without one is called by its name.
        mention_tone: name the tone of the skin where it is known.
    """
    numbers: dict[str, int] = {"": 0}
    rows = []
    for table in tables:
        names = table.features["label"].names
        prompts = [
            prompt_for(tokens.subject(names[label]), skin_type if mention_tone else None)
            for label, skin_type in zip(table["label"], table["skin_type"], strict=True)
        ]
        rows.append(torch.tensor([numbers.setdefault(prompt, len(numbers)) for prompt in prompts]))
    return PromptTable(list(numbers), rows)
