"""Every image is decoded, turned upright and resized once, into an Arrow cache keyed by file contents."""

import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
import pyarrow as pa
from datasets import Dataset, load_from_disk
from datasets.arrow_writer import ArrowWriter
from datasets.table import MemoryMappedTable
from PIL import Image, ImageOps, UnidentifiedImageError

from skindiff.corpora.decoded import DECODED
from skindiff.errors import ConfigError, CorpusError, RunFolderError
from skindiff.manifest import DONE, changed, hashes_of, read_list
from skindiff.progress import progress

logger = logging.getLogger(__name__)

CACHE_VERSION = 1
"""Part of the fingerprint; raise it whenever the same file would be turned into other pixels or columns."""
QUARANTINE_FILE = "quarantined.json"
STORED_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
"""The Arrow type behind ``datasets.Image``."""
BATCH = 128
"""Rows held in memory at a time: 128 photographs of 12 megapixels are under 1 GB as files."""


@dataclass(frozen=True)
class CachedCorpus:
    """A corpus whose images are all ``size`` x ``size`` RGB, and what could not be decoded."""

    dataset: Dataset
    """The columns of the corpus; ``image`` holds lossless PNG bytes. Memory-mapped from the cache."""
    quarantined: list[tuple[str, str]]
    """``(image_id, reason)`` of the rows that were left out."""
    fingerprint: str
    """32 hexadecimal digits over the bytes of every image, the other columns and the settings."""


def resize_to_cache(
    dataset: Dataset, size: int, cache_dir: Path, *, crop: Literal["centre", "stretch"] = "centre"
) -> CachedCorpus:
    """Return the corpus with every image upright, RGB, square and ``size`` pixels wide.

    An image is turned by its EXIF orientation, converted to RGB and resized with Lanczos resampling. The
    result lies in ``cache_dir/<fingerprint>``, where :func:`datasets.load_from_disk` can read it; a second
    call with the same image bytes, columns and settings reads it back, wherever the files have moved. It
    appears there complete or not at all, also when several processes build it at once, and one that is
    damaged is made again.

    Args:
        dataset: a corpus with ``image`` (files, bytes or PIL images) and ``image_id``; order is kept.
        size: width and height of the result in pixels.
        cache_dir: folder of all caches; created if absent.
        crop: ``centre`` cuts the middle square out, ``stretch`` squeezes the whole picture into it.

    Raises:
        ConfigError: ``size`` is below 1.
        CorpusError: no image at all can be decoded, or the cache cannot be written.
    """
    if size < 1:
        raise ConfigError(f"image_size: {size} is not a width in pixels; use 64 to 512")
    with ThreadPoolExecutor() as pool:
        fingerprint = _fingerprint(dataset, size, crop, pool)
        folder = Path(cache_dir) / fingerprint
        _remove_damaged(folder)
        if not folder.is_dir():
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                _build(dataset, size, crop, folder, pool)
            except OSError as error:
                raise CorpusError(
                    f"cache_dir: cannot write {folder} ({error.strerror or error}); "
                    "free some space or choose another folder"
                ) from error
    quarantined = [
        (image_id, reason) for image_id, reason in json.loads((folder / QUARANTINE_FILE).read_text())
    ]
    return CachedCorpus(load_from_disk(str(folder)), quarantined, fingerprint)


def _remove_damaged(folder: Path) -> None:
    """Remove a cache of which a file is gone or not what was written, so that it is made again."""
    if not folder.is_dir():
        return
    try:
        listed = read_list(folder / DONE)
    except RunFolderError:
        listed = {}
    if bad := changed(folder, listed) if listed else [DONE]:
        logger.warning("%s is damaged or gone: the images are resized again", folder / bad[0])
        shutil.rmtree(folder, ignore_errors=True)


def pixels(dataset: Dataset, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """Return images as one uint8 array of shape ``(n, height, width, 3)``, values 0 to 255, RGB.

    Args:
        dataset: a table with ``image``, all of one size (as :func:`resize_to_cache` makes them).
        indices: rows in the order wanted, repeats allowed; all rows if left out.

    Raises:
        CorpusError: the images differ in size.
    """
    chosen = dataset.select_columns(["image"])
    if indices is not None:
        chosen = chosen.select(np.asarray(indices, dtype=np.int64))
    if len(chosen) == 0:
        return np.zeros((0, 0, 0, 3), dtype=np.uint8)
    array: np.ndarray | None = None
    row = 0
    with ThreadPoolExecutor() as pool:
        for table in _batches(chosen):
            for values in pool.map(_values, table["image"].to_pylist()):
                if array is None:
                    array = np.empty((len(chosen), *values.shape), dtype=np.uint8)
                if values.shape != array.shape[1:]:
                    raise CorpusError(
                        f"image: row {row} is {values.shape[1]} x {values.shape[0]} pixels, others are "
                        f"{array.shape[2]} x {array.shape[1]}; bring them to one size with resize_to_cache"
                    )
                array[row] = values
                row += 1
    assert array is not None
    return array


def _batches(dataset: Dataset) -> Iterator[pa.Table]:
    """Yield the rows as stored; an image is {"bytes", "path"} or None, and is not decoded."""
    raw = dataset.with_format("arrow")
    for start in range(0, len(raw), BATCH):
        yield raw[start : start + BATCH]


def _read(stored: dict[str, Any]) -> bytes:
    return stored["bytes"] if stored["bytes"] is not None else Path(stored["path"]).read_bytes()


def _digest(row: dict[str, Any]) -> bytes:
    """Return the SHA-256 of the image's bytes (not its path) and of the other columns."""
    digest = hashlib.sha256(repr([(name, row[name]) for name in sorted(row) if name != "image"]).encode())
    try:
        digest.update(hashlib.sha256(_read(row["image"])).digest())
    except (OSError, TypeError):  # TypeError: the cell is null
        digest.update(b"unreadable")
    return digest.digest()


def _fingerprint(dataset: Dataset, size: int, crop: str, pool: ThreadPoolExecutor) -> str:
    settings = {
        "version": CACHE_VERSION,
        "size": size,
        "crop": crop,
        "pillow": PIL.__version__,
        "features": repr(sorted(dataset.features.to_dict().items())),
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for table in _batches(dataset):
        for part in pool.map(_digest, table.to_pylist()):
            digest.update(part)
    return digest.hexdigest()[:32]


def _build(dataset: Dataset, size: int, crop: str, folder: Path, pool: ThreadPoolExecutor) -> None:
    quarantined: list[tuple[str, str]] = []
    hidden = os.environ.get("RANK", "0") != "0"
    bar = progress(desc=f"resizing to {size} px", unit="image", total=len(dataset), disable=hidden)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=".building-", ignore_cleanup_errors=True
    ) as temporary:
        stream = Path(temporary) / "stream.arrow"
        with ArrowWriter(features=dataset.features, path=str(stream)) as writer, bar:
            for table in _batches(dataset):
                results = list(pool.map(partial(_square, size=size, crop=crop), table["image"].to_pylist()))
                kept = [number for number, result in enumerate(results) if isinstance(result, bytes)]
                ids = table["image_id"].to_pylist()
                quarantined += [
                    (ids[number], result) for number, result in enumerate(results) if isinstance(result, str)
                ]
                if kept:
                    images = [{"bytes": results[number], "path": None} for number in kept]
                    column = table.column_names.index("image")
                    writer.write_table(
                        table.take(kept).set_column(column, "image", pa.array(images, STORED_IMAGE))
                    )
                bar.update(len(table))
            if len(quarantined) == len(dataset):
                raise CorpusError(
                    f"image: none of {len(dataset)} images can be decoded ({quarantined[0][0]}: "
                    f"{quarantined[0][1]}); see skindiff audit"
                    if quarantined
                    else "image: the corpus has no rows; check its data_dir and conditions"
                )
            writer.finalize()
        built = Path(temporary) / "built"
        Dataset(MemoryMappedTable.from_file(str(stream)), fingerprint=folder.name).save_to_disk(str(built))
        (built / QUARANTINE_FILE).write_text(json.dumps(quarantined, indent=1))
        (built / DONE).write_text(json.dumps({"files": hashes_of(built)}))
        try:
            built.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first with the same content
                raise
    for image_id, reason in quarantined:
        logger.warning("left out %s: %s", image_id, reason)


def _decode(stored: dict[str, Any]) -> Image.Image:
    with Image.open(io.BytesIO(_read(stored))) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _values(stored: dict[str, Any]) -> np.ndarray:
    return DECODED.get(_read(stored), lambda: np.asarray(_decode(stored)))


def _square(stored: dict[str, Any] | None, size: int, crop: str) -> bytes | str:
    """Return the PNG file of the resized image, or the reason why there is none."""
    if stored is None:
        return "no image"
    try:
        image = _decode(stored)
        width, height = image.size
        side = min(width, height)
        # Like resizing the shorter side and cutting the middle out, for any ratio of the sides.
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side) if crop == "centre" else (0, 0, width, height)
        file = io.BytesIO()
        # Compression level 1: the cache is read far more often than it is copied.
        image.resize((size, size), Image.Resampling.LANCZOS, box=box).save(file, "PNG", compress_level=1)
        return file.getvalue()
    except UnidentifiedImageError:
        return "not an image file"
    # A damaged file can make a decoder raise nearly anything; one of them must not stop the others.
    except Exception as error:
        return f"cannot be decoded: {getattr(error, 'strerror', None) or error or type(error).__name__}"
