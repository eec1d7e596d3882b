"""Captions: what prompts of a training say of an image after its class and attribute, by columns of a corpus.

A caption is made of parts, such as ``dermoscopy`` or ``{age} years old``. In braces stands a column; a part
with a cell that is not recorded is left out. What is too long for a text encoder is cut by its own tokenizer,
at its own limit, and counted.
"""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import torch
from accelerate.logging import get_logger
from datasets import Dataset, Value

from skindiff.corpora.schema import REAL_COLUMNS
from skindiff.errors import ConfigError
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.wrong_settings import refuse

logger = get_logger(__name__)

_LONGEST = 300
"""Characters of a part, before its columns are filled in."""


def validate_captions(parts: Sequence[str], setting: str) -> None:
    """Raise a ConfigError for a part that can be none."""
    for part in parts:
        if not part.strip() or not part.isprintable() or len(part) > _LONGEST:
            refuse(f"{setting}: {part[:80]!r} is no part of a caption; give words on one line")
        try:
            columns = _columns(part)
        except ValueError:
            columns = [""]
        if not all(map(str.isidentifier, columns)):
            refuse(f"{setting}: {part[:80]!r} has other braces than those of columns, such as {{site}}")


def refuse_unknown_columns(parts: Sequence[str], dataset: Dataset, setting: str) -> None:
    """Raise a ConfigError that names the first column that a corpus lacks, or that is none of words."""
    known = [
        name
        for name, feature in dataset.features.items()
        if name not in REAL_COLUMNS and isinstance(feature, Value) and feature.dtype == "string"
    ]
    for column in (column for part in parts for column in _columns(part)):
        if column not in known:
            raise ConfigError(
                f"{setting}: the corpus has no column {column!r} of words; it has "
                f"{', '.join(known) or 'none'}: name it in corpus.table.columns.attributes, or as its caption"
            )


def captions(parts: Sequence[str], dataset: Dataset) -> list[str]:
    """Return the caption of each row, empty where nothing of it is recorded."""
    columns = dict.fromkeys(column for part in parts for column in _columns(part))
    cells: Mapping[str, list[str | None]] = {column: dataset[column][:] for column in columns}
    return [_filled(parts, {name: own[row] for name, own in cells.items()}) for row in range(len(dataset))]


def cut_captions(pipeline: Any, prompts: Sequence[str], rows: torch.Tensor) -> dict[str, dict[str, int]]:
    """Return by text encoder how many images have a prompt that it does not take whole, and log it.

    Args:
        pipeline: with the text encoders.
        prompts: unique ones.
        rows: (images,) the number of each image's prompt.

    Returns:
        ``images`` of which words are cut, and the ``most_tokens`` that one of them loses; nothing of an
        encoder that takes all of them.
    """
    found = {}
    for encoder, surplus in architecture_of(pipeline).surplus(pipeline, prompts).items():
        lost = torch.tensor(surplus)[rows]
        if images := int((lost > 0).sum()):
            found[encoder] = {"images": images, "most_tokens": int(lost.max())}
            logger.warning(
                "captions: those of %d of %d images are longer than %s takes, and lose up to %d tokens at "
                "their end", images, len(rows), encoder, int(lost.max()),
            )  # fmt: skip
    return found


def _columns(part: str) -> list[str]:
    """Return the columns in braces; ``""`` for braces that say anything else.

    Raises:
        ValueError: the braces do not close.
    """
    fields = [field for field in Formatter().parse(part) if field[1] is not None]
    return [name if name and not spec and not conversion else "" for _, name, spec, conversion in fields]


def _filled(parts: Sequence[str], cells: Mapping[str, str | None]) -> str:
    told = [part for part in parts if all(cells[column] for column in _columns(part))]
    return ", ".join(part.format_map(cells) for part in told)
