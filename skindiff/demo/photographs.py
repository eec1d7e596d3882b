"""Photographs from outside: their size is judged before they are decoded, and only their pixels are kept."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from skindiff.corpora.buckets import BUCKET, BUCKETED, SHOWN, bucket_of, in_bucket
from skindiff.corpora.crops import Crop, CropKind, as_square, shown_of
from skindiff.corpora.pixel_notes import ImageRefused, TooManyPixels, UnknownFormat
from skindiff.corpora.pixel_reader import read_pixels
from skindiff.errors import SkindiffError

FORMATS = ("JPEG", "PNG", "WEBP")
"""What is decoded; every other decoder of Pillow stays shut."""
SMALLEST_SIDE = 16
"""A smaller photograph shows no skin to measure."""
GONE = "The photograph is no longer here. Please upload it again."
"""The one answer to every path that is not a file of the visitor's own."""
_KEPT_SIDE = 1024

Pixels = NDArray[np.uint8]


class PhotographError(SkindiffError):
    """An upload is refused; the message says why and what to do."""


def read_photograph(path: str | Path, *, max_bytes: int, max_pixels: int) -> Pixels:
    """Return the pixels of an upload, upright, its shorter side at most 1024 pixels.

    Colour profiles are applied, what is transparent is laid on white, and metadata are left behind.

    Args:
        path: of the uploaded file.
        max_bytes: largest file.
        max_pixels: largest image; read from its header, before anything is decoded.

    Returns:
        (height, width, 3) uint8 sRGB.

    Raises:
        PhotographError: it is gone, too large, too small, no image, or damaged.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise PhotographError(GONE) from error
    if size > max_bytes:
        raise PhotographError(
            f"The file has {size / 2**20:.1f} MB, and at most {max_bytes / 2**20:.3g} MB are taken. "
            "Please save it smaller, as JPEG."
        )
    try:
        image = read_pixels(path, formats=FORMATS, most_pixels=max_pixels).image
    except UnknownFormat as error:
        raise PhotographError(
            "This file is no photograph that can be opened. Please upload a JPEG, PNG or WebP."
        ) from error
    except TooManyPixels as error:
        found = f" has {error.size[0]} x {error.size[1]} pixels, which" if error.size else ""
        raise PhotographError(
            f"The photograph{found} is more than the {max_pixels / 1e6:g} million pixels that are taken. "
            "Please make it smaller."
        ) from error
    except ImageRefused as error:
        raise PhotographError(
            "This photograph is damaged and cannot be opened. Please upload another copy of it."
        ) from error
    if min(image.size) < SMALLEST_SIDE:
        raise PhotographError(
            f"The photograph has {image.width} x {image.height} pixels, which is too small to show skin. "
            f"Please upload one of at least {SMALLEST_SIDE} x {SMALLEST_SIDE}."
        )
    return _shrunk(image)


def _shrunk(image: PILImage.Image) -> Pixels:
    shrink = _KEPT_SIDE / min(image.size)
    if shrink < 1:
        wanted = (round(image.width * shrink), round(image.height * shrink))
        image = image.resize(wanted, PILImage.Resampling.LANCZOS)
    return np.array(image)


def cut_like(photograph: Pixels, crop: CropKind, size: int) -> dict[str, Any]:
    """Return the columns of a photograph as a source: cut as the images were that a generator learnt from.

    Args:
        photograph: (height, width, 3) uint8 sRGB.
        crop: of the corpus. Of ``box`` and ``mask`` the middle square is taken
            (:func:`~skindiff.corpora.crops.middle_taken` says so).
        size: side of the generator's squares in pixels.

    Returns:
        ``image``, and where it is no whole square the columns of :mod:`~skindiff.corpora.buckets`.
    """
    image = PILImage.fromarray(photograph)
    if Crop(crop).buckets:
        bucket = bucket_of(*image.size)
        picture = in_bucket(image, bucket, size)
        return {"image": picture, BUCKET: bucket, BUCKETED: picture}
    shown = shown_of(image, size, crop)
    return {"image": as_square(image, size, crop), **({} if shown is None else {SHOWN: shown})}


def png_bytes(pixels: Pixels) -> bytes:
    """Return (height, width, 3) uint8 pixels as a PNG that holds nothing else."""
    file = io.BytesIO()
    PILImage.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def photograph_id(pixels: Pixels) -> str:
    """Return what provenance calls an upload: a name made of its pixels, which says nothing else of it."""
    return f"upload-{hashlib.sha256(pixels.tobytes()).hexdigest()[:12]}"
