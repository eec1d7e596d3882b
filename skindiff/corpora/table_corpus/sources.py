"""Where the table corpus takes its table and its images from: a folder, a table, or a data set of
datasets."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Image,
    concatenate_datasets,
    load_dataset,
    load_from_disk,
)
from datasets.exceptions import DatasetsError

from skindiff.corpora.schema import corpus_features
from skindiff.corpora.table import ListedImage, LoadedCorpus, one_class_warning, refuse_absent_column
from skindiff.corpora.table_corpus.dialects import (
    TABLE_SUFFIXES,
    TextTable,
    Undecided,
    plain,
    read_table,
    table_of,
)
from skindiff.corpora.table_corpus.matching import ImageFiles, find_images
from skindiff.errors import ConfigError, CorpusError
from skindiff.files import real_path
from skindiff.foreign import Malformed
from skindiff.foreign_tables import judge_parquet

if TYPE_CHECKING:
    from skindiff.corpora.table_corpus.loader import TableConfig

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FOLDER, TOP_FOLDER, FILE = "folder", "top_folder", "file"
"""Columns of the table that folders are: the folder an image lies in, the first on the way, and its path."""
_IDS = ("image_id", "isic_id")


@dataclass(frozen=True)
class Source:
    """A table and the images that its rows are of."""

    name: str
    """Of the corpus."""
    table: TextTable
    images: ImageFiles | Dataset
    """Files to be found by name, or a data set with a row for each of the table's, whose column ``image``
    holds the images."""
    listing: Path | None = None
    """The file of the table, where there is one."""
    warnings: list[str] = field(default_factory=list)
    own_columns: Sequence[str] = ()
    """Columns that were made here, or are used without a role."""
    class_order: Mapping[str, list[str]] = field(default_factory=dict)
    """Classes in their order, by the columns of a data set that say it."""

    def ids(self) -> list[str]:
        """Return the ids of the rows of a data set: a column of ids if it has one, or their numbers."""
        for name in _IDS:
            if name in self.table.columns:
                return self.table.column(name)
        return [f"{row:06d}" for row in range(len(self.table))]

    def adopted(self, chosen: Sequence[tuple[ListedImage, int]], class_names: Sequence[str]) -> LoadedCorpus:
        """Return rows of the data set in the schema; its images stay where they are.

        Raises:
            CorpusError: no row is left, or two have one id.
        """
        assert isinstance(self.images, Dataset)
        if not chosen:
            raise CorpusError(
                f"data_dir: no image of {self.name} is left; check the chosen classes and skin_types"
            )
        rows = [image for image, _ in chosen]
        ids = [image.image_id for image in rows]
        if len(set(ids)) < len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise CorpusError(
                f"columns.file: {self.name} has image {twice!r} twice; keep the row that is right"
            )
        attributes = list(rows[0].attributes)
        features = corpus_features(class_names, attributes)
        columns: dict[str, list[Any]] = {
            "label": [image.label for image in rows],
            "skin_type": [image.skin_type for image in rows],
            "image_id": ids,
            "group_id": [image.group_id or image.image_id for image in rows],
            "corpus": [self.name] * len(rows),
            **{name: [image.attributes[name] for image in rows] for name in attributes},
        }
        images = self.images.select([row for _, row in chosen]).select_columns(["image"])
        other = Dataset.from_dict(
            columns, features=type(features)({name: features[name] for name in columns})
        )
        dataset = concatenate_datasets([images.cast_column("image", Image()), other], axis=1)
        ungrouped = frozenset(image.image_id for image in rows if image.group_id is None)
        return LoadedCorpus(dataset, [], [], one_class_warning(class_names), ungrouped)


def find_source(config: "TableConfig") -> Source:
    """Return the table and the images that the settings name.

    Raises:
        ConfigError, CorpusError: there is no such folder, table or data set, or it cannot be read.
    """
    place = Path(config.data_dir)
    if place.is_dir():
        if (saved := _saved(place)) is not None:
            return _of_dataset(config, saved, place.name)
        return _of_folder(config, place)
    if place.is_file():
        table = place if config.metadata is None else Path(config.metadata)
        return _of_folder(config, place.parent, table)
    if HUB_ID.fullmatch(config.data_dir):
        return _of_dataset(config, lambda: _from_hub(config), config.data_dir)
    raise CorpusError(
        f"data_dir: {place} is not a folder, a table or the id of a data set; give the folder that holds the "
        "images and their table"
    )


def _of_folder(config: "TableConfig", folder: Path, named: Path | None = None) -> Source:
    name = config.preset or real_path(folder).name
    files = find_images(folder, config.folders)
    if not files.files:
        kinds = ", ".join(ending for ending, _ in files.skipped.most_common(3))
        others = f"; it has {files.skipped.total()} other files, such as {kinds}" if kinds else ""
        raise CorpusError(f"data_dir: {folder} has no image at any depth{others}; give the folder that has")
    table_file = named or _find_table(config, folder)
    if table_file is None:
        return Source(name, _folders_as_table(folder, files), files, own_columns=(FOLDER, TOP_FOLDER))
    table = _read(table_file, "metadata", config)
    for other, key in (config.joined or {}).items():
        table = _join(table, _read(_placed(folder, other), "joined", config), key)
    return Source(name, table, files, table_file, _further_tables(config, folder, table_file))


def _placed(folder: Path, names: str) -> Path:
    """Return the path of a file in the folder or anywhere; of several names with ``|`` that of the first
    there."""
    places = [place for name in names.split("|") for place in (folder / name, Path(name))]
    return next((place for place in places if place.exists()), places[0])


def _tables(config: "TableConfig", folder: Path) -> list[Path]:
    others = {_placed(folder, name) for name in config.joined or ()}
    if config.audit_csv is not None:
        others.add(Path(config.audit_csv))
    used = {real_path(path) for path in others}
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in TABLE_SUFFIXES
        and path.is_file()
        and not path.name.startswith(".")
        and real_path(path) not in used
    ]


def _find_table(config: "TableConfig", folder: Path) -> Path | None:
    """Return the table that is named, or the only one at the top of the folder."""
    if config.metadata is not None:
        return _placed(folder, config.metadata)
    found = _tables(config, folder)
    if len(found) > 1:
        raise CorpusError(
            f"metadata: {folder} has {' and '.join(path.name for path in found[:5])}; say which lists the "
            f"images by --corpus.table.metadata {found[0].name}, and further ones by joined"
        )
    return found[0] if found else None


def _further_tables(config: "TableConfig", folder: Path, used: Path) -> list[str]:
    others = [path.name for path in _tables(config, folder) if real_path(path) != real_path(used)]
    return [f"further tables are not used: {', '.join(others)}; name them by joined"] if others else []


def _read(file: Path, setting: str, config: "TableConfig") -> TextTable:
    try:
        return read_table(file, config.encoding, config.delimiter)
    except Undecided as error:
        raise CorpusError(
            f"{error.setting}: {file} cannot be read ({error}); say it by --corpus.table.{error.setting} "
            f"{error.such_as}"
        ) from error
    except Malformed as error:
        raise CorpusError(f"{setting}: cannot read {file} ({error}); give the path of a table") from error


def _join(table: TextTable, other: TextTable, key: str) -> TextTable:
    """Return a table with the columns of another that it lacks, by the rows whose key is the same.

    Raises:
        CorpusError: one of them lacks the key, or a key stands twice in the other.
    """
    for one in (table, other):
        refuse_absent_column(one, key, "joined", one.name)
    places: dict[str, int] = {}
    for row, cell in enumerate(other.column(key)):
        if places.setdefault(cell, row) != row:
            raise CorpusError(f"joined: {other.name} has {key} {cell!r} twice; keep the row that is right")
    rows = [places.get(cell) for cell in table.column(key)]
    if all(row is None for row in rows):
        raise CorpusError(
            f"joined: no {key} of {table.name} is in {other.name}; name the column that they share"
        )
    added = {}
    for name in other.columns:
        if name not in table.columns:
            cells = other.column(name)
            added[name] = ["" if row is None else cells[row] for row in rows]
    warnings = [*table.warnings, *other.warnings]
    if absent := rows.count(None):
        warnings.append(f"{absent} of {len(rows)} rows of {table.name} have no row in {other.name}")
    joined = table.with_columns(added)
    return TextTable(
        table.name, joined.columns, joined.cells, f"{table.said}; joined with {other.name}", warnings
    )


def _folders_as_table(folder: Path, files: ImageFiles) -> TextTable:
    paths = [PurePosixPath(path) for path in files.files]
    columns = {
        FILE: [str(path) for path in paths],
        FOLDER: [path.parent.name for path in paths],
        TOP_FOLDER: [path.parts[0] if len(path.parts) > 1 else "" for path in paths],
    }
    return table_of(real_path(folder).name, columns, "no table: what its folders are called")


def _saved(folder: Path) -> Callable[[], Dataset | DatasetDict] | None:
    """Return what reads a folder of ``save_to_disk`` or of Parquet files with images; None for any other."""
    if (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file():
        return lambda: load_from_disk(str(folder))
    shards = sorted([*folder.glob("*.parquet"), *folder.glob("data/*.parquet")])
    try:
        kinds = [str(kind) for shard in shards for kind in judge_parquet(shard).types]
    except Malformed:
        return None  # said when it is read as a table
    if not any(kind.startswith("struct<bytes: binary") for kind in kinds):
        return None
    parts: dict[str, list[str]] = {}
    for shard in shards:
        parts.setdefault(shard.stem.split("-")[0], []).append(str(shard))
    return lambda: load_dataset("parquet", data_files=parts)


def _from_hub(config: "TableConfig") -> Dataset | DatasetDict:
    return load_dataset(config.data_dir, split=config.hub_split, revision=config.hub_revision)


def _of_dataset(config: "TableConfig", read: Callable[[], Dataset | DatasetDict], name: str) -> Source:
    """Return a data set's columns of text as a table, with the splits it came in as the column ``split``."""
    if config.audit_csv is not None:
        raise ConfigError(
            "audit_csv: a data set has no files to audit; name its column of patients by columns.patient "
            "instead"
        )
    try:
        found = read()
    # ConnectionError (also where HF_HUB_OFFLINE is set) and FileNotFoundError are OSErrors; an unknown
    # split or revision is a ValueError.
    except (OSError, ValueError, DatasetsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorpusError(
            f"data_dir: {config.data_dir!r} is not a folder of images, and no Hub data set of that name can "
            f"be read ({reason}); correct it, or unset HF_HUB_OFFLINE to download"
        ) from error
    parts = dict(found) if isinstance(found, DatasetDict) else {"": found}
    whole = concatenate_datasets(list(parts.values()))
    pictured = [column for column, kind in whole.features.items() if isinstance(kind, Image)]
    named = config.columns.file or pictured
    chosen = [named] if isinstance(named, str) else named
    if len(chosen) != 1 or chosen[0] not in pictured:
        raise CorpusError(
            f"columns.file: {config.data_dir} has {len(pictured)} columns of images"
            f"{''.join(f', {column!r}' for column in pictured)}; name one of them"
        )
    columns = {column: _texts(whole, column) for column in whole.column_names if column not in pictured}
    own: tuple[str, ...] = ()
    if len(parts) > 1 and "split" not in columns:
        columns["split"] = [part for part, rows in parts.items() for _ in range(len(rows))]
        own = ("split",)
    said = f"a data set, {len(whole):,} rows of {len(columns)} columns"
    images = whole.rename_column(chosen[0], "image") if chosen[0] != "image" else whole
    orders = {column: kind.names for column, kind in whole.features.items() if isinstance(kind, ClassLabel)}
    return Source(
        config.preset or name, table_of(name, columns, said), images,
        own_columns=(*own, *_IDS), class_order=orders,
    )  # fmt: skip


def _texts(source: Dataset, column: str) -> list[str]:
    """Return a column as text, class labels by name and nulls as empty."""
    feature = source.features[column]
    values = source[column][:]
    if isinstance(feature, ClassLabel):
        return ["" if value is None else plain(feature.int2str(value)) for value in values]
    return ["" if value is None else plain(str(value)) for value in values]
