"""Data sets that are known: their table, its columns and their terms, as YAML files in the folder beside
this.

``docs/your_table.md`` says how to contribute one.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

from skindiff.corpora.table_corpus.columns import ColumnsConfig
from skindiff.foreign import refuse_unlike
from skindiff.foreign_yaml import read_yaml
from skindiff.wrong_settings import refuse

FOLDER = Path(__file__).parent / "presets"


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
    content = read_yaml(file)
    columns = ColumnsConfig(**content.pop("columns"))
    columns.validate(f"{file.name}: columns.")
    kinds = get_type_hints(Preset)
    for name, value in content.items():
        refuse_unlike(value, kinds[name], f"{file.name}: {name}")
    return Preset(name=file.stem, columns=columns, **content)


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
