"""ICC profiles made byte by byte, and images encoded in them."""

import io
import struct

import numpy as np
from PIL import Image, ImageCms

D50 = (0.9642, 1.0, 0.8249)
P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
"""Red, green and blue of Display P3 (SMPTE EG 432-1), adapted to D50."""
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""Red, green and blue of Adobe RGB (1998), adapted to D50."""
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def gamma(value: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(value)


def srgb_curve() -> bytes:
    parts = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, parts))


def _text(words: str) -> bytes:
    body = words.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(body), 28) + body


def profile(space: bytes, kind: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """Put tags together, as version 4 of the specification wants them."""
    tags = {b"desc": _text("made for a test"), b"wtpt": _xyz(D50), b"cprt": _text("none"), **tags}
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"\0" * 4, 0x04300000, kind, space, pcs)
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28 + b"".join(map(_fixed, D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def rgb_profile(colours: tuple[tuple[float, float, float], ...], curve: bytes) -> bytes:
    tags = {name: _xyz(colour) for name, colour in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colours, strict=True)}
    return profile(b"RGB ", b"mntr", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def display_p3() -> bytes:
    return rgb_profile(P3, srgb_curve())


def adobe_rgb() -> bytes:
    return rgb_profile(ADOBE, gamma(563 / 256))


def grey_gamma(value: float) -> bytes:
    return profile(b"GRAY", b"mntr", {b"kTRC": gamma(value)})


def cmyk(ink: float) -> bytes:
    """A printer whose paper is white, and whose inks together leave lightness 100 * (1 - ink * amount).

    Its table has two levels of each ink; each darkens equally, and none has a hue.
    """
    steps = np.indices((2, 2, 2, 2)).reshape(4, -1).T.sum(1) / 4
    lightness = np.round(255 * (1 - ink * steps)).astype(np.uint8)
    grid = np.stack([lightness, np.full_like(lightness, 128), np.full_like(lightness, 128)], -1)
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + struct.pack(">4B", 4, 3, 2, 0)
    table += b"".join(map(_fixed, (1, 0, 0, 0, 1, 0, 0, 0, 1))) + ramp * 4 + grid.tobytes() + ramp * 3
    return profile(b"CMYK", b"prtr", {b"A2B0": table, b"A2B1": table}, pcs=b"Lab ")


def encoded(image: Image.Image, icc: bytes) -> Image.Image:
    """Return an sRGB image whose colours are said in those of a profile."""
    found = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )  # fmt: skip
    assert found is not None
    return found
