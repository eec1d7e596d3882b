"""Workbooks of Excel: the first sheet as rows of text, with dates and leading zeros as they are shown."""

import datetime
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skindiff.errors import ConfigError
from skindiff.foreign import Malformed, regular_size

_DENSEST, _FLOOR = 200, 2**24
"""How many times larger than its file the content may be, and what any may hold; sheets of text reach
twenty."""


def read_workbook(file: Path, most: int) -> tuple[list[str], Iterator[tuple[int, list[str]]], list[str]]:
    """Return the header, the rows with the lines they stand on, and warnings.

    A formula counts as what it was worth when the workbook was saved.

    Args:
        file: that ends in ``.xlsx``.
        most: bytes of the file.

    Raises:
        ConfigError: openpyxl is not installed.
        Malformed: it is no workbook, damaged, or larger than its file can mean.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise ConfigError(
            f"metadata: {file.name} is a workbook, and what reads it is not installed; "
            'pip install "skindiff[xlsx]", or save it as csv'
        ) from error
    try:
        size = regular_size(file)
        if size > most:
            raise Malformed(f"it has {size:,} bytes, and at most {most:,} are read")
        with zipfile.ZipFile(file) as archive:
            if sum(part.file_size for part in archive.infolist()) > max(_FLOOR, _DENSEST * size):
                raise Malformed(f"its content is over {_DENSEST} times larger than the file")
        book = load_workbook(file, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        cells = [[_text(cell) for cell in row] for row in sheet.iter_rows()]
        others = [one.title for one in book.worksheets[1:]]
        book.close()
    except Malformed:
        raise
    # Archives, XML and styles of strangers fail in many ways.
    except Exception as error:
        raise Malformed(f"no readable workbook ({type(error).__name__})") from error
    filled = [(place, row) for place, row in enumerate(cells, 1) if any(map(str.strip, row))]
    warnings = [f"sheets of {file.name} after the first are not read: {', '.join(others)}"] if others else []
    if not filled:
        return [], iter(()), warnings
    header = filled[0][1]
    while header and not header[-1].strip():
        header = header[:-1]
    return header, iter(filled[1:]), warnings


def _text(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    shown = cell.number_format
    # A number shown as 007 is stored as 7, and the format is what says so.
    return str(value).zfill(len(shown)) if isinstance(value, int) and set(shown) == {"0"} else str(value)
