import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skindiff.demo.photographs import PhotographError, photograph_id, png_bytes, read_photograph


def read(path: Path, max_bytes: int = 10**6, max_pixels: int = 10**6) -> np.ndarray:
    return read_photograph(path, max_bytes=max_bytes, max_pixels=max_pixels)


def test_pixels_stand_upright_and_alone(photograph: Path, tmp_path: Path):
    image = Image.new("RGB", (40, 20), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read(tmp_path / "turned.jpg").shape == (40, 20, 3)
    kept = png_bytes(read(photograph))
    assert b"SECRET" in photograph.read_bytes()
    assert b"SECRET" not in kept
    assert b"eXIf" not in kept


def test_a_large_photograph_is_made_smaller_and_transparency_is_white(tmp_path: Path):
    Image.new("RGB", (1500, 3000)).save(tmp_path / "large.png")
    assert read(tmp_path / "large.png", max_pixels=10**7).shape == (2048, 1024, 3)
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read(tmp_path / "clear.png") == 255).all()


def test_a_bomb_is_refused_by_its_header(tmp_path: Path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"x"))
    with pytest.raises(PhotographError, match="1 million pixels"):
        read(tmp_path / "bomb.png")


def test_what_is_no_photograph_is_refused_in_words(corrupt: Path, oversized: Path, tmp_path: Path):
    with pytest.raises(PhotographError, match="damaged"):
        read(corrupt)
    with pytest.raises(PhotographError, match=r"MB.*at most 0\.1 MB"):
        read(oversized, max_bytes=2**20 // 10)
    with pytest.raises(PhotographError, match="400 x 400 pixels"):
        read(oversized, max_pixels=1000)
    with pytest.raises(PhotographError, match="no longer here"):
        read(tmp_path / "gone.jpg")
    for name, kind in (("a.gif", "GIF"), ("a.tiff", "TIFF")):
        Image.new("RGB", (20, 20)).save(tmp_path / name, kind)
        with pytest.raises(PhotographError, match="JPEG, PNG or WebP"):
            read(tmp_path / name)
    Image.new("RGB", (20, 8)).save(tmp_path / "thin.png")
    with pytest.raises(PhotographError, match="too small"):
        read(tmp_path / "thin.png")


def test_an_upload_is_named_by_its_pixels():
    one, other = np.zeros((20, 20, 3), np.uint8), np.ones((20, 20, 3), np.uint8)
    assert photograph_id(one) == photograph_id(one.copy()) != photograph_id(other)
