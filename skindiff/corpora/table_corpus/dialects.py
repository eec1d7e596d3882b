"""Tables as people keep them, read as columns of text: csv, TSV, JSON lines, Parquet and workbooks.

What a file is written in is decided, not guessed: the delimiter is the one that cuts the header and gives
every row as many cells, the encoding UTF-8, or UTF-16 where a byte-order mark says so. Whatever else a file
is in has to be said by the settings ``encoding`` and ``delimiter``.
"""

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from skindiff.foreign import Malformed, parse_json, read_bytes
from skindiff.foreign_tables import read_parquet

MOST_TABLE = 2**28
"""Bytes of a table: a million rows have a hundred million."""
MOST_COLUMNS = 1000
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".parquet", ".xlsx")
"""How the names of tables end, by which a folder's is found; a table that is named may be called anything."""
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SLOW = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"}
"""Encodings of other things than text files."""
_JUDGED = 1000
"""Rows by which delimiters are judged."""
_CHUNK = 20_000
"""Rows that are held as Python text at a time."""


class Undecided(Malformed):
    """A table leaves open how it is to be read, until a setting says it."""

    def __init__(self, setting: str, why: str, such_as: str) -> None:
        super().__init__(why)
        self.setting, self.such_as = setting, such_as


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are all text, stripped and in Unicode form NFC; what is not there is empty."""

    name: str
    """Of the file, for messages."""
    columns: list[str]
    """Stripped, in order; a column without a name is called by its place."""
    cells: pa.Table
    said: str = ""
    """What it is written in and how large it is, in words."""
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    def column(self, name: str) -> list[str]:
        """Return the cells of a column.

        Raises:
            Malformed: there is none of that name, or more than one.
        """
        if (count := self.columns.count(name)) != 1:
            raise Malformed(f"it has {count or 'no'} columns {name!r}")
        found: list[str] = self.cells.column(self.columns.index(name)).to_pylist()
        return found

    def rows(self) -> Iterator[dict[str, str]]:
        """Yield every row as a mapping from column to cell; of columns of one name the last counts."""
        for batch in self.cells.to_batches(_CHUNK):
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield dict(zip(self.columns, cells, strict=True))

    def with_columns(self, added: Mapping[str, Sequence[str]]) -> "TextTable":
        """Return the table with further columns at its end."""
        cells = _arrow([*self.cells.columns, *added.values()])
        return TextTable(self.name, [*self.columns, *added], cells, self.said, self.warnings)


def table_of(name: str, columns: Mapping[str, Sequence[str]], said: str = "") -> TextTable:
    """Return a table made of columns of text."""
    return TextTable(name, list(columns), _arrow(list(columns.values())), said)


def read_table(
    file: Path, encoding: str | None = None, delimiter: str | None = None, *, exact: bool = False
) -> TextTable:
    """Read a table; its kind is told by the ending of its name, and is delimited text for any other.

    Args:
        file: a regular file of at most :data:`MOST_TABLE` bytes.
        encoding: of delimited text and JSON lines; UTF-8, or UTF-16 by its byte-order mark, when left out.
        delimiter: of delimited text; decided by the content when left out.
        exact: leave cells of delimited text as they are, neither stripped nor in another Unicode form, since
            names of files may begin with a space.

    Raises:
        Malformed: it is no such file, or cannot be read.
        Undecided: it leaves open how it is to be read.
        ConfigError: it is a workbook, and what reads workbooks is not installed.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return _from_parquet(file)
    if suffix == ".xlsx":
        from skindiff.corpora.table_corpus.workbooks import read_workbook

        header, rows, warnings = read_workbook(file, MOST_TABLE)
        return _assembled(file.name, header, rows, "a workbook", warnings)
    text, written = _decoded(read_bytes(file, MOST_TABLE), encoding)
    if suffix == ".jsonl":
        return _from_json_lines(file.name, text, written)
    by_name = "\t" if suffix in (".tsv", ".tab") else None
    return _from_delimited(file.name, text, written, by_name, delimiter, str if exact else plain)


def check_encoding(encoding: str) -> bool:
    """Return whether an encoding of text is known by this name."""
    try:
        "".encode(encoding)
        return codecs.lookup(encoding).name.replace("-", "_") not in _SLOW
    except (LookupError, ValueError):
        return False


def plain(cell: str) -> str:
    """Return a cell as it is compared: stripped, in Unicode form NFC."""
    cell = cell.strip()
    return cell if cell.isascii() else unicodedata.normalize("NFC", cell)


def _decoded(content: bytes, encoding: str | None) -> tuple[str, str]:
    """Return the text, and in words what it is written in."""
    marked = next((name for mark, name in _BOMS if content.startswith(mark)), None)
    chosen = encoding or marked or "utf-8"
    try:
        text = content.decode(chosen).removeprefix("\ufeff")
    except UnicodeError as error:
        at = f", byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise Undecided("encoding", f"it is no {chosen.upper()} text{at}", "cp1252") from None
    if "\0" in text:
        why = "it has NUL characters, as UTF-16 without a byte-order mark has"
        raise Undecided("encoding", why, "utf-16-le")
    said = {"utf-8-sig": "UTF-8 with a byte-order mark", "utf-16": "UTF-16", "utf-8": "UTF-8"}
    return text, said.get(chosen, chosen)


def _from_delimited(
    name: str, text: str, written: str, by_name: str | None, given: str | None, cell: Callable[[str], str]
) -> TextTable:
    marked = re.match(r'"?sep=(.)"?\r?\n', text)  # the line by which Excel is told the delimiter
    if marked:
        text = text[marked.end() :]
    chosen = given or (marked[1] if marked else None) or by_name or _delimiter(text)
    rows = _records(text, chosen)
    header = next(rows, (0, []))[1]
    said = f"{DELIMITERS.get(chosen, repr(chosen))}-separated, {written}"
    return _assembled(name, header, rows, said, [], cell)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that have any cell, with the lines on which they end."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield reader.line_num, cells
    except csv.Error as error:
        raise Malformed(f"line {reader.line_num}: {error}") from None


def _delimiter(text: str) -> str:
    """Return what cuts the header, and every row into as many cells; refuse two that do."""
    fits: dict[str, float] = {}
    for candidate in DELIMITERS:
        try:
            judged = [cells for _, (_, cells) in zip(range(_JUDGED), _records(text, candidate), strict=False)]
        except Malformed:
            continue
        if judged and len(judged[0]) > 1:
            fits[candidate] = sum(len(cells) == len(judged[0]) for cells in judged) / len(judged)
    best = [candidate for candidate, share in fits.items() if share == max(fits.values())]
    if len(best) > 1:
        names = " and ".join(DELIMITERS[one] for one in best)
        raise Undecided("delimiter", f"{names} both fit as its delimiter", f'"{best[0]}"')
    return best[0] if best else ","


def _from_json_lines(name: str, text: str, written: str) -> TextTable:
    parsed = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except Malformed as error:
            raise Malformed(f"line {number}: {error}") from None
        if not isinstance(row, dict):
            raise Malformed(f"line {number} is no object")
        columns |= dict.fromkeys(row)
        if len(columns) > MOST_COLUMNS:
            raise Malformed(f"it has more than the {MOST_COLUMNS:,} columns that are read")
        parsed.append((number, row))
    rows = ((number, [_json_text(row.get(column)) for column in columns]) for number, row in parsed)
    return _assembled(name, list(columns), rows, f"JSON lines, {written}", [])


def _json_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _from_parquet(file: Path) -> TextTable:
    found = read_parquet(file)
    kept, left, arrays = [], [], []
    for name, column in zip(found.column_names, found.columns, strict=True):
        try:
            text = pc.fill_null(pc.cast(column, pa.string()), "")
        except pa.ArrowException:  # lists, structs and bytes: no cells of text
            left.append(name)
            continue
        kept.append(name)
        arrays.append([plain(cell) for cell in text.to_pylist()])
    warnings = [f"columns of {file.name} are no text and not read: {', '.join(left)}"] if left else []
    said = f"Parquet, {found.num_rows:,} rows of {len(kept)} columns"
    table = table_of(file.name, dict(zip(kept, arrays, strict=True)), said)
    return TextTable(table.name, [plain(name) for name in kept], table.cells, said, warnings)


def _assembled(
    name: str,
    header: Sequence[str],
    rows: Iterator[tuple[int, list[str]]],
    said: str,
    warnings: list[str],
    cell: Callable[[str], str] = plain,
) -> TextTable:
    """Make a table of rows with the places they have in the file, by chunks that are small in memory."""
    columns = [plain(column) or f"column {place}" for place, column in enumerate(header, 1)]
    if not columns:
        raise Malformed("it has no header")
    if len(columns) > MOST_COLUMNS:
        raise Malformed(f"it has more than the {MOST_COLUMNS:,} columns that are read")
    width = len(columns)
    parts: list[pa.Table] = []
    waiting: list[list[str]] = []
    short: list[int] = []
    for place, cells in rows:
        if len(cells) > width:
            if any(map(str.strip, cells[width:])):
                raise Malformed(
                    f"line {place} has {len(cells)} cells and the header {width}: put cells that hold the "
                    "delimiter between quotes"
                )
            cells = cells[:width]
        elif len(cells) < width:
            short.append(place)
            cells = [*cells, *[""] * (width - len(cells))]
        waiting.append(list(map(cell, cells)))
        if len(waiting) == _CHUNK:
            parts.append(_arrow(list(zip(*waiting, strict=True))))
            waiting = []
    if waiting or not parts:
        parts.append(_arrow(list(zip(*waiting, strict=True)) or [()] * width))
    if short:
        warnings = [
            *warnings,
            f"{len(short)} rows of {name} are short (such as line {short[0]}): the cells that they lack are "
            "taken as empty",
        ]
    cells_ = pa.concat_tables(parts)
    return TextTable(
        name, columns, cells_, f"{said}, {cells_.num_rows:,} rows of {width} columns", list(warnings)
    )


def _arrow(columns: Sequence[Sequence[str] | pa.ChunkedArray]) -> pa.Table:
    arrays = [one if isinstance(one, pa.ChunkedArray) else pa.array(one, pa.string()) for one in columns]
    return pa.Table.from_arrays(arrays, names=[str(place) for place in range(len(arrays))])
