"""What a corpus declares of itself, what its loader gives back, and how loaders read csv files."""

import csv
import difflib
import errno
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset

from skindiff.corpora.crops import Box
from skindiff.corpora.schema import SKIN_TYPES, corpus_features
from skindiff.corpora.table_corpus.dialects import TextTable, read_table
from skindiff.errors import CorpusError
from skindiff.escaping import spreadsheet, visible
from skindiff.foreign import Malformed

_NOTHING = frozenset(
    {"", "-", "?", "na", "n/a", "#n/a", "<na>", "nan", "none", "null", "none selected", "none_selected"}
    | {"not recorded", "unknown", "missing"}
)
"""How tables say that nothing is known, in small letters."""
_SKIN_TYPE = re.compile(
    r"(?:(?:fitzpatrick|fitz|fst|skin|photo|type|scale)[\s_:.-]*)*(vi|v|iv|i{1,3}|[1-6](?:[.,]0+)?)"
)
KEPT_STATUSES = ("ok", "duplicate")
"""Statuses of the audit whose images stay in the corpus; all others are quarantined."""


@dataclass(frozen=True)
class LoadedCorpus:
    """A corpus as a table of images that are decoded on access, and what is not in it."""

    dataset: Dataset
    """Columns of :func:`skindiff.corpora.schema.corpus_features`."""
    missing: list[str]
    """Ids that the corpus' own table lists and for which there is no file; they are never fetched."""
    quarantined: list[tuple[str, str]]
    """``(image_id, reason)`` of the images that the audit found unfit."""
    warnings: list[str] = field(default_factory=list)
    """What was given and is not used, or is not what one would expect; said on the console and in reports."""
    ungrouped: frozenset[str] = frozenset()
    """Ids of the images of which no patient or lesion is known: a split may cut through their patients."""
    unstated: str = ""
    """What has to be said before its rows are split or scored, in one line; empty where nothing is left
    open."""
    boxes: Mapping[str, Box] = field(default_factory=dict)
    """What ``corpus.crop: box`` cuts a square around, by image id."""
    masks: Mapping[str, Path] = field(default_factory=dict)
    """Files of masks, for ``corpus.crop: mask``, by image id."""

    def paths(self) -> dict[str, Path]:
        """Return the file of every image that is a file, by image id (what the audit wants)."""
        table = self.dataset.select_columns(["image_id", "image"]).with_format("arrow")[:]
        stored = zip(
            table["image_id"].to_pylist(), table["image"].combine_chunks().field("path"), strict=True
        )
        return {image_id: Path(path.as_py()) for image_id, path in stored if path.is_valid}

    def write_lists(self, folder: Path) -> None:
        """Write ``missing.txt`` (an id a line) and ``quarantined.csv`` (image_id, reason) into ``folder``.

        They are for people: what a spreadsheet would take for a formula is quoted.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "missing.txt").write_text("".join(f"{image_id}\n" for image_id in self.missing))
        with (folder / "quarantined.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("image_id", "reason"))
            writer.writerows(map(spreadsheet, row) for row in self.quarantined)


@dataclass(frozen=True)
class CorpusEntry:
    """What a corpus declares of itself: a line of the table in :mod:`skindiff.corpora.registry`."""

    name: str
    """In the setting ``corpus.name``, and of the field ``corpus.<name>`` that holds its settings."""
    config_class: type[Any]
    """Dataclass of its settings with ``validate(path)``, and help texts as attribute docstrings. A field
    ``image_size`` is given the size that is kept. If images are audited, it has ``data_dir`` and
    ``audit_csv``."""
    load: Callable[..., LoadedCorpus]
    """Reads it; takes the settings, and where ``reads_attributes`` the names of further columns."""
    not_audited: str = ""
    """Why its images are not files that an audit can look at; empty where they are."""
    files: Callable[[Path], dict[str, Path]] | None = None
    """Finds every image file in a folder, by image id, without the corpus' table; None where the loader is to
    look, since it needs no table."""
    shows_patients: bool = True
    """Whether its images are photographs, which must not be shared by default."""
    public_ids: bool = False
    """Whether its image ids are computed or published, and no names of a user's files."""
    channels: Callable[[Any], int] = lambda settings: 3
    """1 where its settings say that it is grey."""
    reads_attributes: bool = False
    """Whether it reads further columns of its table by name: those of ``corpus.attribute``."""
    licence_by: str | None = None
    """The setting on which its licence depends; its terms are then those of ``<name>/<value>``."""


@dataclass(frozen=True)
class ImageRow:
    """One image file of a corpus before it becomes a row of the table."""

    file: Path
    label: str
    skin_type: str | None
    image_id: str
    group_id: str | None
    """Patient or lesion, None where it is not known: the image is then a group of its own."""
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    """What else is known of the image, by name; all rows of a corpus have the same names in one order."""
    box: Box | None = None
    """Left, top, width and height of what is to be seen, in pixels of the upright picture."""
    mask: Path | None = None
    """File of a mask of the same size as the upright picture: bright is what is to be seen."""


def why_not_opened(file: Path) -> str | None:
    """Return why an image is left alone, None for a file or for nothing at all; links are followed."""
    try:
        str(file).encode()
    except UnicodeEncodeError:
        return "the name of its file is no UTF-8"
    try:
        kind = file.stat().st_mode
    except OSError as error:
        if not file.is_symlink():
            return None
        return "a link that leads to itself" if error.errno == errno.ELOOP else "a link that leads nowhere"
    return None if stat.S_ISREG(kind) else "no regular file, but a folder, a pipe or a device"


def assemble(
    rows: Sequence[ImageRow],
    class_names: Sequence[str],
    corpus: str,
    *,
    missing: Sequence[str] = (),
    audit_csv: str | None = None,
    warnings: Sequence[str] = (),
) -> LoadedCorpus:
    """Make the table of a corpus, with the groups and the quarantine of an audit if there is one.

    Raises:
        CorpusError: no row is left, the audit cannot be read, or it does not cover the images.
    """
    reasons = {row.image_id: reason for row in rows if (reason := why_not_opened(row.file))}
    quarantined = [(visible(image_id), reason) for image_id, reason in reasons.items()]
    rows = [row for row in rows if row.image_id not in reasons]
    groups = _own_groups(rows)
    if audit_csv is not None:
        rows, groups, unfit = _apply_audit(rows, audit_csv)
        quarantined += unfit
    if not rows:
        first = f"such as {quarantined[0][0]}: {quarantined[0][1]}; " if quarantined else ""
        raise CorpusError(
            f"data_dir: no image of {corpus} is left ({len(missing)} missing, {len(quarantined)} unfit); "
            f"{first}check data_dir, the chosen conditions and skin_types, and audit_csv"
        )
    columns = {
        "image": [str(row.file.absolute()) for row in rows],
        "label": [row.label for row in rows],
        "skin_type": [row.skin_type for row in rows],
        "image_id": [row.image_id for row in rows],
        "group_id": groups,
        "corpus": [corpus] * len(rows),
    }
    attributes = list(rows[0].attributes)
    columns |= {name: [row.attributes[name] for row in rows] for name in attributes}
    dataset = Dataset.from_dict(columns, features=corpus_features(class_names, attributes))
    warnings = [*map(visible, warnings), *one_class_warning(class_names)]
    ungrouped = frozenset(row.image_id for row in rows if row.group_id is None)
    boxes = {row.image_id: row.box for row in rows if row.box is not None}
    masks = {row.image_id: row.mask for row in rows if row.mask is not None}
    return LoadedCorpus(dataset, list(missing), quarantined, warnings, ungrouped, boxes=boxes, masks=masks)


@dataclass(frozen=True)
class ListedImage:
    """What a row of a corpus' own table says of an image, whose file is yet to be found."""

    image_id: str
    label: str
    skin_type: str | None = None
    group_id: str | None = None
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    box: tuple[int, int, int, int] | None = None
    mask: str | None = None
    """Name of its mask, as the table has it."""


def assemble_listed(
    listed: Sequence[ListedImage],
    class_names: Sequence[str],
    corpus: str,
    *,
    table: Path,
    known: Collection[str],
    folder: Path,
    files: Mapping[str, Path],
    audit_csv: str | None = None,
) -> LoadedCorpus:
    """Make the table of a corpus that lists its images in a csv, from the files that are there.

    Args:
        listed: the rows asked for.
        class_names: in the order of their codes.
        corpus: its name.
        table: the csv, for the messages.
        known: ids of all its rows, also of those not asked for.
        folder: of the images, for the messages.
        files: every image file by image id.
        audit_csv: output of skindiff audit.

    Raises:
        CorpusError: an image is listed twice, none of those asked for is there, or the audit does not fit.
    """
    counts = Counter(image.image_id for image in listed)
    if twice := [image_id for image_id, count in counts.items() if count > 1]:
        raise CorpusError(f"csv: {table} lists image {twice[0]} twice; keep the row that is right")
    missing = [image.image_id for image in listed if image.image_id not in files]
    if missing and len(missing) == len(listed):
        raise CorpusError(
            f"data_dir: {folder} has none of the {len(missing)} images asked for "
            f"(such as images/{missing[0]}.jpg); give the folder that holds them"
        )
    rows = [
        ImageRow(
            files[image.image_id], image.label, image.skin_type, image.image_id, image.group_id,
            image.attributes,
        )
        for image in listed
        if image.image_id in files
    ]  # fmt: skip
    warnings = table_warnings(table, len(listed), missing, sorted(files.keys() - set(known)))
    return assemble(rows, class_names, corpus, missing=missing, audit_csv=audit_csv, warnings=warnings)


def several_labels(setting: str, what: str) -> str:
    """Return why a corpus whose images have several labels at once is refused, with the way out.

    Args:
        setting: that names the labels.
        what: the corpus or column, as the user gave it.
    """
    return (
        f"{setting}: {what} gives an image several labels at once, and here an image has one: tell one label "
        "from the rest, by a table of it with --corpus.name table, its column as corpus.table.columns.label "
        "and that label as corpus.table.columns.positive"
    )


def one_class_warning(class_names: Sequence[str]) -> list[str]:
    """Return a warning about a corpus in which there is nothing to tell apart."""
    if len(class_names) > 1:
        return []
    return [f"there is a single class, {class_names[0]!r}: a classifier has nothing to tell apart"]


def table_warnings(table: Path, rows: int, missing: Sequence[str], unlisted: Sequence[str]) -> list[str]:
    """Return warnings about rows of a corpus' table without a file, and about files without a row.

    Args:
        table: that lists the images.
        rows: how many of its rows were searched for.
        missing: those without a file.
        unlisted: image files without a row.
    """
    found = []
    if missing:
        found.append(
            f"{len(missing)} of {rows} rows of {table.name} have no image (such as {missing[0]}); they are "
            "listed in missing.txt"
        )
    if unlisted:
        found.append(f"{len(unlisted)} images have no row in {table.name} (such as {unlisted[0]})")
    return found


def read_csv(
    file: Path, setting: str, columns: Sequence[str], *, exact: bool = False
) -> list[dict[str, str]]:
    """Return the rows of a table with a header; absent cells are empty.

    Args:
        file: the table, as :func:`skindiff.corpora.table_corpus.dialects.read_table` takes it.
        setting: the setting that names the file, for the messages.
        columns: the columns that must be there, once.
        exact: keep cells as they are; otherwise they are stripped, and in one Unicode form.

    Raises:
        CorpusError: the file cannot be read, has no such column, or has it twice.
    """
    table = read_listing(file, setting, exact=exact)
    for column in columns:
        refuse_absent_column(table, column, setting, f"{file}")
    return list(table.rows())


def read_listing(file: Path, setting: str, *, exact: bool = False) -> TextTable:
    """Return a table that lists the images of a corpus.

    Raises:
        CorpusError: it cannot be read.
    """
    try:
        return read_table(file, exact=exact)
    except Malformed as error:
        raise CorpusError(f"{setting}: cannot read {file} ({error}); give the path of a csv file") from error


def refuse_absent_column(table: TextTable, column: str, setting: str, place: str) -> None:
    """Refuse a table that does not have a column once.

    Raises:
        CorpusError: it does not. The other columns stay unsaid but for one that is nearly called like it: a
            stranger's settings may point at any file of this machine.
    """
    if (count := table.columns.count(column)) > 1:
        raise CorpusError(
            f"{setting}: {place} has the column {column!r} {count} times; rename all but one in the file"
        )
    if not count:
        near = difflib.get_close_matches(column, table.columns, n=1)
        meant = f", but {near[0]!r}" if near else ""
        raise CorpusError(
            f"{setting}: {place} has no column {column!r} among the {len(table.columns)} that it has{meant}; "
            "rename the column in the csv or give another file"
        )


def known_text(cell: str) -> str | None:
    """Return a cell, None where it says in one of the usual ways that nothing is known."""
    return None if cell.casefold() in _NOTHING else cell


def read_skin_type(cell: str, setting: str, image_id: str) -> str | None:
    """Return "I" to "VI" for a Fitzpatrick skin type as people write it, and None for one not recorded.

    A numeral or a number from 1 to 6, also as 3.0, with or without words before it (``FST 3``, ``Type III``);
    an empty cell, -1, NaN, NA and the like are not recorded.

    Raises:
        CorpusError: the cell says something else.
    """
    if cell in SKIN_TYPES:
        return cell
    if found := _SKIN_TYPE.fullmatch(unicodedata.normalize("NFKC", cell).casefold()):
        numeral = found[1].upper()
        return numeral if numeral in SKIN_TYPES else SKIN_TYPES[int(numeral[0]) - 1]
    if known_text(cell) is None or cell.removesuffix(".0") == "-1":
        return None
    raise CorpusError(
        f"{setting}: {image_id} has skin type {cell!r}; use I to VI, 1 to 6, or -1 for not recorded"
    )


def _own_groups(rows: Sequence[ImageRow]) -> list[str]:
    return [row.image_id if row.group_id is None else row.group_id for row in rows]


def _apply_audit(
    rows: Sequence[ImageRow], audit_csv: str
) -> tuple[list[ImageRow], list[str], list[tuple[str, str]]]:
    """Return the rows fit for use, their groups joined to the audit's, and (image_id, reason) of others."""
    table = read_csv(Path(audit_csv), "audit_csv", ("image_id", "status", "group_id", "reason"), exact=True)
    audit = {entry["image_id"]: entry for entry in table}
    if unknown := [row.image_id for row in rows if row.image_id not in audit]:
        raise CorpusError(
            f"audit_csv: {audit_csv} does not list {len(unknown)} of {len(rows)} images "
            f"(such as {unknown[0]}); run skindiff audit again over this corpus"
        )
    kept, quarantined = [], []
    for row in rows:
        entry = audit[row.image_id]
        if entry["status"] in KEPT_STATUSES:
            kept.append(row)
        else:
            quarantined.append((row.image_id, f"{entry['status']}: {entry['reason']}"))
    groups = _join_groups(_own_groups(kept), [audit[row.image_id]["group_id"] for row in kept])
    return kept, groups, quarantined


def _join_groups(own: Sequence[str], audited: Sequence[str]) -> list[str]:
    """Return groups such that images of one patient, or of one duplicate cluster, or linked by a chain of
    both, share a group; it is called like the audit's (the first one by name)."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for patient, cluster in zip(own, audited, strict=True):
        # "audit" sorts before "own" and the smaller root wins: the root is always an audit's group.
        first, second = sorted((root(("own", patient)), root(("audit", cluster))))
        parent[second] = first
    return [root(("audit", cluster))[1] for cluster in audited]
