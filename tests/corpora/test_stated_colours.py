"""Colours that a file states without a profile, against values computed by hand from the primaries.

Linear light is multiplied by the matrix from the primaries' chromaticities (white D65 in all three spaces):
P3 to sRGB [[1.2249, -0.2249, 0], [-0.0421, 1.0421, 0], [-0.0196, -0.0786, 1.0983]], Adobe RGB (1998) to sRGB
[[1.3984, -0.3984, 0], [0, 1, 0], [0, -0.0429, 1.0429]].
"""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from skindiff.corpora.pixel_reader import as_srgb, read_pixels, reading_key
from skindiff.corpora.stated_colours import adobe_rgb, display_p3, effective_profile
from tests.corpora import colour_profiles

BY_HAND = {
    # stated: as Display P3, as Adobe RGB (1998)
    (200, 120, 90): ((213, 115, 83), (224, 121, 88)),
    (150, 110, 90): ((157, 108, 86), (164, 110, 89)),
    (60, 40, 30): ((64, 39, 28), (64, 35, 23)),
    (230, 180, 160): ((239, 177, 156), (247, 181, 161)),
}
STATED = list(BY_HAND)


def patches(colours: Any = STATED) -> Image.Image:
    """16 x 16 pixels of each colour in a row, so that no chroma is mixed."""
    return Image.fromarray(np.repeat(np.repeat(np.array([colours], np.uint8), 16, 0), 16, 1))


def colours_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image, int)[8, 8::16]


def png(points: tuple[int, int] | None = None, icc: bytes | None = None, image: Any = None) -> bytes:
    file = io.BytesIO()
    (image or patches()).save(file, "PNG", **({"icc_profile": icc} if icc else {}))
    content = file.getvalue()
    if points is None:
        return content
    body = b"cICP" + bytes([*points, 0, 1])
    return content[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + content[33:]


def jpeg(space: int | None, index: str | None) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    own = exif.get_ifd(ExifTags.IFD.Exif)
    if space is not None:
        own[ExifTags.Base.ColorSpace] = space
    if index is not None:
        own[ExifTags.IFD.Interop] = {1: index}
    patches().save(file, "JPEG", quality=100, subsampling=0, exif=exif)
    return file.getvalue()


def avif(points: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    patches().save(file, "AVIF", quality=100, subsampling="4:4:4")
    content = bytearray(file.getvalue())
    place = content.index(b"nclx") + 4
    content[place : place + 4] = struct.pack(">HH", *points)
    return bytes(content)


def by_hand(space: int) -> np.ndarray:
    return np.array([BY_HAND[colour][space] for colour in STATED])


def test_a_png_that_states_display_p3() -> None:
    reading = read_pixels(png((12, 13)))
    assert np.abs(colours_of(reading.image) - by_hand(0)).max() <= 1
    assert not reading.notes
    assert reading_key(png((12, 13)), None) == "not plain"
    # cICP stands above a profile, and one that says sRGB leaves the pixels alone.
    assert np.array_equal(colours_of(read_pixels(png((1, 13), icc=display_p3())).image), STATED)
    over = read_pixels(png((12, 13), icc=colour_profiles.adobe_rgb())).image
    assert np.abs(colours_of(over) - by_hand(0)).max() <= 1
    opened = Image.open(io.BytesIO(png((12, 13))))
    assert np.abs(colours_of(as_srgb(opened)) - by_hand(0)).max() <= 1


def test_transparency_goes_on_white_after_the_colours() -> None:
    image = patches()
    image.putalpha(255)
    assert np.abs(colours_of(read_pixels(png((12, 13), image=image)).image) - by_hand(0)).max() <= 1


@pytest.mark.parametrize("points", [(9, 16), (9, 13), (12, 18), (1, 16)])
def test_other_code_points_are_said_and_not_applied(points: tuple[int, int]) -> None:
    reading = read_pixels(png(points))
    assert np.array_equal(colours_of(reading.image), STATED)
    assert [note.text for note in reading.notes] == [
        f"its colours (code points {points[0]} and {points[1]}) are not those of sRGB, and are not applied"
    ]


def test_exif_that_states_adobe_rgb() -> None:
    plain = read_pixels(jpeg(None, None)).image
    assert np.abs(colours_of(plain) - STATED).max() <= 1
    reading = read_pixels(jpeg(0xFFFF, "R03"))
    assert np.abs(colours_of(reading.image) - by_hand(1)).max() <= 2
    assert not reading.notes
    assert reading_key(jpeg(0xFFFF, "R03"), None) == "not plain"
    for space, index in ((1, "R98"), (1, None), (None, "R98"), (1, "R03")):
        content = jpeg(space, index)
        assert reading_key(content, None) == ""
        assert np.array_equal(np.asarray(read_pixels(content).image), np.asarray(plain))
    unknown = read_pixels(jpeg(0xFFFF, None))
    assert np.array_equal(np.asarray(unknown.image), np.asarray(plain))
    assert "not what they are; they are taken as sRGB" in unknown.notes[0].text


def test_an_avif_that_states_display_p3() -> None:
    pytest.importorskip("PIL._avif")
    plain = colours_of(read_pixels(avif((1, 13))).image)
    assert np.abs(plain - STATED).max() <= 2
    assert reading_key(avif((1, 13)), None) == ""
    assert np.abs(colours_of(read_pixels(avif((12, 13))).image) - by_hand(0)).max() <= 3
    assert "code points 9 and 16" in read_pixels(avif((9, 16))).notes[0].text


def test_the_nclx_of_heic_is_applied() -> None:
    image = patches()
    image.info["nclx_profile"] = {"color_primaries": 12, "transfer_characteristics": 13}
    assert np.abs(colours_of(as_srgb(image)) - by_hand(0)).max() <= 1
    image.info["icc_profile"] = colour_profiles.adobe_rgb()
    assert np.abs(colours_of(as_srgb(image)) - by_hand(1)).max() <= 1


def test_what_ends_too_early_states_nothing() -> None:
    for content in (png((12, 13)), avif((12, 13))):
        for length in range(12, 300, 7):
            stream = io.BytesIO(content[:length])
            image = Image.new("RGB", (1, 1))
            image.format, image.fp = ("PNG" if content[1:4] == b"PNG" else "AVIF"), stream  # type: ignore
            assert effective_profile(image)[0] in (b"", display_p3())


@pytest.mark.parametrize(
    ("made", "known"), [(display_p3, colour_profiles.display_p3), (adobe_rgb, colour_profiles.adobe_rgb)]
)
def test_the_profiles_are_those_of_the_specifications(made: Any, known: Any) -> None:
    both = [read_pixels(png(icc=profile())).image for profile in (made, known)]
    assert np.array_equal(*map(np.asarray, both))
