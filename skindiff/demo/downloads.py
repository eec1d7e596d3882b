"""A result as a zip: its images as PNG, one table that says how each was made, and the page's settings."""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skindiff.demo.captions import caption, image_name
from skindiff.demo.drawing import Picture
from skindiff.demo.photographs import Pixels, png_bytes
from skindiff.demo.settings import PageSettings, settings_bytes
from skindiff.demo.sheets import contact_sheet
from skindiff.errors import SynthesisError
from skindiff.escaping import spreadsheet

NOTICE = (
    "Synthetic images generated with skindiff, for research and teaching only. They show no diagnosis, were "
    "not\n"
    "reviewed by a clinician and must not be used for the care of patients.\n\n"
    "images/          the images, without metadata; each name has condition, skin type and seed\n"
    "contact-sheet.png  all of them with captions, for slides\n"
    "photograph/      of a photograph: as it was sent, and the table by which it is a corpus of one image\n"
    "                 (corpus.yaml); generated-from-*.png is what was seen of it; skin/ has the skin that\n"
    "                 tones were measured on, tone_prototypes.safetensors the tones of the generator\n"
    "provenance.csv   how each was made: generator, prompt, seeds, settings, its ITA in degrees;\n"
    "                 request_seed and index are the page's seed and the image's place\n"
    "provenance.parquet  the same with types\n"
    "settings.json    what stood in the page's fields, and the images' indices; the page loads it\n"
)


@dataclass
class Result:
    """What a request has given so far.

    Attributes:
        settings: that were asked for, with the seed that was used.
        pictures: so far.
        total: how many there will be.
        beside: further images with their captions by the path in the zip, such as the original photograph;
            those that have a caption stand on the contact sheet too.
        files: further files by their path.
    """

    settings: PageSettings
    pictures: list[Picture] = field(default_factory=list)
    total: int = 0
    beside: dict[str, tuple[Pixels, str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def table_of(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """Return the provenance of pictures: ``file``, measures, and the columns of their plan."""
    return [
        {
            "file": f"images/{number:03d}-{image_name(picture)}",
            "ita_degrees": _rounded(picture.ita),
            "aimed_ita_degrees": _rounded(picture.aim),
            "structure_kept": _rounded(picture.kept),
            **picture.row,
        }
        for number, picture in enumerate(pictures, 1)
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def zip_bytes(result: Result) -> bytes:
    """Return a zip of pictures with their provenance; equal results give equal bytes.

    Raises:
        SynthesisError: there is no picture.
    """
    if not result.pictures:
        raise SynthesisError("there is nothing to download yet; generate images first")
    rows = table_of(result.pictures)
    content = {
        "README.txt": NOTICE.encode(),
        "settings.json": settings_bytes(result.settings, [int(row.get("index", 0)) for row in rows]),
        "provenance.csv": _csv(rows),
        "provenance.parquet": _parquet(rows),
        **result.files,
    }
    captioned = [one for one in result.beside.values() if one[1]]
    captioned += [(picture.pixels, caption(picture)) for picture in result.pictures]
    images: Mapping[str, Pixels] = {
        "contact-sheet.png": contact_sheet(captioned),
        **{name: pixels for name, (pixels, _) in result.beside.items()},
        **{row["file"]: picture.pixels for row, picture in zip(rows, result.pictures, strict=True)},
    }
    content |= {name: png_bytes(pixels) for name, pixels in images.items()}
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
