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
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import pyarrow as pa
from datasets import (
    Dataset,
    Features,
    Image,
    List,
    Value,
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    load_from_disk,
)
from datasets.arrow_writer import ArrowWriter
from datasets.table import MemoryMappedTable

from skindiff.corpora.buckets import (
    BUCKET,
    BUCKETED,
    FRAMED,
    SHAPE_COLUMNS,
    SHOWN,
    bucket_of,
    in_bucket,
    shares,
)
from skindiff.corpora.crops import CENTRE, Crop, Frame
from skindiff.corpora.decoded import DECODED
from skindiff.corpora.pixel_notes import Reading, ReadingLog
from skindiff.corpora.pixel_reader import read_pixels, reading_key
from skindiff.errors import ConfigError, CorpusError, RunFolderError
from skindiff.foreign import Malformed, read_json, regular_size
from skindiff.manifest import DONE, changed, hashes_of, read_list
from skindiff.progress import progress

logger = logging.getLogger(__name__)

CACHE_VERSION = 1
"""Part of the fingerprint; raise it whenever the same file would be turned into other pixels or columns."""
QUARANTINE_FILE = "quarantined.json"
READING_FILE = "reading.json"
"""Warnings, frames and the number of images of 16 bits; only where there are any."""
STORED_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
"""The Arrow type behind ``datasets.Image``."""
BATCH = 128
"""Rows held in memory at a time: 128 photographs of 12 megapixels are under 1 GB as files."""


@dataclass(frozen=True)
class CachedCorpus:
    """A corpus whose images are all ``size`` x ``size`` RGB, and what could not be decoded."""

    dataset: Dataset
    """The columns of the corpus; ``image`` holds lossless PNG bytes. Memory-mapped from the cache. It has
    ``framed``, unless the cache is of a version that did not keep it; a crop that fills its squares adds
    ``shown``, and ``longest`` also ``bucket`` and ``bucketed`` (see :mod:`~skindiff.corpora.buckets`)."""
    quarantined: list[tuple[str, str]]
    """``(image_id, reason)`` of the rows that were left out."""
    fingerprint: str
    """32 hexadecimal digits over the bytes of every image, the other columns and the settings."""
    warnings: list[str] = field(default_factory=list)
    """What is to be said of how the images were read."""
    frames: dict[str, Frame] = field(default_factory=dict)
    """Where the square lies in each upright picture, by image id; empty for the centre square."""


class Squared(NamedTuple):
    """One image of the cache."""

    png: bytes
    reading: Reading
    """What is said of it."""
    frame: Frame
    framed: list[int]
    """See :data:`~skindiff.corpora.buckets.FRAMED`."""
    bucket: str = ""
    """Its name and, as a PNG, the picture in its shape, where there are buckets."""
    bucketed: bytes = b""


def resize_to_cache(
    dataset: Dataset, size: int, cache_dir: Path, *, crop: Crop = CENTRE, bit_depth: int | None = None
) -> CachedCorpus:
    """Return the corpus with every image upright, sRGB, square and ``size`` pixels wide.

    An image is read by :func:`~skindiff.corpora.pixel_reader.read_pixels`, cut to a square and resized with
    Lanczos resampling. The result lies in ``cache_dir/<fingerprint>``, where :func:`datasets.load_from_disk`
    can read it; a second call with the same image bytes, columns and settings reads it back, wherever the
    files have moved. It appears there complete or not at all, also when several processes build it at once,
    and one that is damaged is made again.

    Args:
        dataset: a corpus with ``image`` (files, bytes or PIL images) and ``image_id``; order is kept.
        size: width and height of the result in pixels.
        cache_dir: folder of all caches; created if absent.
        crop: which part of each picture is kept.
        bit_depth: bits that samples of more than 8 bits use; null is what the files say.

    Raises:
        ConfigError: ``size`` is below 1.
        CorpusError: no image at all can be decoded, or the cache cannot be written.
    """
    if size < 1:
        raise ConfigError(f"image_size: {size} is not a width in pixels; use 64 to 512")
    if taken := [name for name in (FRAMED, *crop.columns) if name in dataset.features]:
        by = "the cache of images" if taken[0] == FRAMED else f"corpus.crop {crop.kind}"
        raise CorpusError(f"corpus.attribute: {taken[0]!r} is a column that {by} adds; rename the column")
    with ThreadPoolExecutor() as pool:
        fingerprint = _fingerprint(dataset, size, crop, bit_depth, pool)
        folder = Path(cache_dir) / fingerprint
        _remove_damaged(folder)
        if not folder.is_dir():
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                _build(dataset, size, crop, bit_depth, folder, pool)
            except OSError as error:
                raise CorpusError(
                    f"cache_dir: cannot write {folder} ({error.strerror or error}); "
                    "free some space or choose another folder"
                ) from error
    quarantined = [
        (image_id, reason) for image_id, reason in json.loads((folder / QUARANTINE_FILE).read_text())
    ]
    said = read_json(folder / READING_FILE) if (folder / READING_FILE).is_file() else {}
    frames = {
        image_id: Frame(left, top, side, tuple(shown))
        for image_id, (left, top, side, shown) in said.get("frames", {}).items()
    }
    dataset = load_from_disk(str(folder))
    if SHOWN in crop.columns:
        parts = [shares(frames[image_id].part(size), size) for image_id in dataset["image_id"][:]]
        dataset = dataset.add_column(SHOWN, parts, feature=SHAPE_COLUMNS[SHOWN])
    warnings = said.get("warnings", [])
    if bit_depth is not None and not said.get("deep"):
        warnings.append(f"corpus.bit_depth ({bit_depth}) changes nothing: no image has 16 bits a channel")
    return CachedCorpus(dataset, quarantined, fingerprint, warnings, frames)


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
    if stored["bytes"] is not None:
        content: bytes = stored["bytes"]
        return content
    path = Path(stored["path"])
    regular_size(path)
    return path.read_bytes()


def _digest(row: dict[str, Any], crop: Crop, bit_depth: int | None) -> bytes:
    """Return the SHA-256 of the image's bytes (not its path), of the other columns, and of how it is read."""
    digest = hashlib.sha256(repr([(name, row[name]) for name in sorted(row) if name != "image"]).encode())
    try:
        content = _read(row["image"])
        digest.update(hashlib.sha256(content).digest())
        # Nothing is added for a plain image, which was read like this before there were other ones.
        digest.update(reading_key(content, bit_depth).encode())
    except (OSError, Malformed, TypeError):  # TypeError: the cell is null
        digest.update(b"unreadable")
    digest.update(crop.key(row["image_id"]))
    return digest.digest()


def _fingerprint(
    dataset: Dataset, size: int, crop: Crop, bit_depth: int | None, pool: ThreadPoolExecutor
) -> str:
    settings = {
        "version": CACHE_VERSION,
        "size": size,
        "pillow": PIL.__version__,
        "features": repr(sorted(dataset.features.to_dict().items())),
        **crop.settings,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for table in _batches(dataset):
        for part in pool.map(partial(_digest, crop=crop, bit_depth=bit_depth), table.to_pylist()):
            digest.update(part)
    return digest.hexdigest()[:32]


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep ``datasets`` from drawing bars of its own, which it does for the shortest work and in logs."""
    drawn = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if drawn:
            enable_progress_bars()


def _build(
    dataset: Dataset,
    size: int,
    crop: Crop,
    bit_depth: int | None,
    folder: Path,
    pool: ThreadPoolExecutor,
) -> None:
    quarantined: list[tuple[str, str]] = []
    log = ReadingLog()
    frames: dict[str, Frame] = {}
    square = partial(_square, size=size, crop=crop, bit_depth=bit_depth)
    hidden = os.environ.get("RANK", "0") != "0"
    bar = progress(desc=f"resizing to {size} px", unit="image", total=len(dataset), disable=hidden)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=".building-", ignore_cleanup_errors=True
    ) as temporary:
        stream = Path(temporary) / "stream.arrow"
        features = Features({**dataset.features, FRAMED: List(Value("int32"))})
        if crop.buckets:
            features = Features({**features, BUCKET: SHAPE_COLUMNS[BUCKET], BUCKETED: Image()})
        with ArrowWriter(features=features, path=str(stream)) as writer, bar:
            for table in _batches(dataset):
                ids = table["image_id"].to_pylist()
                images, kept, framed, buckets, bucketed = [], [], [], [], []
                results = pool.map(square, table["image"].to_pylist(), ids)
                for number, (image_id, result) in enumerate(zip(ids, results, strict=True)):
                    if isinstance(result, str):
                        quarantined.append((image_id, result))
                        continue
                    kept.append(number)
                    images.append({"bytes": result.png, "path": None})
                    framed.append(result.framed)
                    buckets.append(result.bucket)
                    bucketed.append({"bytes": result.bucketed, "path": None})
                    if crop.kind != "centre":
                        frames[image_id] = result.frame
                    log.add(image_id, result.reading)
                if kept:
                    column = table.column_names.index("image")
                    table = table.take(kept).set_column(column, "image", pa.array(images, STORED_IMAGE))
                    table = table.append_column(FRAMED, pa.array(framed, pa.list_(pa.int32())))
                    if crop.buckets:
                        table = table.append_column(BUCKET, pa.array(buckets))
                        table = table.append_column(BUCKETED, pa.array(bucketed, STORED_IMAGE))
                    writer.write_table(table)
                bar.update(len(ids))
            if len(quarantined) == len(dataset):
                raise CorpusError(
                    f"image: none of {len(dataset)} images can be decoded ({quarantined[0][0]}: "
                    f"{quarantined[0][1]}); see skindiff audit"
                    if quarantined
                    else "image: the corpus has no rows; check its data_dir and conditions"
                )
            writer.finalize()
        built = Path(temporary) / "built"
        with without_bars():
            Dataset(MemoryMappedTable.from_file(str(stream)), fingerprint=folder.name).save_to_disk(
                str(built)
            )
        (built / QUARANTINE_FILE).write_text(json.dumps(quarantined, indent=1))
        said = {"warnings": log.warnings(), "deep": log.deep, "frames": frames}
        if any(said.values()):
            (built / READING_FILE).write_text(json.dumps(said))
        (built / DONE).write_text(json.dumps({"files": hashes_of(built)}))
        try:
            built.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first with the same content
                raise
    for image_id, reason in quarantined:
        logger.warning("left out %s: %s", image_id, reason)


def _decode(stored: dict[str, Any], bit_depth: int | None = None) -> Reading:
    return read_pixels(_read(stored), bit_depth=bit_depth)


def _values(stored: dict[str, Any]) -> np.ndarray:
    return DECODED.get(_read(stored), lambda: np.asarray(_decode(stored).image))


def _square(
    stored: dict[str, Any] | None, image_id: str, size: int, crop: Crop, bit_depth: int | None
) -> Squared | str:
    """Return the PNG file of the resized image, or the reason why there is none."""
    if stored is None:
        return "no image"
    try:
        reading = _decode(stored, bit_depth)
        square, frame = crop.square(reading.image, size, image_id)
        width, height = reading.image.size
        left, top, right, bottom = frame.shown
        framed = [height, width, top, left, bottom, right]
        squared = Squared(_png(square), replace(reading, image=square), frame, framed)
        if not crop.buckets:
            return squared
        bucket = bucket_of(*reading.image.size)
        return squared._replace(bucket=bucket, bucketed=_png(in_bucket(reading.image, bucket, size)))
    # A damaged file can make a decoder raise nearly anything; one of them must not stop the others.
    except Exception as error:
        return f"{getattr(error, 'strerror', None) or error or type(error).__name__}"


def _png(image: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    # Compression level 1: the cache is read far more often than it is copied.
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
