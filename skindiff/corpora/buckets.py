"""Buckets of aspect ratio: the few shapes in which diffusion models are fine-tuned on pictures that are not
square.

A bucket is called by its ratio of width to height, such as ``3:2`` or ``2:3``. Its pictures have about as
many pixels as the square, and sides that autoencoder and U-Net take.
"""

import math
from typing import TypedDict

from datasets import Dataset, List, Value
from PIL import Image as PILImage
from PIL import ImageOps

SHAPES = ("1:1", "5:4", "4:3", "3:2", "16:9", "2:1")
"""Those of cameras and telephones, lying; each may stand, too."""
STEP = 8
"""What the sides of an image in pixels are a multiple of at least: pipelines of diffusers take no other."""
BUCKET, BUCKETED, SHOWN = "bucket", "bucketed", "shown"
"""Columns: the name of an image's bucket; its picture in that shape; left, top, right and bottom of where its
picture lies in its square, as shares of the side from 0 to 1, the rest of it being filled."""
FRAMED = "framed"
"""Column: height and width in pixels of the upright original of an image, and top, left, bottom and right of
the part of it that is shown."""
SHAPE_COLUMNS = {BUCKET: Value("string"), SHOWN: List(Value("float64"))}
"""Those that synthetic images have of their source."""

Part = tuple[int, int, int, int]


class RowShape(TypedDict, total=False):
    """The columns of synthetic images whose source is no square."""

    bucket: str
    shown: list[float] | None


def bucket_of(width: int, height: int) -> str:
    """Return the bucket whose ratio is nearest to that of a picture."""
    ratio = max(width, height) / min(width, height)
    nearest = min(SHAPES, key=lambda shape: abs(math.log(ratio_of(shape) / ratio)))
    return nearest if width >= height else ":".join(reversed(nearest.split(":")))


def ratio_of(bucket: str) -> float:
    """Return width over height."""
    width, height = map(int, bucket.split(":"))
    return width / height


def bucket_size(bucket: str, size: int, step: int = STEP) -> tuple[int, int]:
    """Return width and height in pixels of the pictures of a bucket, where squares are ``size`` wide.

    Both are the multiples of ``step`` nearest to the bucket's ratio and the area of the square.
    """
    stretch = math.sqrt(ratio_of(bucket))
    width, height = (max(step, step * round(side / step)) for side in (size * stretch, size / stretch))
    return width, height


def in_bucket(image: PILImage.Image, bucket: str, size: int) -> PILImage.Image:
    """Return a picture, cut to its middle and resampled to :func:`bucket_size`."""
    shape = bucket_size(bucket, size)
    return image if image.size == shape else ImageOps.fit(image, shape, PILImage.Resampling.LANCZOS)


def bucket_place(bucket: str, side: int) -> Part:
    """Return left, top, right and bottom of a picture of a bucket in the filled square of ``side`` pixels."""
    ratio = ratio_of(bucket)
    edges = []
    for length in (side * min(1.0, ratio), side * min(1.0, 1 / ratio)):
        edges.append((round((side - length) / 2), round((side + length) / 2)))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def row_sizes(dataset: Dataset, size: int, step: int = STEP) -> list[tuple[int, int]]:
    """Return width and height in pixels of each row's picture, where squares are ``size`` wide.

    Args:
        dataset: of a corpus.
        size: of squares.
        step: what all other sides are a multiple of.
    """
    if BUCKET not in dataset.column_names:
        return [(size, size)] * len(dataset)
    return [bucket_size(bucket, size, step) for bucket in dataset[BUCKET][:]]


def row_shapes(dataset: Dataset, side: int | None) -> list[RowShape]:
    """Return what the images made from rows have of their shape; nothing where all sources are whole squares.

    Args:
        dataset: of a corpus.
        side: of the filled square that is made of a picture of a bucket; None leaves it as it is.
    """
    if BUCKET in dataset.column_names:
        return [
            {"bucket": bucket, "shown": None if side is None else shares(bucket_place(bucket, side), side)}
            for bucket in dataset[BUCKET][:]
        ]
    return [{"shown": shown} for shown in dataset[SHOWN][:]] if SHOWN in dataset.column_names else []


def shares(part: Part, side: int) -> list[float]:
    """Return a part of a square of ``side`` pixels as shares of the side."""
    return [edge / side for edge in part]
