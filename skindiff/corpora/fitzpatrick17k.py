"""Fitzpatrick17k (Groh et al. 2021): clinical photographs with a condition and a Fitzpatrick skin type.

The data set is a csv of links, most of them dead by now; skindiff reads the photographs that a user has
in a folder and lists the others. It never fetches one.
"""

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skindiff.corpora.image_files import is_image, preferred
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.corpora.table import (
    CorpusEntry,
    ListedImage,
    LoadedCorpus,
    assemble_listed,
    read_csv,
    read_skin_type,
)
from skindiff.errors import CorpusError
from skindiff.wrong_settings import refuse

PAPER_CONDITIONS = (
    "basal cell carcinoma",
    "folliculitis",
    "nematode infection",
    "neutrophilic dermatoses",
    "prurigo nodularis",
    "psoriasis",
    "squamous cell carcinoma",
)
"""The seven conditions of Wang et al. (2024), Table 1."""
CSV_COLUMNS = ("md5hash", "fitzpatrick_scale", "label")


@dataclass
class Fitzpatrick17kConfig:
    """Which images of Fitzpatrick17k, and where they lie."""

    data_dir: str
    """Folder with images/<md5hash>.jpg (or any other ending; images may also lie in the folder itself)."""
    csv: str | None = None
    """The data set's own table, fitzpatrick17k.csv; in data_dir if left out."""
    conditions: list[str] = field(default_factory=lambda: list(PAPER_CONDITIONS))
    """Conditions (column label) in the order of the class codes; the default is the paper's seven."""
    skin_types: list[str] | None = None
    """Keep only images of these skin types (I to VI); all, also not recorded, if left out."""
    audit_csv: str | None = None
    """Output of skindiff audit: its groups become group_id, and its unfit images are left out."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError if a setting cannot work; ``path`` (``"corpus."``) goes before its name."""
        if not self.conditions:
            refuse(f"{path}conditions: the list is empty; name at least one condition")
        repeated = [name for name, count in Counter(self.conditions).items() if count > 1]
        if repeated:
            refuse(f"{path}conditions: {repeated[0]!r} is named twice; name it once")
        unknown = [name for name in self.skin_types or () if name not in SKIN_TYPES]
        if unknown or self.skin_types == []:
            refuse(f"{path}skin_types: {self.skin_types} is not a list of {', '.join(SKIN_TYPES)}")


def load_fitzpatrick17k(config: Fitzpatrick17kConfig, attributes: Sequence[str] = ()) -> LoadedCorpus:
    """Read the rows of the chosen conditions and skin types; no image is opened.

    ``image_id`` is the md5hash, and so is ``group_id`` unless an audit is given: the data set names no
    patients, so every image is in ``ungrouped``. Rows without a file are in ``missing``. A
    class keeps its code (its place in ``conditions``) whatever files are absent.

    Args:
        config: of the corpus.
        attributes: further columns of the csv to read.

    Raises:
        ConfigError: a setting cannot work.
        CorpusError: the folder or the csv is absent, the csv lacks a column or a condition, it lists an
            image twice, no file of its rows is there, or the audit does not fit.
    """
    config.validate()
    folder = Path(config.data_dir)
    if not folder.is_dir():
        raise CorpusError(
            f"data_dir: {folder} is not a folder; give the one that holds Fitzpatrick17k's images"
        )
    table = Path(config.csv) if config.csv is not None else folder / "fitzpatrick17k.csv"
    entries = read_csv(table, "csv", (*CSV_COLUMNS, *attributes))
    _refuse_unknown_conditions(config.conditions, {entry["label"] for entry in entries}, table)
    listed = [
        ListedImage(
            entry["md5hash"],
            entry["label"],
            read_skin_type(entry["fitzpatrick_scale"], "csv", entry["md5hash"]),
            attributes={name: entry[name] or None for name in attributes},
        )
        for entry in entries
        if entry["label"] in config.conditions
    ]
    return assemble_listed(
        [image for image in listed if config.skin_types is None or image.skin_type in config.skin_types],
        config.conditions,
        "fitzpatrick17k",
        table=table,
        known={entry["md5hash"] for entry in entries},
        folder=folder,
        files=image_files(folder),
        audit_csv=config.audit_csv,
    )


def image_files(folder: Path) -> dict[str, Path]:
    """Return every image file in ``folder/images`` and ``folder`` by md5hash (its name without ending)."""
    files: dict[str, Path] = {}
    for place in (folder / "images", folder):
        if place.is_dir():
            found = [file for file in place.iterdir() if is_image(file) and not file.name.startswith(".")]
            for file in sorted(found, key=preferred):
                files.setdefault(file.stem, file)
    return files


def _refuse_unknown_conditions(conditions: list[str], known: set[str], table: Path) -> None:
    for condition in conditions:
        if condition not in known:
            closest = difflib.get_close_matches(condition, sorted(known), n=3, cutoff=0.0)
            raise CorpusError(
                f"conditions: {condition!r} is not in {table} ({len(known)} conditions; the closest are "
                f"{', '.join(repr(name) for name in closest)}); correct it or leave it out"
            )


FITZPATRICK17K = CorpusEntry(
    "fitzpatrick17k", Fitzpatrick17kConfig, load_fitzpatrick17k, files=image_files, reads_attributes=True
)
