"""Which part of a picture becomes the square that is kept of it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from datasets import Dataset
from PIL import Image as PILImage
from PIL import ImageOps

from skindiff.corpora.buckets import (
    BUCKET,
    BUCKETED,
    SHOWN,
    Part,
    bucket_of,
    bucket_place,
    ratio_of,
    shares,
)
from skindiff.corpora.pixel_notes import ImageRefused
from skindiff.corpora.pixel_reader import read_pixels
from skindiff.foreign import Malformed, regular_size

CropKind = Literal["centre", "stretch", "pad", "longest", "box", "mask"]
CROPS: tuple[CropKind, ...] = get_args(CropKind)
REGIONS: Mapping[str, str] = {"box": "boxes", "mask": "masks"}
"""Crops around a given part of each picture, and where a corpus has it."""
Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the upright picture."""


class Frame(NamedTuple):
    """A square laid over a picture, and what of the picture it shows, in pixels of the upright picture."""

    left: int
    top: int
    side: int
    shown: tuple[int, int, int, int]
    """Left, top, right and bottom; the rest of the square lies outside."""

    def part(self, size: int) -> Part:
        """Return left, top, right and bottom of what is shown in the square at ``size`` pixels."""
        scale = size / self.side
        starts = (self.left, self.top, self.left, self.top)
        left, top, right, bottom = (
            round((edge - start) * scale) for edge, start in zip(self.shown, starts, strict=True)
        )
        # A picture of 2,000 x 1 pixels still shows a line.
        width, height = max(1, right - left), max(1, bottom - top)
        left, top = min(left, size - width), min(top, size - height)
        return left, top, left + width, top + height


@dataclass(frozen=True)
class Crop:
    """How pictures of any shape become squares."""

    kind: CropKind = "centre"
    """``centre`` cuts the middle square out; ``stretch`` squeezes the whole picture into the square; ``pad``
    lays it there whole; ``longest`` cuts it to the nearest of the shapes of :mod:`~skindiff.corpora.buckets`
    first, in which diffusion models see it without borders; ``box`` and ``mask`` cut a square around what a
    table gives for each image."""
    margin: float = 0.25
    """Of ``box`` and ``mask``: how much is added on each side, as a part of the longer side."""
    regions: Mapping[str, Box | Path] = field(default_factory=dict)
    """Box, or file of a mask, by image id."""

    @property
    def settings(self) -> dict[str, object]:
        """What the pixels of every image depend on."""
        further = {"margin": self.margin} if self.kind in REGIONS else {}
        return {"crop": self.kind, **further, **({"buckets": 1} if self.buckets else {})}

    @property
    def buckets(self) -> bool:
        """Whether each picture is kept in the shape of its bucket, too."""
        return self.kind == "longest"

    @property
    def columns(self) -> tuple[str, ...]:
        """What the crop adds to the columns of a corpus."""
        if self.kind in ("centre", "stretch"):
            return ()
        return (BUCKET, BUCKETED, SHOWN) if self.buckets else (SHOWN,)

    def key(self, image_id: str) -> bytes:
        """Return what the pixels of one image depend on besides; empty unless a part of it is given."""
        region = self.regions.get(image_id) if self.kind in REGIONS else None
        if isinstance(region, Path):
            try:
                regular_size(region)
                return hashlib.sha256(region.read_bytes()).digest()
            except (OSError, Malformed):
                return b"unreadable"
        return b"" if region is None else repr(region).encode()

    def square(self, image: PILImage.Image, size: int, image_id: str) -> tuple[PILImage.Image, Frame]:
        """Return the square of an upright image at ``size`` pixels, and where it lies.

        What lies outside of the picture has the mean colour of its rim.

        Raises:
            ImageRefused: the box or mask is not there or does not fit.
        """
        frame = self._frame(image.size, image_id)
        left, top, side, shown = frame
        square = (left, top, left + side, top + side)
        if shown == square or self.kind == "stretch":
            return image.resize((size, size), PILImage.Resampling.LANCZOS, box=shown), frame
        place = frame.part(size)
        width, height = place[2] - place[0], place[3] - place[1]
        part = image.resize((width, height), PILImage.Resampling.LANCZOS, box=shown)
        return filled(part, place, size), frame

    def _frame(self, size: tuple[int, int], image_id: str) -> Frame:
        width, height = size
        if self.kind == "centre":
            side = min(width, height)
            return _whole((width - side) // 2, (height - side) // 2, side)
        if self.kind in REGIONS:
            return self._around(_box_of(self.regions.get(image_id), size, self.kind), size)
        shown = (0, 0, width, height)
        if self.kind == "longest":
            wide, tall = _nearest_shape(width, height)
            left, top = (width - wide) // 2, (height - tall) // 2
            shown = (left, top, left + wide, top + tall)
        side = max(shown[2] - shown[0], shown[3] - shown[1])
        left = shown[0] - (side - (shown[2] - shown[0])) // 2
        return Frame(left, shown[1] - (side - (shown[3] - shown[1])) // 2, side, shown)

    def _around(self, box: Box, size: tuple[int, int]) -> Frame:
        """Return a square around a box, moved into the picture as far as it goes."""
        left, top, width, height = box
        side = round(max(width, height) * (1 + 2 * self.margin))
        edges = []
        for start, length, most in ((left, width, size[0]), (top, height, size[1])):
            edge = start - (side - length) // 2
            edges.append((most - side) // 2 if side > most else min(max(edge, 0), most - side))
        right, bottom = (min(edge + side, most) for edge, most in zip(edges, size, strict=True))
        return Frame(edges[0], edges[1], side, (max(edges[0], 0), max(edges[1], 0), right, bottom))


CENTRE = Crop()
"""The middle square, as large as it goes."""


def filled(picture: PILImage.Image, place: Part, size: int) -> PILImage.Image:
    """Return a square of ``size`` pixels with a picture at its place in it, filled with the mean colour of
    the picture's rim."""
    whole = PILImage.new("RGB", (size, size), _rim(picture))
    whole.paste(picture, place[:2])
    return whole


def laid(picture: PILImage.Image, bucket: str, size: int) -> PILImage.Image:
    """Return a picture of a bucket in a filled square of ``size`` pixels, as ``longest`` lays it there."""
    place = bucket_place(bucket, size)
    fitted = (place[2] - place[0], place[3] - place[1])
    return filled(ImageOps.fit(picture, fitted, PILImage.Resampling.LANCZOS), place, size)


def picture_of(row: Mapping[str, Any]) -> PILImage.Image:
    """Return the image of a row of a corpus or a synthetic data set, without what was filled around it."""
    image: PILImage.Image = row["image"]
    if not row.get(SHOWN):
        return image
    left, top, right, bottom = (round(share * image.width) for share in row[SHOWN])
    return image.crop((left, top, right, bottom))


def pictures_of(dataset: Dataset) -> Iterator[PILImage.Image]:
    """Yield :func:`picture_of` every row."""
    columns = [name for name in ("image", SHOWN) if name in dataset.column_names]
    yield from map(picture_of, dataset.select_columns(columns))


def as_square(photograph: PILImage.Image, size: int, kind: CropKind) -> PILImage.Image:
    """Return an upright photograph from outside of a corpus as a square, by the crop of a corpus.

    What is square already stays whole. Of ``box`` and ``mask`` it is the middle (:func:`middle_taken`).
    """
    if kind == "centre" or kind in REGIONS:
        return ImageOps.fit(photograph, (size, size), PILImage.Resampling.LANCZOS)
    return Crop(kind).square(photograph, size, "")[0]


def shown_of(photograph: PILImage.Image, size: int, kind: CropKind) -> list[float] | None:
    """Return where a photograph lies in the square of :func:`as_square`, as the column ``shown`` says it;
    None where the square is not filled."""
    if SHOWN not in Crop(kind).columns or kind in REGIONS:
        return None
    return shares(Crop(kind)._frame(photograph.size, "").part(size), size)


def middle_taken(kind: CropKind, model: str) -> str:
    """Return the sentence that a photograph is not cut like the images that a model learnt from."""
    return (
        f"This {model} learnt from squares around a {kind}, which is not known of a photograph: its middle "
        "square is taken. Give photographs that are cut like that."
    )


def _whole(left: int, top: int, side: int) -> Frame:
    return Frame(left, top, side, (left, top, left + side, top + side))


def _nearest_shape(width: int, height: int) -> tuple[int, int]:
    """Return width and height of the largest part of a picture that has the nearest shape of the buckets."""
    long, short = max(width, height), min(width, height)
    shape = ratio_of(bucket_of(long, short))
    long, short = min(long, round(short * shape)), min(short, max(1, round(long / shape)))
    return (long, short) if width >= height else (short, long)


def _box_of(region: Box | Path | None, size: tuple[int, int], kind: str) -> Box:
    if region is None:
        raise ImageRefused(f"corpus.crop is {kind}, and no {kind} is given for it")
    if isinstance(region, Path):
        return _box_of_mask(region, size)
    left, top, width, height = region
    if width < 1 or height < 1:
        raise ImageRefused(f"its box is {width} x {height} pixels")
    if left < 0 or top < 0 or left + width > size[0] or top + height > size[1]:
        raise ImageRefused(
            f"its box ({left}, {top}, {width} x {height}) reaches out of the picture ({size[0]} x {size[1]})"
        )
    return region


def _box_of_mask(file: Path, size: tuple[int, int]) -> Box:
    """Return the smallest box around all that a mask shows brighter than half of its brightest pixel."""
    try:
        mask = np.asarray(read_pixels(file).image.convert("L"))
    except ImageRefused as error:
        raise ImageRefused(f"its mask {error}") from error
    if mask.shape != (size[1], size[0]):
        raise ImageRefused(
            f"its mask has {mask.shape[1]} x {mask.shape[0]} pixels, and the picture {size[0]} x {size[1]}"
        )
    if not mask.any():
        raise ImageRefused("its mask is empty")
    rows, columns = (np.flatnonzero((mask > mask.max() / 2).any(axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def _rim(image: PILImage.Image) -> tuple[int, ...]:
    """Return the mean colour of the outermost pixels."""
    pixels = np.asarray(image)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return tuple(int(level) for level in rim.mean(0).round())
