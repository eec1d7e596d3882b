"""What the rows of a table say of the images: classes, patients, skin types and attributes, checked."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skindiff.corpora.table import ListedImage, known_text, read_skin_type
from skindiff.corpora.table_corpus.columns import KEPT, NONE, ColumnsConfig
from skindiff.corpora.table_corpus.dialects import TextTable
from skindiff.corpora.table_corpus.guess import PART_WORDS, is_called
from skindiff.errors import CorpusError

OTHER = "other"
"""Class of the images that do not have the label ``columns.positive``."""
_LARGE = 0.5
"""A group of more than this share of the images is no patient."""
_LISTS = ("[", "{", "|", ";")
"""Signs of a cell that holds several labels."""


@dataclass(frozen=True)
class Facts:
    """What is known of every row."""

    labels: list[str | None]
    """None where a row has none, or one that is not asked for."""
    class_names: list[str]
    skin_types: list[str | None]
    groups: list[str | None]
    attributes: dict[str, list[str | None]]
    boxes: list[tuple[int, int, int, int] | None]
    masks: list[str | None]
    """Names of files."""
    warnings: list[str]

    def listed(self, row: int, image_id: str) -> ListedImage:
        """Return a row of which there is a label as an image of the corpus."""
        label = self.labels[row]
        assert label is not None
        attributes = {name: cells[row] for name, cells in self.attributes.items()}
        return ListedImage(
            image_id, label, self.skin_types[row], self.groups[row], attributes,
            self.boxes[row], self.masks[row],
        )  # fmt: skip


def read_facts(
    table: TextTable,
    columns: ColumnsConfig,
    classes: Mapping[str, Sequence[str]] | Sequence[str] | None,
    order: Sequence[str] = (),
) -> Facts:
    """Return what a table says of the images in its rows.

    Args:
        table: the table.
        columns: of it, with a label.
        classes: that are asked for; all labels when left out.
        order: of the classes, where they are not asked for by name; those that are not in it follow by name.

    Raises:
        CorpusError: a class has no row, a row has several labels, a lesion belongs to two patients, or a cell
            cannot be what its column should hold.
    """
    stated = _stated_labels(table, columns)
    labels, class_names, warnings = _sorted_out(stated, table.name, classes, _order(columns, order))
    groups, said = _groups(table, columns)
    warnings += said
    roles = {name: column for name in KEPT if (column := _column(columns, name)) is not None}
    attributes = {
        name: [known_text(cell) for cell in table.column(column)]
        for name, column in {**roles, **columns.attributes}.items()
    }
    if "split" in attributes:
        attributes["split"] = [_part(cell, table.name) for cell in attributes["split"]]
    skin = _column(columns, "skin_type")
    skin_types: list[str | None] = [None] * len(table)
    if skin is not None:
        names = (f"row {row} of {table.name}" for row in range(1, len(table) + 1))
        skin_types = [
            read_skin_type(cell, "columns.skin_type", name)
            for cell, name in zip(table.column(skin), names, strict=True)
        ]
    mask = _column(columns, "mask")
    masks: list[str | None] = [None] * len(table)
    if mask is not None:
        masks = [known_text(cell) for cell in table.column(mask)]
    boxes: list[tuple[int, int, int, int] | None] = [None] * len(table)
    if columns.box is not None:
        boxes = _boxes(table, columns.box)
    return Facts(labels, class_names, skin_types, groups, attributes, boxes, masks, warnings)


def _boxes(table: TextTable, names: Sequence[str]) -> list[tuple[int, int, int, int] | None]:
    """Return left, top, width and height of every row, None where the cells are empty."""
    found: list[tuple[int, int, int, int] | None] = []
    for row, cells in enumerate(zip(*(table.column(name) for name in names), strict=True), 1):
        if all(known_text(cell) is None for cell in cells):
            found.append(None)
            continue
        try:
            left, top, width, height = (int(float(cell)) for cell in cells)
        except (ValueError, OverflowError):
            raise CorpusError(
                f"columns.box: row {row} of {table.name} has other cells than four numbers; name left, top, "
                "width and height in pixels"
            ) from None
        found.append((left, top, width, height))
    return found


def _order(columns: ColumnsConfig, order: Sequence[str]) -> Sequence[str]:
    """Return the classes in the order in which columns or the data set have them."""
    if columns.positive is not None:
        return (columns.positive, OTHER)
    return columns.label if isinstance(columns.label, list) else order


def _column(columns: ColumnsConfig, role: str) -> str | None:
    named: str | None = getattr(columns, role)
    return None if named == NONE else named


def _stated_labels(table: TextTable, columns: ColumnsConfig) -> list[str | None]:
    """Return the label of every row as the table has it; with ``positive``, that or ``other``."""
    if isinstance(columns.label, list):
        marked = [[_truth(cell, name, table.name) for cell in table.column(name)] for name in columns.label]
        if columns.positive is not None:
            if columns.positive not in columns.label:
                raise CorpusError(
                    f"columns.positive: {columns.positive!r} is none of the columns of columns.label; name "
                    "one"
                )
            wanted = columns.label.index(columns.positive)
            return [columns.positive if row[wanted] else OTHER for row in zip(*marked, strict=True)]
        found: list[str | None] = []
        for number, row in enumerate(zip(*marked, strict=True), 1):
            if sum(row) > 1:
                both = [name for name, mark in zip(columns.label, row, strict=True) if mark]
                raise _several(f"row {number} of {table.name}", both)
            found.append(columns.label[row.index(True)] if any(row) else None)
        return found
    cells = [known_text(cell) for cell in table.column(str(columns.label))]
    if columns.positive is None:
        for number, cell in enumerate(cells, 1):
            if cell is not None and cell.startswith(_LISTS[:2]):
                raise _several(f"row {number} of {table.name}", _members(cell))
        return cells
    if not any(columns.positive in _members(cell) for cell in cells if cell is not None):
        raise CorpusError(f"columns.positive: no row of {table.name} has the label {columns.positive!r}")
    return [
        None if cell is None else columns.positive if columns.positive in _members(cell) else OTHER
        for cell in cells
    ]


def _several(where: str, labels: Sequence[str]) -> CorpusError:
    first = labels[0] if labels else "LABEL"
    return CorpusError(
        f"columns.label: {where} has several labels ({len(labels)}), and an image of a corpus has one; tell "
        f"one label from the rest by --corpus.table.columns.positive {first!r}"
    )


def _members(cell: str) -> list[str]:
    """Return the labels of a cell that holds one, or several as a list or between ``|`` or ``;``."""
    for sign in ("|", ";", "," if cell.startswith(_LISTS[:2]) else "|"):
        if sign in cell:
            return [part for piece in cell.split(sign) if (part := piece.strip("[]{}'\" "))]
    return [cell.strip("[]{}'\" ")] if cell.startswith(_LISTS[:2]) else [cell]


def _truth(cell: str, column: str, table: str) -> bool:
    said = cell.casefold()
    if said in ("1", "1.0", "true", "yes"):
        return True
    if said in ("0", "0.0", "false", "no", "", "nan"):
        return False
    raise CorpusError(
        f"columns.label: column {column!r} of {table} has other cells than 0 and 1; give a column of names, "
        "or columns of 0 and 1"
    )


def _sorted_out(
    stated: Sequence[str | None],
    table: str,
    classes: Mapping[str, Sequence[str]] | Sequence[str] | None,
    order: Sequence[str],
) -> tuple[list[str | None], list[str], list[str]]:
    """Return the class of every row, the classes in the order of their codes, and warnings."""
    counts = Counter(label for label in stated if label is not None)
    warnings = []
    if without := len(stated) - counts.total():
        warnings.append(f"{without} of {len(stated)} rows of {table} have no label and are left out")
    if not counts:
        raise CorpusError(f"columns.label: no row of {table} has a label; name the right column")
    if classes is None:
        places = {label: place for place, label in enumerate(order)}
        names = sorted(counts, key=lambda label: (places.get(label, len(order)), label))
        return list(stated), names, warnings + _spellings(counts)
    given = classes if isinstance(classes, Mapping) else {name: [name] for name in classes}
    named = {label: name for name, labels in given.items() for label in labels}
    for label in named:
        if label not in counts:
            raise CorpusError(
                f"classes: no row of {table} has the label {label!r}, of {len(counts)} that there are; "
                "correct it or leave it out (skindiff data check lists them)"
            )
    if others := {label: count for label, count in counts.items() if label not in named}:
        warnings.append(
            f"{sum(others.values())} rows of {table} are left out: their {len(others)} labels are in no "
            f"class (such as {next(iter(others))!r})"
        )
    return [named.get(label) if label is not None else None for label in stated], list(given), warnings


def _spellings(labels: Mapping[str, int]) -> list[str]:
    """Return a warning about labels that differ in nothing but capitals and separators."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in labels:
        alike["".join(filter(str.isalnum, label.casefold()))].append(label)
    return [
        f"{' and '.join(map(repr, names))} differ in spelling alone and are classes of their own; join them "
        "by the setting classes"
        for names in alike.values()
        if len(names) > 1
    ]


def _part(cell: str | None, table: str) -> str | None:
    if cell is None:
        return None
    if cell.casefold() not in PART_WORDS:
        raise CorpusError(
            f"columns.split: {cell!r} in {table} is no part; call parts train, validation and test, or say "
            "columns.split none"
        )
    return PART_WORDS[cell.casefold()]


def _groups(table: TextTable, columns: ColumnsConfig) -> tuple[list[str | None], list[str]]:
    """Return the group of every row: its patient, or its lesion where the patient is not known.

    A lesion of which one row names the patient is that patient's in every row.
    """
    nobody: list[str | None] = [None] * len(table)
    patient, lesion = _column(columns, "patient"), _column(columns, "lesion")
    patients = [known_text(cell) for cell in table.column(patient)] if patient else nobody
    lesions = [known_text(cell) for cell in table.column(lesion)] if lesion else nobody
    owners: dict[str, str] = {}
    for who, what in zip(patients, lesions, strict=True):
        if who is not None and what is not None and owners.setdefault(what, who) != who:
            raise CorpusError(
                f"columns.lesion: lesion {what!r} in {table.name} belongs to two patients, {owners[what]!r} "
                f"and {who!r}; correct the table, or name columns that agree"
            )
    # Names of patients and of lesions may be the same numbers.
    named = (lambda what: f"lesion {what}") if patient else (lambda what: what)
    groups = [
        who if who is not None else owners.get(what, named(what)) if what is not None else None
        for who, what in zip(patients, lesions, strict=True)
    ]
    warnings = []
    if lesion and not patient:
        warnings.append(
            f"Patients unknown: leakage not excluded. {table.name} knows lesions alone: none of them is "
            "cut, but two of one patient may stand in training and test at once"
        )
    if columns.patient == NONE:
        warnings += [
            f"columns.patient is none, but {table.name} has a column {name!r}"
            for name in table.columns
            if is_called(name, "patient")
        ]
    known = Counter(group for group in groups if group is not None)
    if known and len(groups) > 20:
        (largest, count), *_ = known.most_common(1)
        if count > _LARGE * len(groups):
            warnings.append(
                f"{count} of {len(groups)} rows of {table.name} share the group {largest!r}: if that is no "
                "patient, say columns.patient"
            )
    return groups, warnings
