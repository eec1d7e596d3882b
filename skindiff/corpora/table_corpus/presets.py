"""Data sets that are known: their table, its columns and their terms, as YAML files in the folder beside
this.

``docs/your_table.md`` says how to contribute one.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from skindiff.corpora.table_corpus.columns import ColumnsConfig
from skindiff.foreign import refuse_unlike
from skindiff.foreign_yaml import read_yaml
from skindiff.wrong_settings import refuse

FOLDER = Path(__file__).parent / "presets"


class _Content(TypedDict):
    """What a preset's file says."""

    title: str
    credit: str
    licence: str
    size: str
    where: str
    source: str
    columns: dict[str, Any]
    metadata: NotRequired[str]
    joined: NotRequired[dict[str, str]]
    folders: NotRequired[list[str]]
    classes: NotRequired[dict[str, list[str]]]
    notes: NotRequired[str]


@dataclass(frozen=True)
class Preset:
    """A data set as the table corpus reads it."""

    name: str
    title: str
    credit: str
    """Whom to cite."""
    licence: str
    """The Hub's identifier of its licence."""
    size: str
    """How many images, and of what."""
    where: str
    """Where a user gets it; nothing is fetched."""
    source: str
    """What its columns were read from, with the date."""
    columns: ColumnsConfig
    metadata: str | None = None
    """Its file; several names with ``|`` between them, of which one is there."""
    joined: dict[str, str] | None = None
    folders: list[str] | None = None
    classes: dict[str, list[str]] | None = None
    notes: str = ""
    """What a user has to know of it."""


def _read(file: Path) -> Preset:
    content: _Content = read_yaml(file)
    refuse_unlike(content, _Content, file.name)
    columns = ColumnsConfig(**content["columns"])
    columns.validate(f"{file.name}: columns.")
    rest = {name: value for name, value in content.items() if name != "columns"}
    return Preset(name=file.stem, columns=columns, **rest)  # type: ignore[arg-type]


PRESETS: dict[str, Preset] = {file.stem: _read(file) for file in sorted(FOLDER.glob("*.yaml"))}
"""Every preset by its name."""


def refuse_unknown_preset(name: str, setting: str) -> None:
    """Refuse the name of a preset that there is not.

    Raises:
        ConfigError: it is.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        meant = f"did you mean {near[0]!r}?" if near else "skindiff data list shows all"
        refuse(f"{setting}: {name!r} is no preset; {meant}")
