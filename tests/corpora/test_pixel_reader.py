import base64
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import skindiff
from skindiff.corpora.pixel_notes import ImageRefused, ReadingLog, TooManyPixels, UnknownFormat
from skindiff.corpora.pixel_reader import as_srgb, read_pixels, reading_key, refuse_by_header
from skindiff.errors import CorpusError
from skindiff.measures.skin.tone import image_ita
from tests.corpora.colour_profiles import (
    SRGB,
    adobe_rgb,
    cmyk,
    display_p3,
    encoded,
    grey_gamma,
    rgb_profile,
    srgb_curve,
)
from tests.corpora.colour_profiles import profile as icc
from tests.corpora.image_bytes import chunk

GREEN, RED, GREY, CLEAR_GREEN = (0, 200, 0), (200, 0, 0), (100, 100, 100), (0, 200, 0, 128)
LOSSY = {"JPEG", "AVIF"}
BROKEN = "the colour profile is broken or of another kind of image; colours are taken as sRGB"
HEIC = (
    "eNqlU2tIFFEUPrOzbWtqbaa1ltWWgiYGmlYSSZtaoWGSZqkZOTs7497axzi76gqRSpJIQhb9irJ+FZkgWhFW5AOLIFJBCYxE/aFE"
    "QZhRmJTbuTuDllAQHThzvznnO/fe87gAECF6KiWbQLyA4iBiAsUOwokAbI9D8HCgyCab1S6rGCTCe2CRJBG7i6cg3QwaYChiJ5UV"
    "pRdtKNrmeUsUajIhTtH/R71h+CP4acixlfMJ8IuRoZR9XuKnL5eIxwEqk2WIJEu4xRiReBfaKjA2jdHqETYlU9KGKfjum5kBWMEW"
    "Y8QaMxPE+HyUwPoZLFIeacwc+mJTGeZ3R6PWYGofyRsseqtNMhrocY3UYai2IF2fznS7jfFGNGmCeJddlmSXqGSDycZjRZ0eOedA"
    "qim/oNC09B1GqOlzvFuCv8rX1wp3cCv8uwRYBTdtxhTqrgqPhN1i4hCH8pJMsZk2QMZLIbZSe4mC6RSEWhTcQLF8JCcN8U3EphIF"
    "d1FsUfAYxQ57Ga+eS28cJDjzcmnVUSPAARxYQQATiOACGVcO1YMWN36B1mVxvn/YT+/fz4m7OEFYiDs3CpDS6fP5Hi/YMjsB2nYC"
    "LOtYsMVgP1cGArzokDhZmWqWDp6I/Zq+DRBcALBqAGOO/6+f1o24JUHNwaxqDG/naM9Nal4GuuK9aQ01uA6oz8AgES/xb6/X05wD"
    "iOzy0KPCieTg5gvD6Go07JLa8/izlsiCqDqW81bsvEadtCmHlaMvtSuGadVtCx/5VF1vmnjale2bm6gaPjP9JksYhj1zTbm+Wc45"
    "WhQ5K1aNn0gpH9xh79wcLTefLDvW/vzS+GDG1cvr75RmVN+dkhIv5teHkdVnP3b3Rd8vPj3OfDiU9vBUtcX4snAyOaQ1fiN/IS64"
    "rr/G9n5ou/Fo4tC1V6ZMq9eWmnDjx/WeJLYq8FvDk/7Ivuwr+zNmoh5Y1u29pykMbofaw3WWL7ltUd0Vuz/3JrRMVxbO3joo9ejy"
    "GopLnzm3tPRjDjrl9WdlQax/GhgmxN8BBnRK6j8BlR4GHQ=="
)
"""32 x 16 pixels in Display P3, to be turned by a quarter: (200, 120, 90) on top, (20, 200, 40) below."""


def file(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    lossless: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    image.save(stream, kind, **(lossless | options))
    return stream.getvalue()


def flat(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (16, 16), colour)  # type: ignore[arg-type]


def palette(*, transparent: bool = False) -> Image.Image:
    """Green on the whole, of which nothing shows where the palette's green is transparent."""
    image = flat("P", 1)
    image.putpalette([0, 0, 0, *GREEN])
    if transparent:
        image.info["transparency"] = 1
    return image


MATRIX: list[tuple[str, Image.Image, tuple[str, ...], tuple[int, int, int]]] = [
    ("1", flat("1", 1), ("PNG", "TIFF", "BMP", "GIF", "WEBP"), (255, 255, 255)),
    ("L", flat("L", 100), ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "AVIF"), GREY),
    # Half of 100 on half of white: 100 * 128 / 255 + 255 * 127 / 255.
    ("LA", flat("LA", (100, 128)), ("PNG", "TIFF", "WEBP"), (177, 177, 177)),
    ("P", palette(), ("PNG", "TIFF", "BMP", "GIF", "WEBP"), GREEN),
    ("P, transparent", palette(transparent=True), ("PNG", "GIF"), (255, 255, 255)),
    ("RGB", flat("RGB", RED), ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "AVIF"), RED),
    # (0, 200, 0) * 128 / 255 + 255 * 127 / 255.
    ("RGBA", flat("RGBA", CLEAR_GREEN), ("PNG", "TIFF", "WEBP", "AVIF"), (127, 227, 127)),
    # No red is left by full cyan; of 55 of 255 inks, 200 are left.
    ("CMYK", flat("CMYK", (255, 55, 0, 0)), ("JPEG", "TIFF"), (0, 200, 255)),
    # 25,700 / 257 = 100.
    ("I;16", Image.fromarray(np.full((16, 16), 25_700, np.uint16)), ("PNG", "TIFF"), GREY),
]


@pytest.mark.parametrize(
    ("image", "kind", "colour"),
    [(image, kind, colour) for _, image, kinds, colour in MATRIX for kind in kinds],
    ids=[f"{mode}-{kind}" for mode, _, kinds, _ in MATRIX for kind in kinds],
)
def test_every_mode_in_every_format_has_the_colour_computed_by_hand(
    image: Image.Image, kind: str, colour: tuple[int, int, int], tmp_path: Path
) -> None:
    content = file(image, kind)
    found = read_pixels(content).image
    assert found.mode == "RGB"
    assert found.size == (16, 16)
    tolerance = 3 if kind in LOSSY else 1
    assert np.abs(np.asarray(found, int) - colour).max() <= tolerance
    (tmp_path / "image").write_bytes(content)
    assert found.tobytes() == read_pixels(tmp_path / "image").image.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF"])
def test_a_plain_file_has_the_pixels_that_pillow_decodes_and_no_key(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert("P" if kind == "GIF" else "RGB")
    exif = image.getexif()
    exif[0x0112] = 6
    content = file(image, kind, **({} if kind in ("BMP", "GIF") else {"exif": exif}))
    with Image.open(io.BytesIO(content)) as opened:
        expected = ImageOps.exif_transpose(opened).convert("RGB")
    reading = read_pixels(content)
    assert reading.image.tobytes() == expected.tobytes()
    assert reading.image.size == expected.size
    assert not reading.notes
    assert reading_key(content, 12) == ""


def test_heic_is_read_upright_and_in_srgb() -> None:
    pytest.importorskip("pi_heif")
    content = zlib.decompress(base64.b64decode(HEIC))
    found = np.asarray(read_pixels(content).image, int)
    assert found.shape == (32, 16, 3)
    assert np.abs(found[:14] - (200, 120, 90)).max() <= 8
    assert np.abs(found[18:] - (20, 200, 40)).max() <= 8
    assert reading_key(content, None).startswith("HEIF 1.")


def test_what_an_extra_reads_is_refused_with_its_name_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skindiff.corpora.image_files.find_spec", lambda name: None)
    with pytest.raises(UnknownFormat, match=r"HEIF file, which needs skindiff\[heic\]"):
        read_pixels(zlib.decompress(base64.b64decode(HEIC)))
    with pytest.raises(UnknownFormat, match=r"DICOM file, which needs skindiff\[dicom\]"):
        read_pixels(bytes(128) + b"DICM")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize(("name", "made"), [("Display P3", display_p3()), ("Adobe RGB", adobe_rgb())])
def test_colour_profiles_are_applied(kind: str, name: str, made: bytes) -> None:
    shown = np.repeat(np.repeat([[(200, 140, 110), (90, 60, 45), (128, 128, 128)]], 32, 0), 32, 1)
    image = Image.fromarray(shown.astype(np.uint8))
    options = {"quality": 95} if kind in LOSSY else {}
    content = file(encoded(image, made), kind, icc_profile=made, **options)
    reading = read_pixels(content)
    assert not reading.notes
    assert np.abs(np.asarray(reading.image, int) - shown)[:, 4:28].max() <= (4 if kind in LOSSY else 2)
    with Image.open(io.BytesIO(content)) as opened:
        assert np.abs(np.asarray(opened.convert("RGB"), int) - shown)[:, 4:28].max() > 8
    assert reading_key(content, None)


def test_a_profile_that_is_srgb_changes_no_pixel() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = file(Image.fromarray(noise), "PNG", icc_profile=rgb_profile(SRGB, srgb_curve()))
    assert np.array_equal(np.asarray(read_pixels(content).image), noise)
    assert reading_key(content, None) == ""


def test_grey_and_cmyk_profiles_are_applied() -> None:
    # 128 of 255 to the power of 1.0 is a luminance of 0.502, which sRGB writes as 188.
    linear = file(flat("L", 128), "PNG", icc_profile=grey_gamma(1.0))
    assert np.abs(np.asarray(read_pixels(linear).image, int) - 188).max() <= 1
    with_alpha = file(flat("LA", (128, 255)), "PNG", icc_profile=grey_gamma(1.0))
    assert np.abs(np.asarray(read_pixels(with_alpha).image, int) - 188).max() <= 1
    # Half of every ink leaves a lightness of 100 * (1 - 0.9 * 0.5) = 55, which sRGB writes as 132; where all
    # ink is black (10 of lightness), that becomes a little darker.
    inks = file(flat("CMYK", (128, 128, 128, 128)), "TIFF", icc_profile=cmyk(0.9))
    found = np.asarray(read_pixels(inks).image, int)
    assert np.ptp(found) <= 2
    assert 120 <= found.mean() <= 133
    assert (
        np.abs(
            np.asarray(read_pixels(file(flat("CMYK", 0), "TIFF", icc_profile=cmyk(0.9))).image, int) - 255
        ).max()
        <= 1
    )


@pytest.mark.parametrize(
    "broken",
    [b"no profile", display_p3()[:200], grey_gamma(2.2), cmyk(0.9), icc(b"RGB ", b"mntr", {})],
    ids=["junk", "cut off", "grey", "cmyk", "without colours"],
)
def test_a_broken_profile_is_a_note_and_srgb(broken: bytes) -> None:
    content = file(flat("RGB", RED), "PNG", icc_profile=broken)
    reading = read_pixels(content)
    assert (np.asarray(reading.image) == RED).all()
    assert [note.text for note in reading.notes] == [BROKEN]
    assert reading_key(content, None)


def test_further_pages_and_frames_are_counted() -> None:
    pages = [flat("RGB", RED), flat("RGB", GREEN), flat("RGB", GREEN)]
    for kind in ("TIFF", "GIF", "WEBP", "PNG"):
        content = file(pages[0], kind, save_all=True, append_images=[pages[1], flat("RGB", GREY)])
        reading = read_pixels(content)
        assert np.abs(np.asarray(reading.image, int) - RED).max() <= 1
        assert [(note.text.format(count=note.many)) for note in reading.notes] == [
            "2 further pages or frames are not read"
        ]
    two = io.BytesIO()
    pages[0].save(two, "MPO", save_all=True, append_images=pages[1:2])
    assert not read_pixels(two.getvalue()).notes  # telephones write previews there
    assert reading_key(two.getvalue(), None) == ""


def test_a_bomb_is_refused_by_its_header_in_our_words() -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    with pytest.raises(TooManyPixels, match="too many pixels, and at most 178,956,970 are decoded"):
        read_pixels(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"x"))
    with pytest.raises(TooManyPixels, match="16 x 16 pixels, and at most 255"):
        read_pixels(file(flat("RGB", RED), "PNG"), most_pixels=255)


@pytest.mark.timeout(30)
def test_what_is_no_image_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "nowhere.png").symlink_to("absent")
    (tmp_path / "folder.png").mkdir()
    for path, says in (
        (tmp_path / "pipe.png", "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (tmp_path / "folder.png", "no file"),
        (tmp_path / "nowhere.png", "No such file"),
    ):
        with pytest.raises(ImageRefused, match=f"cannot be opened: .*{says}"):
            read_pixels(path)
    with pytest.raises(UnknownFormat, match="not an image file"):
        read_pixels(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    with pytest.raises(ImageRefused, match="cannot be decoded"):
        read_pixels(file(Image.effect_noise((90, 90), 90), "PNG")[:3000])


def test_only_the_formats_that_are_asked_for_are_decoded() -> None:
    content = file(flat("RGB", RED), "TIFF")
    with pytest.raises(UnknownFormat):
        read_pixels(content, formats=("JPEG", "PNG"))
    with pytest.raises(UnknownFormat):
        read_pixels(file(flat("RGB", RED), "TGA"))


def test_numbers_without_black_and_white_are_refused() -> None:
    for mode in ("I", "F"):
        for read in (read_pixels, refuse_by_header):
            with pytest.raises(ImageRefused, match=f"numbers of the kind {mode}"):
                read(file(flat(mode, 7), "TIFF"))


def test_an_open_image_is_read_like_a_file() -> None:
    assert as_srgb(flat("RGBA", CLEAR_GREEN)).getpixel((0, 0)) == (127, 227, 127)
    assert as_srgb(MATRIX[-1][1]).getpixel((0, 0)) == GREY
    image = flat("RGB", RED)
    assert as_srgb(image).tobytes() == image.tobytes()


def test_notes_of_many_images_become_a_sentence_each() -> None:
    log = ReadingLog()
    pages = file(flat("RGB", RED), "TIFF", save_all=True, append_images=[flat("RGB", GREEN)])
    for name, content in (
        ("a", pages),
        ("b", pages),
        ("c", file(flat("RGB", RED), "PNG", icc_profile=b"junk")),
    ):
        log.add(name, read_pixels(content))
    assert log.warnings() == [
        "2 images (such as a): 2 further pages or frames are not read",
        f"1 image (such as c): {BROKEN}",
    ]


def test_read_image_is_the_same_reader(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.png").write_bytes(file(flat("RGBA", CLEAR_GREEN), "PNG", icc_profile=b"junk"))
    assert skindiff.read_image(tmp_path / "a.png").getpixel((0, 0)) == (127, 227, 127)
    assert "colour profile is broken" in caplog.text
    with pytest.raises(CorpusError, match=r"path: .*b.png cannot be read as an image .*No such file"):
        skindiff.read_image(tmp_path / "b.png")


def shifts(folder: Path, number: int, made: bytes) -> tuple[list[float], list[float]]:
    """Degrees of ITA by which photographs in a profile's colours are off, without the reader and with it."""
    without, with_it = [], []
    files = sorted((folder / "fitzpatrick17k" / "images").iterdir())[:: 4087 // number][:number]
    for path in files:
        original = read_pixels(path).image
        content = file(encoded(original, made), "PNG", icc_profile=made)
        with Image.open(io.BytesIO(content)) as opened:
            ignored = np.asarray(opened.convert("RGB"))
        angles = [image_ita(np.asarray(one)) for one in (original, ignored, read_pixels(content).image)]
        if None not in angles:
            before, off, on = (float(angle or 0) for angle in angles)
            without.append(abs(off - before))
            with_it.append(abs(on - before))
    return without, with_it


@pytest.mark.slow
@pytest.mark.parametrize("made", [display_p3(), adobe_rgb()], ids=["Display P3", "Adobe RGB"])
def test_the_tone_of_60_photographs_stays_within_half_a_degree(real_data: Path, made: bytes) -> None:
    without, with_it = shifts(real_data, 60, made)
    assert len(with_it) >= 55
    assert np.median(with_it) < 0.5
    assert np.median(without) > 1.5


def test_the_tone_of_some_photographs_stays(real_data: Path) -> None:
    without, with_it = shifts(real_data, 8, display_p3())
    assert np.median(with_it) < 0.5 < np.median(without)
