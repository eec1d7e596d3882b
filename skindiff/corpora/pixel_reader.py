"""The one way from an image file to pixels: upright, 8 bits a channel, sRGB, on white.

Samples of 16 bits are scaled (:mod:`skindiff.corpora.pixel_depth`), colour profiles applied
(:mod:`skindiff.corpora.pixel_colours`), and what is transparent shows white. Of several pages or frames the
first is read. A plain file, of 8 bits and without profile or transparency, gives what Pillow decodes.
"""

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from skindiff.corpora.image_files import EXTRAS, FORMATS
from skindiff.corpora.pixel_colours import is_srgb, to_srgb
from skindiff.corpora.pixel_depth import is_deep, shallow
from skindiff.corpora.pixel_notes import ImageRefused, Note, Reading, TooManyPixels, UnknownFormat
from skindiff.corpora.stated_colours import effective_profile
from skindiff.foreign import Malformed, regular_size

MOST_PIXELS = 178_956_970
"""Of an image, by its header: 13,377 x 13,377, from where on Pillow takes it for an attack."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_COLOURS = ("1", "L", "LA", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr")
"""Modes of Pillow that say what is black and what is white."""


def read_pixels(
    source: Path | bytes,
    *,
    formats: Collection[str] = FORMATS,
    bit_depth: int | None = None,
    most_pixels: int = MOST_PIXELS,
) -> Reading:
    """Return the pixels of an image file.

    Args:
        source: a file, or its content.
        formats: which of :data:`~skindiff.corpora.image_files.FORMATS` may be decoded.
        bit_depth: bits that samples of more than 8 bits use, 9 to 16; null is what the file says.
        most_pixels: largest width times height; read from the header, before anything is decoded.

    Raises:
        ImageRefused: it is no regular file, too large, of another format, damaged, or holds no colours.
    """
    with _in_words():
        if "DICOM" in formats and _is_dicom(source):
            return _read_dicom(source, most_pixels)
        with _opened(source, formats, most_pixels) as image:
            if not is_deep(image):
                return _converted(image, None, bit_depth)
            with _opened(source, formats, most_pixels) as again:
                return _converted(image, again, bit_depth)


def refuse_by_header(source: Path | bytes) -> None:
    """Raise :class:`ImageRefused` where the header of a file says that :func:`read_pixels` will refuse it.

    Pixels are not decoded, so that a file that is cut off passes.
    """
    with _in_words():
        if _is_dicom(source):
            _need("DICOM")
        else:
            with _opened(source, FORMATS, MOST_PIXELS) as image:
                if not is_deep(image):
                    _refuse_mode(image)


def as_srgb(image: PILImage.Image) -> PILImage.Image:
    """Return an image that is open, as :func:`read_pixels` returns that of a file.

    Raises:
        ImageRefused: it cannot be decoded, or holds no colours.
    """
    with _in_words():
        return _converted(image, None, None).image


def reading_key(content: bytes, bit_depth: int | None) -> str:
    """Return what decides the pixels of a file besides its bytes; empty where it is plain.

    Only its header is looked at.
    """
    kind = "DICOM" if _is_dicom(content) else "HEIF" if _is_heif(content) else ""
    if kind:
        return f"{kind} {EXTRAS[kind].version}"
    try:
        with _in_words(), _opened(content, FORMATS, MOST_PIXELS) as image:
            depth = f" of {bit_depth} bits" if is_deep(image) else ""
            return "" if _is_plain(image) else f"not plain{depth}"
    except ImageRefused:
        return "refused"


def _converted(image: PILImage.Image, again: PILImage.Image | None, bit_depth: int | None) -> Reading:
    (profile, stated), peak = effective_profile(image), None
    notes = [*_frames_left(image), *stated]
    if deep := is_deep(image):
        image, said, peak = shallow(image, again, bit_depth)
        notes += said
    else:
        image = ImageOps.exif_transpose(image)
    _refuse_mode(image)
    alpha = None
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA")
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.getchannel("R") if grey else image.convert("RGB")
    image, said = to_srgb(image, profile)
    if alpha is not None:
        white = PILImage.new("RGB", image.size, "white")
        white.paste(image, mask=alpha)
        image = white
    return Reading(image, [*notes, *said], peak, deep)


def _refuse_mode(image: PILImage.Image) -> None:
    if image.mode not in _COLOURS:
        raise ImageRefused(
            f"has numbers of the kind {image.mode}, of which none is said to be black or white; save it with "
            "8 or 16 bits a channel"
        )


def _is_plain(image: PILImage.Image) -> bool:
    """Return whether an open image, by its header, is what Pillow decodes, with nothing to be said of it."""
    profile, stated = effective_profile(image)
    return not (
        is_deep(image)
        or image.mode not in _COLOURS
        or image.has_transparency_data
        or _frames_left(image)
        or stated
        or not is_srgb(profile, image.mode)
    )


def _frames_left(image: PILImage.Image) -> list[Note]:
    # The other frames of an MPO are previews and gain maps, which telephones write with every photograph.
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return []
    return [Note("{count} further pages or frames are not read", getattr(image, "n_frames", 2) - 1)]


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn whatever a decoder raises into a reason."""
    try:
        yield
    except ImageRefused:
        raise
    except Malformed as error:
        raise ImageRefused(f"cannot be opened: {error}") from None
    except UnidentifiedImageError:
        raise UnknownFormat("not an image file") from None
    except PILImage.DecompressionBombError:
        raise TooManyPixels(MOST_PIXELS) from None
    # A damaged file can make a decoder raise nearly anything.
    except Exception as error:
        said = getattr(error, "strerror", None) or error or type(error).__name__
        raise ImageRefused(f"cannot be decoded: {said}") from error


@contextmanager
def _opened(source: Path | bytes, formats: Collection[str], most_pixels: int) -> Iterator[PILImage.Image]:
    """Open an image and judge its size; nothing of it is decoded yet."""
    with _stream(source) as stream, _image(stream, formats) as image:
        if image.width * image.height > most_pixels:
            raise TooManyPixels(most_pixels, image.size)
        yield image


@contextmanager
def _stream(source: Path | bytes) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    else:
        regular_size(source)
        with source.open("rb") as stream:
            yield stream


def _image(stream: BinaryIO, formats: Collection[str]) -> PILImage.Image:
    if "HEIF" in formats and _is_heif(_head(stream, 12)):
        _need("HEIF")
        from pi_heif import HeifImageFile

        found: PILImage.Image = HeifImageFile(stream)
        return found
    return PILImage.open(stream, formats=[name for name in formats if name not in EXTRAS])


def _head(stream: BinaryIO, length: int) -> bytes:
    head = stream.read(length)
    stream.seek(0)
    return head


def _is_heif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _is_dicom(source: Path | bytes) -> bool:
    with _stream(source) as stream:
        return _head(stream, 132)[128:] == b"DICM"


def _need(kind: str) -> None:
    if not EXTRAS[kind].installed:
        raise UnknownFormat(f"a {kind} file, which needs skindiff[{EXTRAS[kind].name}]; install it")


def _read_dicom(source: Path | bytes, most_pixels: int) -> Reading:
    _need("DICOM")
    from skindiff.corpora.pixel_dicom import read_dicom

    with _stream(source) as stream:
        return read_dicom(stream, most_pixels)
