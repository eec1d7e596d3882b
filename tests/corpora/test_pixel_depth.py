"""Samples of 16 bits: each expected value is the sample times 255 over the largest one, rounded."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from skindiff.corpora.pixel_notes import ImageRefused, ReadingLog
from skindiff.corpora.pixel_reader import read_pixels, reading_key
from tests.corpora.image_bytes import chunk, png, significant, tiff

RAMP = np.array([[0, 128, 129, 25_700, 32_768, 65_407, 65_535]], np.uint16)
IN_EIGHT = [0, 0, 1, 100, 128, 255, 255]
"""128 * 255 / 65535 = 0.498, 129 * 255 / 65535 = 0.502, and 65,407 is 254.502."""


def shown(content: bytes, bit_depth: int | None = None) -> np.ndarray:
    return np.asarray(read_pixels(content, bit_depth=bit_depth).image, int)


def rounded(samples: np.ndarray) -> np.ndarray:
    return np.round(samples.astype(int) * 255 / 65535)


def test_a_grey_ramp_is_scaled_and_not_white() -> None:
    for content in (
        png(RAMP[..., None]),
        tiff(RAMP),
        tiff(RAMP, byteorder=">"),
        tiff(RAMP, compression="zlib"),
    ):
        found = shown(content)
        assert found[0, :, 0].tolist() == IN_EIGHT
        assert (found == found[..., :1]).all()
    assert shown(tiff(RAMP, photometric="miniswhite"))[0, :, 0].tolist() == [255 - v for v in IN_EIGHT]


@pytest.mark.parametrize("channels", [3, 4])
def test_all_16_bits_of_colours_are_read(channels: int) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (9, 20, channels), dtype=np.uint16)
    if channels == 4:
        samples[..., 3] = 65535
    expected = rounded(samples[..., :3])
    made = [png(samples)]
    for byteorder in "<>":
        for options in (
            {},
            {"compression": "zlib"},
            {"compression": "zlib", "predictor": True},
            {"tile": (16, 16)},
        ):
            extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
            made.append(tiff(samples, byteorder=byteorder, **options, **extra))
    for content in made:
        assert np.array_equal(shown(content), expected)


def test_transparency_of_16_bits_shows_white() -> None:
    half = np.zeros((1, 2, 4), np.uint16)
    half[..., 1] = 51_400  # 200 of 255
    half[..., 3] = [0, 32_896]  # 0 and 128 of 255
    assert shown(png(half)).tolist() == [[[255, 255, 255], [127, 227, 127]]]
    grey = np.array([[[25_700, 0], [25_700, 32_896], [25_700, 65_535]]], np.uint16)
    assert shown(png(grey))[0, :, 0].tolist() == [255, 177, 100]
    key = chunk(b"tRNS", struct.pack(">H", 25_700))
    assert shown(png(np.array([[[25_700], [25_701]]], np.uint16), key))[0, :, 0].tolist() == [255, 100]


def test_a_png_is_read_by_its_significant_bits() -> None:
    twelve = np.array([[[0], [1000], [2048], [4095]]], np.uint16)
    expected = [0, 62, 128, 255]  # * 255 / 4095
    scaled_up = twelve << 4 | twelve >> 8
    for samples in (scaled_up, twelve << 4, twelve):  # as the standard says, with zeros, and as they were
        assert shown(png(samples, significant(12)))[0, :, 0].tolist() == expected
    colours = np.concatenate([scaled_up] * 3, -1)
    assert shown(png(colours, significant(12, 12, 12)))[0, :, 1].tolist() == expected
    # All is below a sixteenth, but by the low bits it is the standard's: a dark picture stays dark.
    assert shown(png(np.array([[[0], [4080]]], np.uint16), significant(12)))[0, :, 0].tolist() == [0, 16]


def test_a_tiff_is_read_by_its_largest_sample() -> None:
    twelve = np.array([[0, 1000, 2048, 4095]], np.uint16)
    for options in ({"extratags": [(281, 3, 1, 4095, True)]}, {"extratags": [(281, 3, 1, 3900, True)]}):
        assert shown(tiff(twelve, **options))[0, :, 0].tolist() == [0, 62, 128, 255]
    colours = np.repeat(twelve[..., None], 3, -1)
    stated = tiff(colours, extratags=[(281, 3, 3, (4095, 4095, 4095), True)])
    assert shown(stated)[0, :, 2].tolist() == [0, 62, 128, 255]
    reading = read_pixels(tiff(RAMP, extratags=[(281, 3, 1, 4095, True)]))
    assert np.asarray(reading.image)[0, :, 0].tolist() == IN_EIGHT
    assert any("larger than the 12 bits that the file states" in note.text for note in reading.notes)


def test_the_depth_that_is_set_wins_and_cannot_hide_what_is_larger() -> None:
    twelve = np.array([[[0], [1000], [2048], [4095]]], np.uint16)
    for content in (png(twelve), tiff(twelve[..., 0]), png(twelve, significant(16))):
        assert shown(content, 12)[0, :, 0].tolist() == [0, 62, 128, 255]
    with pytest.raises(ImageRefused, match="samples up to 4,095, more than the 10 bits of"):
        shown(png(twelve), 10)
    plain = io.BytesIO()
    Image.new("L", (4, 4), 100).save(plain, "PNG")
    assert (shown(plain.getvalue(), 12) == 100).all()


def test_what_is_stored_in_a_way_that_is_not_read_is_refused() -> None:
    samples = np.zeros((3, 8, 8), np.uint16)
    with pytest.raises(ImageRefused, match="16 bits a channel, plane by plane"):
        shown(tiff(samples, planarconfig="separate"))
    with pytest.raises(ImageRefused, match="numbers of the kind"):
        shown(tiff(np.zeros((8, 8), np.int16)))


def test_a_turned_16_bit_image_stands_upright() -> None:
    samples = np.zeros((2, 3, 3), np.uint16)
    samples[0] = 25_700
    content = tiff(samples, extratags=[(274, 3, 1, 6, True)])
    found = shown(content)
    assert found.shape == (3, 2, 3)
    assert found[:, :, 0].tolist() == [[0, 100]] * 3


def test_a_corpus_of_dark_samples_is_told_of_the_setting() -> None:
    log = ReadingLog()
    for largest in (900, 4000):
        log.add(f"image-{largest}", read_pixels(png(np.array([[[0], [largest]]], np.uint16))))
    said = log.warnings()
    assert said[0] == "2 images (such as image-900): samples from 0 to 65,535 become 0 to 255"
    assert "no 16-bit image has a sample above 4,000 of 65,535" in said[1]
    assert "corpus.bit_depth 12" in said[1]
    log.add("bright", read_pixels(png(np.array([[[0], [5000]]], np.uint16))))
    assert len(log.warnings()) == 1


def test_the_key_of_a_deep_file_follows_the_depth() -> None:
    content = png(RAMP[..., None])
    assert len({reading_key(content, depth) for depth in (None, 10, 12)}) == 3
