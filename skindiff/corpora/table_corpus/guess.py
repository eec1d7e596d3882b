"""Which column of a table is which, by its name and by what is in it.

A guess is never silent: what was taken for what is said, and two columns that fit one role are an error.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skindiff.corpora.table import known_text, read_skin_type
from skindiff.corpora.table_corpus.columns import ColumnsConfig
from skindiff.corpora.table_corpus.dialects import TextTable
from skindiff.corpora.table_corpus.matching import Ambiguous, ImageFiles
from skindiff.errors import CorpusError

_JUDGED = 500
"""Rows, from all of the table, by which a column is judged."""
_FILLER = {"id", "ids", "nr", "no", "num", "number", "code", "key", "the", "of", "image"}
"""Words of a header that do not say what it is of."""
NAMES = {
    "label": {
        *("label", "labels", "diagnosis", "diagnosen", "diagnose", "diagnostic", "dx", "class", "classes"),
        *("target", "condition", "disease", "category", "pathology", "befund", "skincondition", "folder"),
    },
    "patient": {
        "patient",
        "patients",
        "subject",
        "person",
        "participant",
        "pid",
        "patientin",
        "groupid",
        "caseid",
    },
    "lesion": {"lesion", "mole", "läsion", "laesion"},
    "skin_type": {
        *("skintype", "fitzpatrick", "fitspatrick", "fitzpatrickscale", "fitzpatrickskintype", "fst"),
        *("phototype", "fitzpatricktype", "hauttyp"),
    },
    "split": {"split", "set", "subset", "partition", "fold", "usage", "topfolder"},
}
"""Headers by role, without filler words, in small letters; with those of the table that folders are."""
PART_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "tuning"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "eval"), "test"),
}
"""How official parts are called, and what they are."""
NEVER_SILENT = ("label", "patient")


@dataclass(frozen=True)
class Guess:
    """What was found for a role that the settings leave open."""

    role: str
    candidates: tuple[str, ...]
    """Columns that fit; the role is taken by it where there is one."""


def guess(
    table: TextTable, files: ImageFiles | None, columns: ColumnsConfig
) -> tuple[ColumnsConfig, list[Guess]]:
    """Return the columns with those filled in that only one column of the table can be, and every guess.

    Args:
        table: with the headers and cells.
        files: that its rows may name; None where each row has its image with it.
        columns: what the settings say; what they name is no candidate for another role.
    """
    taken = {column for _, column in columns.named()}
    free = [name for name in dict.fromkeys(table.columns) if name not in taken]
    step = max(1, len(table) // _JUDGED)
    cells = {name: table.column(name)[::step] for name in free if table.columns.count(name) == 1}
    guesses: list[Guess] = []
    if files is not None and columns.file is None:
        found = [name for name, column in cells.items() if _holds_files(column, files)]
        guesses.append(Guess("file", tuple(found)))
        cells = {name: column for name, column in cells.items() if name not in found}
        files.moved.clear()
        files.renamed.clear()
    fits: dict[str, Callable[[Sequence[str]], bool]] = {
        "label": lambda column: len(set(column)) > 1,
        "patient": lambda column: any(map(known_text, column)),
        "lesion": lambda column: any(map(known_text, column)),
        "skin_type": lambda column: _share(column, _is_skin_type) == 1,
        "split": lambda column: _share(column, lambda cell: cell.casefold() in PART_WORDS) == 1,
    }
    for role, fit in fits.items():
        if getattr(columns, role) is None:
            found = [name for name in cells if is_called(name, role) and fit(cells[name])]
            if role == "label" and not found:
                found = _one_hot(cells)
                guesses.append(Guess(role, (", ".join(found),) if found else ()))
                if found:
                    columns = replace(columns, label=found)
                continue
            guesses.append(Guess(role, tuple(found)))
    sure: dict[str, Any] = {one.role: one.candidates[0] for one in guesses if len(one.candidates) == 1}
    if isinstance(columns.label, list):
        sure.pop("label", None)
    return replace(columns, **sure), guesses


def refuse_open(guesses: Sequence[Guess], table: TextTable, place: str, needed: Sequence[str]) -> None:
    """Refuse a table in which two columns fit one role, or none does for a role that is needed.

    Raises:
        CorpusError: it is; the message lists the columns that fit.
    """
    for one in guesses:
        if len(one.candidates) > 1:
            flag = f"--corpus.table.columns.{one.role}"
            raise CorpusError(
                f"columns.{one.role}: {' and '.join(map(repr, one.candidates))} of {place} both fit; say "
                f"which it is, such as {flag} {_quoted(one.candidates[0])}"
            )
        if not one.candidates and one.role in needed:
            raise CorpusError(
                f"columns.{one.role}: none of the {len(table.columns)} columns of {place} is known to hold "
                f"it; say which does by --corpus.table.columns.{one.role} (skindiff data check lists them)"
            )


def said_of(guesses: Sequence[Guess], place: str) -> list[str]:
    """Return sentences on what was guessed that must not be guessed in silence."""
    return [
        f"columns.{one.role} is not given: {one.candidates[0]!r} of {place} is taken for it; name it to be "
        "sure"
        for one in guesses
        if one.role in NEVER_SILENT and len(one.candidates) == 1
    ]


def is_called(header: str, role: str) -> bool:
    """Return whether a header names a role, whatever its capitals and separators, with or without an id."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header))
    small = [word.casefold() for word in words]
    whole = "".join(small)
    bare = "".join(word for word in small if word not in _FILLER)
    return not NAMES[role].isdisjoint({whole, whole.removesuffix("id"), bare})


def _share(column: Sequence[str], fits: Callable[[str], bool]) -> float:
    filled = [cell for cell in column if known_text(cell) is not None]
    return sum(map(fits, filled)) / len(filled) if filled else 0.0


def _holds_files(column: Sequence[str], files: ImageFiles) -> bool:
    """Return whether most cells name a file, and nearly all of them another."""
    filled = [cell for cell in column if known_text(cell) is not None]
    distinct = len(set(filled)) > 0.9 * len(filled)
    return distinct and _share(filled, lambda cell: _names_a_file(cell, files)) > 0.5


def _names_a_file(cell: str, files: ImageFiles) -> bool:
    try:
        return files.find(cell) is not None
    except Ambiguous:
        return True


def _is_skin_type(cell: str) -> bool:
    try:
        return read_skin_type(cell, "", "") is not None or cell.startswith("-1")
    except CorpusError:
        return False


def _one_hot(cells: dict[str, list[str]]) -> list[str]:
    """Return the columns of which exactly one holds 1 in every row, if there are at least two."""
    values = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "true": 1, "false": 0, "": 0}
    binary = {
        name: [values[cell.casefold()] for cell in column]
        for name, column in cells.items()
        if all(cell.casefold() in values for cell in column)
    }
    single = len(binary) > 1 and all(sum(row) == 1 for row in zip(*binary.values(), strict=True))
    return list(binary) if single else []


def _quoted(column: str) -> str:
    return f'"{column}"' if " " in column else column
