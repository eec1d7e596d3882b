"""Any corpus of a user's own: a folder per class, with an optional table of skin types and groups.

::

    data_dir/
      eczema/001.jpg ...
      keloid/001.jpg ...
      metadata.csv          file_name,skin_type,group_id
                            eczema/001.jpg,V,patient-7

A data set on the Hub does as well, where its id is given instead of a folder.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datasets import ClassLabel, Dataset, Image, concatenate_datasets, load_dataset
from datasets.exceptions import DatasetsError

from skindiff.corpora.schema import SKIN_TYPES, corpus_features
from skindiff.corpora.table import (
    IMAGE_SUFFIXES,
    CorpusEntry,
    ImageRow,
    LoadedCorpus,
    assemble,
    one_class_warning,
    read_csv,
    read_skin_type,
    table_warnings,
)
from skindiff.errors import ConfigError, CorpusError
from skindiff.files import real_path

METADATA_FILE = "metadata.csv"
COLUMNS = ("file_name", "skin_type", "group_id")
"""Columns of the table that are read."""
_TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".parquet")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass
class ImageFolderConfig:
    """A folder of class folders, or a data set on the Hub."""

    data_dir: str
    """Folder with one folder of images per class; if there is none, a Hub data set id (owner/name)."""
    metadata: str | None = None
    """Csv with file_name (class/name.jpg) and, as known, skin_type and group_id; data_dir/metadata.csv if
    left out and there."""
    conditions: list[str] | None = None
    """Classes to read, in the order of their codes; all, sorted by name, if left out."""
    skin_types: list[str] | None = None
    """Keep only images of these skin types (I to VI); all, also not recorded, if left out."""
    audit_csv: str | None = None
    """Output of skindiff audit: its groups are joined to group_id, its unfit images are left out."""
    hub_revision: str | None = None
    """Branch, tag or commit of a Hub data set."""
    hub_split: str = "train"
    """Split of a Hub data set that holds the images."""
    image_column: str = "image"
    """Column of images in a Hub data set."""
    label_column: str = "label"
    """Column of classes (class labels or text) in a Hub data set."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError if a setting cannot work; ``path`` (``"corpus."``) goes before its name."""
        if self.conditions is not None and not self.conditions:
            raise ConfigError(f"{path}conditions: the list is empty; name a class or leave the setting out")
        repeated = [name for name, count in Counter(self.conditions or ()).items() if count > 1]
        if repeated:
            raise ConfigError(f"{path}conditions: {repeated[0]!r} is named twice; name it once")
        unknown = [name for name in self.skin_types or () if name not in SKIN_TYPES]
        if unknown or self.skin_types == []:
            raise ConfigError(f"{path}skin_types: {self.skin_types} is not a list of {', '.join(SKIN_TYPES)}")


def load_imagefolder(config: ImageFolderConfig) -> LoadedCorpus:
    """Read a folder of class folders or a Hub data set; no image is opened.

    Of a folder, ``image_id`` is ``class/name.jpg``; of a Hub data set its column ``image_id``, or the row
    number. ``group_id`` is that of the table if it has one, and the image id otherwise: images of one
    patient can then stand on both sides of a split, so such images are in ``ungrouped``. Hidden files are not
    seen, and rows of the table without a file are in ``missing``. Whatever else is given and not used (rows,
    columns, files, other tables) is in ``warnings``.

    Raises:
        ConfigError: a setting cannot work.
        CorpusError: there is neither such a folder nor such a data set, it does not hold what is needed, or
            no row of the table matches a file.
    """
    config.validate()
    folder = Path(config.data_dir)
    if folder.is_dir():
        return _load_folder(folder, config)
    if HUB_ID.fullmatch(config.data_dir):
        return _load_hub(config)
    raise CorpusError(f"data_dir: {folder} is not a folder; give one that holds a folder of images per class")


def _load_folder(folder: Path, config: ImageFolderConfig) -> LoadedCorpus:
    files = _class_files(folder)
    class_names = _choose_classes(list(files), config)
    missing: list[str] = []
    facts: dict[str, dict[str, str]] = {}
    table = Path(config.metadata) if config.metadata is not None else folder / METADATA_FILE
    tables = [table, *([Path(config.audit_csv)] if config.audit_csv else [])]
    warnings = _unused_files(folder, {real_path(path) for path in tables})
    if config.metadata is not None or table.exists():
        known = [f"{name}/{file.name}" for name, paths in files.items() for file in paths]
        facts, missing, columns = _read_metadata(table, known)
        unlisted = [image_id for image_id in known if image_id not in facts]
        warnings += table_warnings(table, len(facts) + len(missing), missing, unlisted)
        warnings += _ignored_columns(table.name, columns, COLUMNS)
    rows = []
    for name in class_names:
        for file in files[name]:
            image_id = f"{name}/{file.name}"
            fact = facts.get(image_id, {})
            skin_type = read_skin_type(fact.get("skin_type", ""), "metadata", image_id)
            if config.skin_types is None or skin_type in config.skin_types:
                rows.append(ImageRow(file, name, skin_type, image_id, fact.get("group_id") or None))
    return assemble(
        rows,
        class_names,
        real_path(folder).name,
        missing=missing,
        audit_csv=config.audit_csv,
        warnings=warnings,
    )


def _class_files(folder: Path) -> dict[str, list[Path]]:
    """Return the sorted image files of each class folder, by class name in sorted order."""
    places = _visible(folder, folders=True)
    if not places:
        raise CorpusError(
            f"data_dir: {folder} has no folders; put the images of each class in one of its own"
        )
    files: dict[str, list[Path]] = {}
    for place in places:
        files[place.name] = sorted(file for file in _visible(place) if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files[place.name]:
            raise CorpusError(
                f"data_dir: {place} has no image ({', '.join(IMAGE_SUFFIXES)}); fill it or take it away"
            )
    return files


def _unused_files(folder: Path, used: Collection[Path]) -> list[str]:
    """Return warnings about what lies among the images and is not read."""
    places = [folder, *_visible(folder, folders=True)]
    files = [path for place in places for path in _visible(place) if path not in places]
    tables = [path for path in files if path.suffix.lower() in _TABLES and real_path(path) not in used]
    found = [
        f"{path.relative_to(folder)} is not used: skin types and patients are read from {METADATA_FILE}, or "
        f"from the table that the setting metadata names, with the columns {', '.join(COLUMNS)}"
        for path in tables
    ]
    other = [
        path.relative_to(folder)
        for path in files
        if path.suffix.lower() not in _TABLES
        and (path.parent == folder or path.suffix.lower() not in IMAGE_SUFFIXES)
    ]
    if other:
        found.append(
            f"{len(other)} files or folders in {folder.name} are not used (such as {other[0]}): images are "
            f"read from <class>/<name> and end in {', '.join(IMAGE_SUFFIXES)}"
        )
    return found


def _visible(folder: Path, *, folders: bool = False) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return [path for path in paths if path.is_dir()] if folders else paths


def _ignored_columns(source: str, columns: Sequence[str], known: Sequence[str]) -> list[str]:
    ignored = [name for name in columns if name not in known]
    return [f"columns of {source} are not used: {', '.join(ignored)}"] if ignored else []


def _choose_classes(known: Sequence[str], config: ImageFolderConfig) -> list[str]:
    for name in config.conditions or ():
        if name not in known:
            raise CorpusError(
                f"conditions: {name!r} is not in {config.data_dir}; it has {', '.join(map(repr, known))}"
            )
    return list(config.conditions or known)


def _read_metadata(
    table: Path, known: Sequence[str]
) -> tuple[dict[str, dict[str, str]], list[str], list[str]]:
    """Return the row of each image that has one, the file names without an image, and all columns."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for image_id in known:
        by_name[image_id].append(image_id)
        by_name[PurePosixPath(image_id).name].append(image_id)
    facts: dict[str, dict[str, str]] = {}
    missing: list[str] = []
    rows = read_csv(table, "metadata", ("file_name",))
    for row in rows:
        name = PurePosixPath(row["file_name"].replace("\\", "/")).as_posix()
        found = by_name.get(name, [])
        if len(found) > 1:
            raise CorpusError(
                f"metadata: file_name {name!r} in {table} stands for {len(found)} images; write {found[0]!r}"
            )
        if not found:
            missing.append(name)
        elif found[0] in facts:
            raise CorpusError(f"metadata: {table} lists {name!r} twice; keep the row that is right")
        else:
            facts[found[0]] = row
    if not facts:
        named = f"the first names {missing[0]!r}" if missing else "it has no row"
        raise CorpusError(
            f"metadata: no row of {table} matches an image ({named}, the first image is {known[0]!r}); write "
            "the names of the files, with their endings, or take the table away"
        )
    return facts, missing, list(rows[0])


def _load_hub(config: ImageFolderConfig) -> LoadedCorpus:
    if config.audit_csv is not None:
        raise ConfigError(
            "audit_csv: a Hub data set has no files to audit; give it a column group_id instead"
        )
    try:
        source = load_dataset(config.data_dir, split=config.hub_split, revision=config.hub_revision)
    # ConnectionError (also where HF_HUB_OFFLINE is set) and FileNotFoundError are OSErrors; an unknown
    # split or revision is a ValueError.
    except (OSError, ValueError, DatasetsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorpusError(
            f"data_dir: {config.data_dir!r} is not a folder, and no Hub data set of that name can be read "
            f"({reason}); correct it, or unset HF_HUB_OFFLINE to download"
        ) from error
    for column in (config.image_column, config.label_column):
        if column not in source.column_names:
            raise CorpusError(
                f"image_column, label_column: {config.data_dir} has no column {column!r} "
                f"(it has {', '.join(source.column_names)}); name the right one"
            )
    if not isinstance(source.features[config.image_column], Image):
        raise CorpusError(
            f"image_column: {config.image_column!r} of {config.data_dir} holds no images; name another"
        )
    return _adopt(source, config)


def _adopt(source: Dataset, config: ImageFolderConfig) -> LoadedCorpus:
    """Bring a Hub data set into the schema; images stay where they are."""
    labels = _texts(source, config.label_column)
    feature = source.features[config.label_column]
    known = feature.names if isinstance(feature, ClassLabel) else sorted(set(labels))
    class_names = _choose_classes(known, config)
    image_ids = _texts(source, "image_id") or [f"{row:06d}" for row in range(len(source))]
    groups = _texts(source, "group_id") or [""] * len(source)
    types = _texts(source, "skin_type") or [""] * len(source)
    skin_types = [
        read_skin_type(cell, "skin_type", image_id) for cell, image_id in zip(types, image_ids, strict=True)
    ]
    kept = [
        row
        for row in range(len(source))
        if labels[row] in class_names and (config.skin_types is None or skin_types[row] in config.skin_types)
    ]
    if not kept:
        raise CorpusError(
            f"data_dir: no image of {config.data_dir} is left; check the chosen conditions and skin_types"
        )
    features = corpus_features(class_names)
    facts = {
        "label": [labels[row] for row in kept],
        "skin_type": [skin_types[row] for row in kept],
        "image_id": [image_ids[row] for row in kept],
        "group_id": [groups[row] or image_ids[row] for row in kept],
        "corpus": [config.data_dir] * len(kept),
    }
    images = source.select(kept).select_columns([config.image_column])
    if config.image_column != "image":
        images = images.rename_column(config.image_column, "image")
    other = Dataset.from_dict(facts, features=type(features)({name: features[name] for name in facts}))
    dataset = concatenate_datasets([images.cast_column("image", Image()), other], axis=1)
    read = (config.image_column, config.label_column, "image_id", "group_id", "skin_type")
    warnings = _ignored_columns(config.data_dir, source.column_names, read)
    return LoadedCorpus(
        dataset,
        missing=[],
        quarantined=[],
        warnings=[*warnings, *one_class_warning(class_names)],
        ungrouped=frozenset(image_ids[row] for row in kept if not groups[row]),
    )


def _texts(source: Dataset, column: str) -> list[str]:
    """Return a column as text, class labels by name and nulls as empty; [] if there is no such column."""
    if column not in source.column_names:
        return []
    feature = source.features[column]
    values = list(source[column])
    if isinstance(feature, ClassLabel):
        return ["" if value is None else feature.int2str(value) for value in values]
    return ["" if value is None else str(value) for value in values]


IMAGEFOLDER = CorpusEntry("imagefolder", ImageFolderConfig, load_imagefolder)
