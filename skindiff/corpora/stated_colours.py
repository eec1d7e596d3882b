"""Colour spaces that a file states without a profile: Exif (Adobe RGB), cICP of PNG, nclx of AVIF and HEIC.

Code points of primaries and transfer are those of ITU-T H.273.
"""

import struct
from functools import lru_cache
from typing import BinaryIO

from PIL import ExifTags
from PIL import Image as PILImage

from skindiff.corpora.pixel_notes import Note

Colours = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

_P3: Colours = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
"""XYZ of red, green and blue of Display P3 (primaries of SMPTE EG 432-1), adapted to D50."""
_ADOBE: Colours = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""Of Adobe RGB (1998), section 4.3.5.3 and its ICC profile."""
_D50 = (0.9642, 1.0, 0.8249)
_SRGB_CURVE = (3, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
"""Kind and numbers of the curve of IEC 61966-2-1, as ICC.1:2010, 10.16, has them."""
_ADOBE_CURVE = (0, (563 / 256,))

_SRGB_PRIMARIES, _P3_PRIMARIES = (1, 2), 12
"""Of BT.709, which are sRGB's, or not specified; of SMPTE EG 432-1 with the white D65."""
_SRGB_TRANSFERS, _BRIGHTER = (2, 13), (16, 18)
"""Not specified, or sRGB's; PQ and HLG, which say how bright a display is to be."""
_MOST_CHUNKS, _MOST_BOX = 100, 2**20

ADOBE_SPACES = ("R03",)
"""Interoperability index of DCF's optional colour space, Adobe RGB (JEITA CP-3461)."""
UNCALIBRATED = Note("Exif says that the colours are not sRGB, and not what they are; they are taken as sRGB")


def effective_profile(image: PILImage.Image) -> tuple[bytes | None, list[Note]]:
    """Return the ICC profile that the colours of an open image are meant by, and what is to be said of it.

    A PNG's cICP stands above its profile, as the PNG specification (third edition) wants it, and a profile
    above all else that a file states.

    Args:
        image: of which nothing is decoded yet.

    Returns:
        The profile: empty for sRGB, None where it is damaged.
    """
    profile: bytes | None = image.info.get("icc_profile", b"")
    points = _code_points(image)
    if points and (image.format == "PNG" or profile == b""):
        return _of_points(*points)
    if profile != b"":
        return profile, []
    return _of_exif(image)


def _of_points(primaries: int, transfer: int) -> tuple[bytes, list[Note]]:
    if primaries in _SRGB_PRIMARIES and transfer not in _BRIGHTER:
        return b"", []
    if primaries == _P3_PRIMARIES and transfer in _SRGB_TRANSFERS:
        return display_p3(), []
    said = f"its colours (code points {primaries} and {transfer}) are not those of sRGB, and are not applied"
    return b"", [Note(said)]


def _of_exif(image: PILImage.Image) -> tuple[bytes, list[Note]]:
    if image.mode == "CMYK" or ("exif" not in image.info and image.format != "TIFF"):
        return b"", []
    try:
        exif = image.getexif()
        own = exif.get_ifd(ExifTags.IFD.Exif)
        space, index = own.get(ExifTags.Base.ColorSpace), None
        if ExifTags.IFD.Interop in own:
            index = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    # Pillow raises nearly anything on damaged Exif, which says nothing of the pixels.
    except Exception:
        return b"", []
    if space != 1 and str(index).strip("\0 ") in ADOBE_SPACES:
        return adobe_rgb(), []
    return b"", [UNCALIBRATED] if space == 0xFFFF else []


def _code_points(image: PILImage.Image) -> tuple[int, int] | None:
    """Return the code points of primaries and transfer, where the file has them."""
    if nclx := image.info.get("nclx_profile"):
        return int(nclx.get("color_primaries", 2)), int(nclx.get("transfer_characteristics", 2))
    read = {"PNG": _cicp, "AVIF": _nclx}.get(image.format or "")
    stream = getattr(image, "fp", None)
    if read is None or stream is None:
        return None
    place = stream.tell()
    try:
        return read(stream)
    except struct.error:  # it ends before it says so
        return None
    finally:
        stream.seek(place)


def _cicp(stream: BinaryIO) -> tuple[int, int] | None:
    stream.seek(8)
    for _ in range(_MOST_CHUNKS):
        length, kind = struct.unpack(">I4s", stream.read(8))
        if kind == b"cICP":
            primaries, transfer = struct.unpack(">BB", stream.read(2))
            return primaries, transfer
        if kind in (b"IDAT", b"IEND"):
            break
        stream.seek(length + 4, 1)
    return None


def _nclx(stream: BinaryIO) -> tuple[int, int] | None:
    """Return the code points of all ``colr`` boxes of AVIF, if they agree."""
    stream.seek(0)
    for _ in range(_MOST_CHUNKS):
        length, kind = struct.unpack(">I4s", stream.read(8))
        if kind == b"meta" and 8 < length <= _MOST_BOX:
            body = _inside(_inside(stream.read(length - 8)[4:], b"iprp"), b"ipco")
            found = {
                struct.unpack(">HH", box[4:8])
                for name, box in _boxes(body)
                if name == b"colr" and box[:4] == b"nclx"
            }
            return found.pop() if len(found) == 1 else None
        if length < 8:
            break
        stream.seek(length - 8, 1)
    return None


def _boxes(body: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 0
    while place + 8 <= len(body):
        length, name = struct.unpack(">I4s", body[place : place + 8])
        if length < 8:
            break
        found.append((name, body[place + 8 : place + length]))
        place += length
    return found


def _inside(body: bytes, name: bytes) -> bytes:
    return next((box for kind, box in _boxes(body) if kind == name), b"")


@lru_cache(1)
def display_p3() -> bytes:
    """Return an ICC profile of Display P3."""
    return _profile(_P3, *_SRGB_CURVE)


@lru_cache(1)
def adobe_rgb() -> bytes:
    """Return an ICC profile of Adobe RGB (1998)."""
    return _profile(_ADOBE, *_ADOBE_CURVE)


def _profile(colours: Colours, kind: int, curve: tuple[float, ...]) -> bytes:
    """Return a display profile of version 4 (ICC.1:2010): three colours and one curve."""
    tone = b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(map(_fixed, curve))
    tags = {b"wtpt": _xyz(_D50), **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), tone)}
    tags |= {name: _xyz(colour) for name, colour in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colours, strict=True)}
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x04300000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s28x", 2024, 1, 1, 0, 0, 0, b"acsp") + b"".join(map(_fixed, _D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))
