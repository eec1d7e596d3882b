"""Images of 9 to 16 bits a sample: read in full, and scaled to 8 by the depth that is stated.

Pillow keeps 16 bits of grey alone; of colours it decodes one byte of each sample, the higher one. The lower
one comes from decoding the file once more with the order of the bytes swapped.
"""

import sys
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps

from skindiff.corpora.pixel_notes import ImageRefused, Note

_BITS_PER_SAMPLE, _PHOTOMETRIC, _MOST_SAMPLE, _PLANAR = 258, 262, 281, 284
"""Tags of TIFF."""
_MODES = {"RGB": "RGB", "RGBX": "RGB", "RGBA": "RGBA", "CMYK": "CMYK"}
"""What Pillow calls the samples of a file, and the mode of their image."""
_SWAPPED = {"L": "B", "B": "L"}

Samples = NDArray[np.uint16]


class Shallow(NamedTuple):
    """An image of 8 bits, made from one of more."""

    image: PILImage.Image
    """Upright; of mode L, LA, RGB, RGBA or CMYK."""
    notes: list[Note]
    peak: int | None
    """The largest sample but of alpha, where all 16 bits were taken because nothing said otherwise."""


def is_deep(image: PILImage.Image) -> bool:
    """Return whether an open image has samples of 9 to 16 bits, by its header."""
    if image.mode.startswith("I;16"):
        return True
    return image.mode not in ("I", "F") and (
        ";16" in _raw_mode(image) or max(_tag(image, _BITS_PER_SAMPLE)) > 8
    )


def shallow(image: PILImage.Image, again: PILImage.Image | None, bit_depth: int | None) -> Shallow:
    """Return a deep image in 8 bits: sample * 255 / largest, rounded.

    Args:
        image: of which :func:`is_deep` is true.
        again: the same file, opened once more; None of an image that is decoded.
        bit_depth: bits that the samples use; null is what the file says (the chunk sBIT of PNG, to whose bits
            the samples are scaled up, MaxSampleValue and BitsPerSample of TIFF), or else 16.

    Raises:
        ImageRefused: samples are larger than ``bit_depth`` allows, or stored in a way that is not read.
    """
    stated = _stated(image)
    key = image.info.get("transparency")
    inverted = image.format == "TIFF" and _tag(image, _PHOTOMETRIC) == (0,)
    values, mode = _samples(image, again)
    clear = mode in ("LA", "RGBA")
    colours = values[..., :-1] if clear else values
    peak = int(colours.max())
    bits, right, notes = _depth(colours, peak, stated, image.format == "PNG", bit_depth)
    if key is not None and not clear:
        shown = (values != np.atleast_1d(key)).any(-1, keepdims=True)
        values, mode = np.concatenate([values, shown * np.uint16(65535)], -1), f"{mode}A"
    most = 2**bits - 1
    scaled = (np.minimum(values >> right, most).astype(np.uint32) * 255 + most // 2) // most
    if inverted and mode == "L":
        scaled = 255 - scaled
    small = scaled.astype(np.uint8)
    found = PILImage.frombytes(mode, (small.shape[1], small.shape[0]), small.tobytes())
    notes = [Note(f"samples from 0 to {most:,} become 0 to 255"), *notes]
    return Shallow(found, notes, peak if bits == 16 and bit_depth is None else None)


def _depth(
    colours: Samples, peak: int, stated: int | None, png: bool, bit_depth: int | None
) -> tuple[int, int, list[Note]]:
    """Return how many bits are used, how far samples are to be moved to the right, and what is to be said."""
    if bit_depth is not None:
        if peak >= 2**bit_depth:
            raise ImageRefused(
                f"has samples up to {peak:,}, more than the {bit_depth} bits of corpus.bit_depth hold; "
                "correct that setting"
            )
        return bit_depth, 0, []
    if stated is None or stated >= 16:
        return 16, 0, []
    if not png:
        if peak < 2**stated:
            return stated, 0, []
        return 16, 0, [Note(f"samples are larger than the {stated} bits that the file states: 16 are taken")]
    # PNG wants samples scaled up to 16 bits. Where a writer left them, all are small and low bits are used.
    left = 16 - stated
    as_they_are = peak < 2**stated and bool((colours & (2**left - 1)).any())
    return stated, 0 if as_they_are else left, []


def _samples(image: PILImage.Image, again: PILImage.Image | None) -> tuple[Samples, str]:
    """Return the samples of an upright image as (height, width, channels), and the mode of such an image."""
    if image.mode.startswith("I;16"):
        return np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)[..., None], "L"
    kind, _, order = _raw_mode(image).partition(";16")
    if kind == "LA":
        # Grey and alpha are 4 bytes, and so is one whole number.
        _decode_as(image, "I;32B", "I")
        pairs = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint32)
        return np.stack([pairs >> 16, pairs & 65535], -1).astype(np.uint16), "LA"
    if kind not in _MODES or max(_tag(image, _PLANAR)) == 2 or again is None:
        raise ImageRefused(
            "has 16 bits a channel, plane by plane or multiplied with alpha; save it as a plain TIFF or PNG"
        )
    order = sys.byteorder[0].upper() if order == "N" else order
    _decode_as(image, f"{kind};16{order}")
    _decode_as(again, f"{kind};16{_SWAPPED[order]}")
    high, low = (np.asarray(ImageOps.exif_transpose(one)).astype(np.uint16) for one in (image, again))
    return (high * 256 + low).astype(np.uint16), _MODES[kind]


def _raw_mode(image: PILImage.Image) -> str:
    """Return how Pillow is to decode an image; empty where it is decoded, or decoded in another way."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _decode_as(image: Any, raw_mode: str, mode: str | None = None) -> None:
    """Make Pillow decode an open image in another way."""
    for place, tile in enumerate(image.tile):
        arguments = (raw_mode, *tile[3][1:]) if isinstance(tile[3], tuple) else raw_mode
        image.tile[place] = tile._replace(args=arguments)
    image._mode = mode or image.mode


def _tag(image: Any, tag: int) -> tuple[int, ...]:
    """Return whole numbers of a TIFF; 0 where they are not known."""
    found = image.tag_v2.get(tag, 0) if image.format == "TIFF" and hasattr(image, "tag_v2") else 0
    return tuple(found) if isinstance(found, tuple) else (found,)


def _stated(image: Any) -> int | None:
    """Return how many bits the samples of a file use as it says itself."""
    if image.format == "TIFF" and (most := int(max(_tag(image, _MOST_SAMPLE))) or 0) > 0:
        return most.bit_length()
    if image.format == "TIFF" and hasattr(image, "tag_v2"):
        return max(_tag(image, _BITS_PER_SAMPLE)) or None
    if image.format == "PNG" and getattr(image, "tile", None) and image.fp is not None:
        return _significant_bits(image.fp)
    return None


def _significant_bits(stream: BinaryIO) -> int | None:
    """Return the most bits that the chunk sBIT of a PNG states of a colour; the stream stays where it is."""
    place = stream.tell()
    try:
        stream.seek(8)
        while len(head := stream.read(8)) == 8 and head[4:] not in (b"IDAT", b"PLTE"):
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"sBIT":
                colours = stream.read(min(length, 4))[: 1 if length < 3 else 3]
                return max(colours, default=0) or None
            stream.seek(length + 4, 1)
        return None
    finally:
        stream.seek(place)
