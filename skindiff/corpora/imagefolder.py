"""Any corpus of a user's own: a folder per class, with an optional table of skin types and groups.

::

    data_dir/
      eczema/001.jpg ...
      keloid/001.jpg ...
      metadata.csv          file_name,skin_type,group_id
                            eczema/001.jpg,V,patient-7

Without a table there, each folder of a class may have one of its own, which names its files alone.
Any other table, folder or data set is read by the corpus ``table``.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from skindiff.corpora.image_files import IMAGE_SUFFIXES, is_image
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.corpora.table import (
    CorpusEntry,
    ImageRow,
    LoadedCorpus,
    assemble,
    known_text,
    read_listing,
    read_skin_type,
    refuse_absent_column,
    table_warnings,
)
from skindiff.corpora.table_corpus.dialects import TABLE_SUFFIXES, TextTable
from skindiff.corpora.table_corpus.matching import Ambiguous, ImageFiles, find_images
from skindiff.errors import CorpusError
from skindiff.files import real_path
from skindiff.wrong_settings import refuse

METADATA = "metadata"
"""Name of the table, whose ending is one of a table's."""
COLUMNS = ("file_name", "skin_type", "group_id")
"""Columns of the table that are read, whatever their capitals and separators."""
_TABLES = (*TABLE_SUFFIXES, ".xls")


@dataclass
class ImageFolderConfig:
    """A folder of class folders."""

    data_dir: str
    """Folder with one folder of images per class."""
    metadata: str | None = None
    """Table with file_name (class/name.jpg) and, as known, skin_type, group_id and the columns of
    corpus.attribute; if left out, data_dir/metadata.csv (or .tsv, .jsonl, .parquet, .xlsx) or, where there is
    none, those in the folders of the classes."""
    conditions: list[str] | None = None
    """Classes to read, in the order of their codes; all, sorted by name, if left out."""
    skin_types: list[str] | None = None
    """Keep only images of these skin types (I to VI); all, also not recorded, if left out."""
    audit_csv: str | None = None
    """Output of skindiff audit: its groups are joined to group_id, its unfit images are left out."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError if a setting cannot work; ``path`` (``"corpus."``) goes before its name."""
        if self.conditions is not None and not self.conditions:
            refuse(f"{path}conditions: the list is empty; name a class or leave the setting out")
        repeated = [name for name, count in Counter(self.conditions or ()).items() if count > 1]
        if repeated:
            refuse(f"{path}conditions: {repeated[0]!r} is named twice; name it once")
        unknown = [name for name in self.skin_types or () if name not in SKIN_TYPES]
        if unknown or self.skin_types == []:
            refuse(f"{path}skin_types: {self.skin_types} is not a list of {', '.join(SKIN_TYPES)}")


def load_imagefolder(config: ImageFolderConfig, attributes: Sequence[str] = ()) -> LoadedCorpus:
    """Read a folder of class folders; no image is opened.

    ``image_id`` is ``class/name.jpg``. ``group_id`` is that of the table if it has one, and the image id
    otherwise: images of one patient can then stand on both sides of a split, so such images are in
    ``ungrouped``. Hidden files are not seen, and rows of the table without a file are in ``missing``.
    Whatever else is given and not used (rows, columns, files, other tables) is in ``warnings``.

    Args:
        config: of the corpus.
        attributes: further columns of its table to read, such as sex.

    Raises:
        ConfigError: a setting cannot work.
        CorpusError: there is no such folder, it does not hold what is needed, or no row of the table matches
            a file.
    """
    config.validate()
    folder = Path(config.data_dir)
    if folder.is_dir():
        return _load_folder(folder, config, attributes)
    raise CorpusError(
        f"data_dir: {folder} is not a folder; give one that holds a folder of images per class, or read a "
        f"data set of the Hub by --corpus.name table --corpus.table.data_dir {config.data_dir}"
    )


def _load_folder(folder: Path, config: ImageFolderConfig, attributes: Sequence[str]) -> LoadedCorpus:
    files = _class_files(folder)
    class_names = _choose_classes(list(files), config)
    missing: list[str] = []
    facts: dict[str, dict[str, str]] = {}
    tables = _tables(folder, files, config)
    used = [*tables, *([Path(config.audit_csv)] if config.audit_csv else [])]
    warnings = _unused_files(folder, {real_path(path) for path in used})
    for table, of in tables.items():
        own = files if of is None else {of: files[of]}
        known = {f"{name}/{file.name}": file for name, paths in own.items() for file in paths}
        found, absent, said = _read_metadata(table, known, attributes, of)
        unlisted = [image_id for image_id in known if image_id not in found]
        warnings += table_warnings(table, len(found) + len(absent), absent, unlisted)
        warnings += said
        facts |= found
        missing += absent
    rows = []
    for name in class_names:
        for file in files[name]:
            image_id = f"{name}/{file.name}"
            fact = facts.get(image_id, {})
            skin_type = read_skin_type(fact.get("skin_type", ""), "metadata", image_id)
            if config.skin_types is None or skin_type in config.skin_types:
                group = known_text(fact.get("group_id", ""))
                further = {column: known_text(fact.get(column, "")) for column in attributes}
                rows.append(ImageRow(file, name, skin_type, image_id, group, further))
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
        files[place.name] = sorted(file for file in _visible(place) if is_image(file))
        if not files[place.name] and find_images(place).files:
            raise CorpusError(
                f"data_dir: the images of {place} lie in folders of it; read them by --corpus.name table "
                f"--corpus.table.data_dir {folder}, which looks at any depth"
            )
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
        f"{path.relative_to(folder)} is not used: skin types and patients are read from metadata.csv, or "
        f"from the table that the setting metadata names, with the columns {', '.join(COLUMNS)}"
        for path in tables
    ]
    other = [
        path.relative_to(folder)
        for path in files
        if path.suffix.lower() not in _TABLES and (path.parent == folder or not is_image(path))
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


def _tables(
    folder: Path, files: Mapping[str, Sequence[Path]], config: ImageFolderConfig
) -> dict[Path, str | None]:
    """Return the tables, each with the class whose folder it lies in; None for one of all classes."""
    whole = Path(config.metadata) if config.metadata is not None else _find_metadata(folder)
    if whole is not None:
        return {whole: None}
    return {table: name for name in files if (table := _find_metadata(folder / name)) is not None}


def _find_metadata(folder: Path) -> Path | None:
    found = [path for suffix in TABLE_SUFFIXES if (path := folder / f"{METADATA}{suffix}").exists()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise CorpusError(f"metadata: {folder} has {names}; keep one, or name it by the setting metadata")
    return found[0] if found else None


def _squashed(header: str) -> str:
    return "".join(filter(str.isalnum, header.casefold()))


def _read_metadata(
    table: Path, known: dict[str, Path], attributes: Sequence[str], of: str | None
) -> tuple[dict[str, dict[str, str]], list[str], list[str]]:
    """Return the row of each image that has one, the file names without an image, and warnings.

    Names in the table ``of`` a class are those of its folder.
    """
    meant = {_squashed(name): name for name in (*COLUMNS, *attributes)}
    read: TextTable = read_listing(table, "metadata")
    read = replace(read, columns=[meant.get(_squashed(header), header) for header in read.columns])
    for name in ("file_name", *attributes):
        refuse_absent_column(read, name, "metadata", f"{table}")
    for name in COLUMNS[1:]:
        if read.columns.count(name) > 1:
            refuse_absent_column(read, name, "metadata", f"{table}")
    files = ImageFiles(known)
    facts: dict[str, dict[str, str]] = {}
    missing: list[str] = []
    for row in read.rows():
        name = PurePosixPath(row["file_name"].replace("\\", "/")).as_posix()
        name = name if of is None or name.startswith(f"{of}/") else f"{of}/{name}"
        try:
            found = files.find(name, moved=False)
        except Ambiguous as error:
            raise CorpusError(
                f"metadata: file_name {name!r} in {table} stands for {len(error.files)} images; write "
                f"{error.files[0]!r}"
            ) from None
        if found is None:
            missing.append(name)
        elif found in facts:
            raise CorpusError(f"metadata: {table} lists {name!r} twice; keep the row that is right")
        else:
            facts[found] = row
    if not facts:
        named = f"the first names {missing[0]!r}" if missing else "it has no row"
        raise CorpusError(
            f"metadata: no row of {table} matches an image ({named}, the first image is "
            f"{next(iter(known))!r}); write the names of the files, or take the table away"
        )
    warnings = [
        *read.warnings,
        *files.warnings(table.name),
        *_ignored_columns(table.name, read.columns, (*COLUMNS, *attributes)),
    ]
    return facts, missing, warnings


IMAGEFOLDER = CorpusEntry("imagefolder", ImageFolderConfig, load_imagefolder, reads_attributes=True)
