"""The table corpus: a table with a row for each image, of any columns, and a folder of images of any depth.

::

    data_dir/
      clinic.csv        Foto;Patient;Diagnose;Hauttyp
                        IMG_0001;17;Ekzem;FST 4
      images/2021/IMG_0001.JPG ...

A folder of folders without a table does as well: its table is then what the folders are called. So does a
data set of the Hub, a folder that ``save_to_disk`` wrote, and a folder of Parquet files with images.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePosixPath

from datasets import Dataset

from skindiff.corpora.image_files import is_image, not_read
from skindiff.corpora.imagefolder import ImageFolderConfig
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.corpora.table import (
    CorpusEntry,
    ImageRow,
    ListedImage,
    LoadedCorpus,
    assemble,
    refuse_absent_column,
    table_warnings,
)
from skindiff.corpora.table_corpus.columns import ColumnsConfig
from skindiff.corpora.table_corpus.dialects import TABLE_SUFFIXES, TextTable, check_encoding
from skindiff.corpora.table_corpus.facts import Facts, read_facts
from skindiff.corpora.table_corpus.guess import Guess, guess, refuse_open, said_of
from skindiff.corpora.table_corpus.matching import Ambiguous, ImageFiles, find_images
from skindiff.corpora.table_corpus.presets import PRESETS, refuse_unknown_preset
from skindiff.corpora.table_corpus.sources import Source, find_source
from skindiff.errors import CorpusError
from skindiff.wrong_settings import refuse


@dataclass
class TableConfig:
    """Images that a table of any columns lists."""

    data_dir: str
    """Folder with the images, at any depth, and the table; or a table, a folder of save_to_disk or of Parquet
    files with images, or a Hub data set id (owner/name)."""
    metadata: str | None = None
    """The table (csv, TSV, JSONL, Parquet, xlsx), in data_dir or anywhere; the one at the top of data_dir if
    left out, or the folders' names if there is none."""
    preset: str | None = None
    """A data set that is known, whose table, columns and folders are then set; skindiff data list names
    them."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    """Which column says what."""
    joined: dict[str, str] | None = None
    """Further tables, each with the column by which its rows are found: {metadata.csv: image_id}."""
    classes: list[str] | dict[str, list[str]] | None = None
    """Labels to read, in the order of their codes, all by name if left out; or classes made of them:
    {melanoma: [mel, melanoma in situ], naevus: [nv]}."""
    skin_types: list[str] | None = None
    """Keep only images of these skin types (I to VI); all, also not recorded, if left out."""
    folders: list[str] | None = None
    """Folders of data_dir to look for images in, of which some may be absent; all if left out."""
    encoding: str | None = None
    """What the table is written in, such as cp1252; UTF-8, or UTF-16 by its byte-order mark, if left out."""
    delimiter: str | None = None
    """What stands between the cells of a csv; what fits all rows if left out."""
    audit_csv: str | None = None
    """Output of skindiff audit: its groups are joined to the patients, its unfit images are left out."""
    hub_revision: str | None = None
    """Branch, tag or commit of a Hub data set."""
    hub_split: str | None = None
    """Split of a Hub data set that holds the images; all if left out."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError if a setting cannot work; ``path`` (``"corpus."``) goes before its name."""
        self.columns.validate(f"{path}columns.")
        if self.preset is not None:
            refuse_unknown_preset(self.preset, f"{path}preset")
        names = list(self.classes or ())
        merged = self.classes.values() if isinstance(self.classes, dict) else ()
        labels = [label for many in merged for label in many]
        for kind in (names, labels):
            if repeated := [name for name, count in Counter(kind).items() if count > 1]:
                refuse(f"{path}classes: {repeated[0]!r} is named twice; name it once")
        if self.classes is not None and (
            not names or (isinstance(self.classes, dict) and not all(self.classes.values()))
        ):
            refuse(f"{path}classes: a class without labels; name its labels or leave it out")
        unknown = [name for name in self.skin_types or () if name not in SKIN_TYPES]
        if unknown or self.skin_types == []:
            refuse(f"{path}skin_types: {self.skin_types} is not a list of {', '.join(SKIN_TYPES)}")
        if self.encoding is not None and not check_encoding(self.encoding):
            refuse(
                f"{path}encoding: {self.encoding!r} is no encoding of text; use one such as cp1252 or latin-1"
            )
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            refuse(f"{path}delimiter: {self.delimiter!r} is not one character, such as ;")

    def idle(self) -> dict[str, str]:
        """Return the settings of other sources than the one at hand, which change nothing."""
        if Path(self.data_dir).exists():
            return dict.fromkeys(("hub_revision", "hub_split"), "data_dir is no data set of the Hub")
        of_files = ("metadata", "joined", "folders", "encoding", "delimiter")
        return dict.fromkeys(of_files, "data_dir is a data set of the Hub")


@dataclass(frozen=True)
class Settled:
    """A table, and which of its columns is which."""

    config: TableConfig
    """With what its preset says."""
    source: Source
    columns: ColumnsConfig
    """Those given, and those that only one column can be."""
    guesses: list[Guess]
    """Roles that were not given, and the columns that fit."""


@dataclass(frozen=True)
class Reading:
    """A table, and the images of its rows."""

    source: Source
    columns: ColumnsConfig
    facts: Facts
    images: list[tuple[ListedImage, str | int]]
    """Each with its file in the folder, or its row in the data set."""
    missing: list[str]
    """Names in the table without a file."""
    unlisted: list[str]
    """Files without a row."""
    warnings: list[str]
    unstated: str
    """Why its rows cannot be split or scored before a setting says it; empty where they can."""


def is_class_folders(folder: Path, settings: Collection[str]) -> bool:
    """Return whether a folder is one of folders of images, one for each class, as ``imagefolder`` reads it.

    It is where its images lie in folders at its top, and there is no table that says more than ``metadata``
    can.

    Args:
        folder: that need not be there.
        settings: names of those given.
    """
    own = {item.name for item in fields(ImageFolderConfig)}
    others = {item.name for item in fields(TableConfig)}
    if not folder.is_dir() or set(settings) & (others - own):
        return False
    if set(settings) & (own - others):
        return True
    seen = [path for path in folder.iterdir() if not path.name.startswith(".")]
    tables = [path for path in seen if path.suffix.lower() in TABLE_SUFFIXES]
    classes = [path for path in seen if path.is_dir() and any(map(is_image, path.iterdir()))]
    if len(classes) < 2:
        return bool(classes) and not tables
    return "metadata" in settings or all(path.stem == "metadata" for path in tables)


def load_table(config: TableConfig) -> LoadedCorpus:
    """Read a table and find the files of its rows; no image is opened.

    ``image_id`` is what the table calls the image, or its path in the folder where the table gives one;
    ``group_id`` is the patient, or the lesion where the patient is not known, and the image id otherwise:
    such images are in ``ungrouped``. Attributes are ``split``, ``site`` and ``date`` where columns are named
    for them, and those of ``columns.attributes``.

    Raises:
        ConfigError: a setting cannot work.
        CorpusError: there is no such folder or table, it cannot be read, leaves open which column is which,
            no row matches a file, or what it says cannot be.
    """
    reading = read_source(config)
    chosen = [
        (image, place)
        for image, place in reading.images
        if config.skin_types is None or image.skin_type in config.skin_types
    ]
    source = reading.source
    if isinstance(source.images, Dataset):
        loaded = source.adopted([(image, int(row)) for image, row in chosen], reading.facts.class_names)
        loaded = replace(loaded, warnings=[*reading.warnings, *loaded.warnings])
    else:
        masks, unfound = _masks(config, [image for image, _ in chosen])
        rows = [
            ImageRow(
                source.images.files[str(place)], image.label, image.skin_type, image.image_id, image.group_id,
                image.attributes, image.box, masks.get(image.mask or ""),
            )
            for image, place in chosen
        ]  # fmt: skip
        loaded = assemble(
            rows, reading.facts.class_names, source.name,
            missing=reading.missing, audit_csv=config.audit_csv, warnings=[*reading.warnings, *unfound],
        )  # fmt: skip
    return replace(loaded, unstated=reading.unstated)


def _masks(config: TableConfig, images: Sequence[ListedImage]) -> tuple[dict[str, Path], list[str]]:
    """Return the file of every mask that is named, and a warning about those that are not there."""
    named = list(dict.fromkeys(image.mask for image in images if image.mask))
    if not named:
        return {}, []
    place = Path(config.data_dir)
    files = find_images(place if place.is_dir() else place.parent)
    try:
        found = {name: files.files[path] for name in named if (path := files.find(name)) is not None}
    except Ambiguous as error:
        raise CorpusError(f"columns.mask: {error}; write their paths in the table") from None
    if not (absent := [name for name in named if name not in found]):
        return found, []
    return found, [f"{len(absent)} of {len(named)} masks are not there (such as {absent[0]})"]


def read_source(config: TableConfig) -> Reading:
    """Read a table, settle its columns and find the files of its rows.

    Raises:
        ConfigError, CorpusError: see :func:`load_table`.
    """
    return read_settled(settle(config))


def settle(config: TableConfig) -> Settled:
    """Read a table and decide which of its columns is which, as far as that can be decided.

    Raises:
        ConfigError, CorpusError: a setting cannot work, or the table cannot be read or lacks a column.
    """
    config.validate()
    config = _with_preset(config)
    source = find_source(config)
    if isinstance(source.images, Dataset):  # the column of images is no text
        config = replace(config, columns=replace(config.columns, file=None))
    for role, column in config.columns.named():
        refuse_absent_column(source.table, column, f"columns.{role}", source.table.name)
    files = None if isinstance(source.images, Dataset) else source.images
    columns, guesses = guess(source.table, files, config.columns)
    return Settled(config, source, columns, guesses)


def read_settled(settled: Settled) -> Reading:
    """Read what the rows say, and find their files.

    Raises:
        CorpusError: two columns fit one role or none does, no row matches a file, or what a row says cannot
        be.
    """
    source, columns, guesses = settled.source, settled.columns, settled.guesses
    table = source.table
    refuse_open(guesses, table, table.name, ("file", "label"))
    order = source.class_order.get(str(columns.label), ())
    facts = read_facts(table, columns, settled.config.classes, order)
    warnings = [*source.warnings, *table.warnings, *said_of(guesses, table.name), *facts.warnings]
    missing: list[str] = []
    unlisted: list[str] = []
    images: list[tuple[ListedImage, str | int]]
    if isinstance(source.images, Dataset):
        ids = source.ids()
        images = [
            (facts.listed(row, ids[row]), row) for row in range(len(ids)) if facts.labels[row] is not None
        ]
    else:
        images, missing, unlisted = _match(facts, table, columns, source.images)
        warnings += _said_of_files(table, len(images), missing, unlisted, source.images)
    used = {column for _, column in columns.named()} | set(source.own_columns)
    if unused := [name for name in table.columns if name not in used]:
        warnings.append(f"columns of {table.name} are not used: {', '.join(unused)}")
    return Reading(
        source, columns, facts, images, missing, unlisted, warnings, _unstated(columns, table.name)
    )


def _with_preset(config: TableConfig) -> TableConfig:
    """Return the settings with those of the preset where the user left them out."""
    if config.preset is None:
        return config
    preset = PRESETS[config.preset]
    return replace(
        config,
        columns=config.columns.over(preset.columns),
        metadata=config.metadata or preset.metadata,
        **{
            name: getattr(preset, name)
            for name in ("joined", "classes", "folders")
            if getattr(config, name) is None
        },
    )


def _unstated(columns: ColumnsConfig, place: str) -> str:
    if columns.patient is not None:
        return ""
    return (
        f"columns.patient: {place} has no column that is known to hold patients, so a split may test on a "
        "patient that was trained on; name it by --corpus.table.columns.patient, or say none if there are "
        "none"
    )


def _match(
    facts: Facts, table: TextTable, columns: ColumnsConfig, files: ImageFiles
) -> tuple[list[tuple[ListedImage, str | int]], list[str], list[str]]:
    """Return the images of the rows with a label, names without a file, and files without a row."""
    names = [columns.file] if isinstance(columns.file, str) else list(columns.file or ())
    images: list[tuple[ListedImage, str | int]] = []
    missing: list[str] = []
    seen: dict[str, str] = {}
    for row, cells in enumerate(zip(*(table.column(name) for name in names), strict=True)):
        for cell in filter(None, cells):
            try:
                path = files.find(cell)
            except Ambiguous as error:
                raise CorpusError(
                    f"columns.file: {error}; write the path in {table.name}, or name the folders of the "
                    "images by the setting folders"
                ) from None
            if path is None:
                if facts.labels[row] is not None:
                    missing.append(cell)
                continue
            if path in seen:
                raise CorpusError(
                    f"columns.file: {table.name} lists image {cell!r} twice; keep the row that is right"
                )
            seen[path] = cell
            if facts.labels[row] is not None:
                plain_name = "/" not in cell and "\\" not in cell
                images.append((facts.listed(row, cell if plain_name else path), path))
    masks = {PurePosixPath(name).stem for name in facts.masks if name}
    unlisted = [path for path in files.files if path not in seen and PurePosixPath(path).stem not in masks]
    if not images:
        first = f"the first names {missing[0]!r}" if missing else "none has a label and a name"
        there = f"the first image is {next(iter(files.files))!r}" if files.files else "there is no image"
        raise CorpusError(
            f"columns.file: no row of {table.name} matches an image ({first}, {there}); name the column of "
            "the file names, or the folder that holds the images by data_dir"
        )
    return images, missing, unlisted


def _said_of_files(
    table: TextTable, images: int, missing: Sequence[str], unlisted: Sequence[str], files: ImageFiles
) -> list[str]:
    """Return what rows and files have no counterpart, and which files are none that is read, in words."""
    found = table_warnings(Path(table.name), images + len(missing), missing, unlisted)
    found += files.warnings(table.name)
    return found + not_read({kind: count for kind, count in files.skipped.items() if kind not in _KNOWN})


_KNOWN = frozenset((".csv", ".tsv", ".tab", ".jsonl", ".parquet", ".xlsx", ".txt", ".md", ".yaml", ".json"))
"""Endings of what is no image, and is not missed among them."""


TABLE = CorpusEntry("table", TableConfig, load_table, licence_by="preset")
