"""A gallery as a zip: the images as PNG, and one table that says how each was made."""

import csv
import io
import zipfile
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skindiff.demo.drawing import Picture
from skindiff.demo.photographs import png_bytes
from skindiff.errors import SynthesisError
from skindiff.escaping import spreadsheet

NOTICE = (
    "Synthetic images generated with skindiff, for research and teaching only. They show no diagnosis, were "
    "not\n"
    "reviewed by a clinician and must not be used for the care of patients.\n\n"
    "images/          the images, without metadata\n"
    "provenance.csv   how each was made: generator, prompt, seed, settings, and its ITA in degrees\n"
    "provenance.parquet  the same with types\n"
)


def table_of(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """Return the provenance of pictures: ``file``, ``ita_degrees`` and the columns of their plan."""
    return [
        {
            "file": f"images/{number:03d}-{picture.row['image_id']}.png",
            "ita_degrees": None if picture.ita is None else round(picture.ita, 2),
            **picture.row,
        }
        for number, picture in enumerate(pictures, 1)
    ]


def zip_bytes(pictures: Sequence[Picture]) -> bytes:
    """Return a zip of pictures with their provenance; equal pictures give equal bytes.

    Raises:
        SynthesisError: there is no picture.
    """
    if not pictures:
        raise SynthesisError("there is nothing to download yet; generate images first")
    rows = table_of(pictures)
    content = {
        "README.txt": NOTICE.encode(),
        "provenance.csv": _csv(rows),
        "provenance.parquet": _parquet(rows),
    }
    content |= {row["file"]: png_bytes(picture.pixels) for row, picture in zip(rows, pictures, strict=True)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the columns of all rows: two generators of different kinds have different ones."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _columns(rows), restval="")
    writer.writeheader()
    writer.writerows({name: spreadsheet(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    table = pa.table({name: [row.get(name) for row in rows] for name in _columns(rows)})
    file = pa.BufferOutputStream()
    pq.write_table(table, file)
    data: bytes = file.getvalue().to_pybytes()
    return data
