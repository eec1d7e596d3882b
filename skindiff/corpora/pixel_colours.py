"""Embedded colour profiles: colours are brought to sRGB, the tone as the camera or telephone meant it."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image as PILImage
from PIL import ImageCms

from skindiff.corpora.pixel_notes import Note

INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
"""Colours that sRGB has stay what they are, and white stays white; the others go to the nearest one. A
perceptual intent would move them all."""
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE
"""The darkest colour of a profile becomes black; without a cache threads can share a transform."""
SAME = 2
"""Levels of 255: a profile that moves no colour by more is sRGB, whatever it is called, and rounding apart
changes nothing."""
_TAKEN = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_BROKEN = Note("the colour profile is broken or of another kind of image; colours are taken as sRGB")


def to_srgb(image: PILImage.Image, profile: bytes | None) -> tuple[PILImage.Image, list[Note]]:
    """Return an image in sRGB, of mode RGB.

    Args:
        image: without transparency.
        profile: ICC profile of its file; empty where there is none, None where it cannot be read.
    """
    if profile == b"":
        return image.convert("RGB"), []
    try:
        mode, transform = _transform(profile or b"", image.mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image.convert("RGB"), [_BROKEN]
    if transform is None:
        return image.convert("RGB"), []
    found = ImageCms.applyTransform(image.convert(mode), transform)
    assert found is not None
    return found, []


def is_srgb(profile: bytes | None, mode: str) -> bool:
    """Return whether a profile leaves an image of a mode as it is, and nothing is to be said of it."""
    if profile == b"":
        return True
    try:
        return _transform(profile or b"", mode)[1] is None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False


@lru_cache(64)
def _transform(profile: bytes, mode: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return the mode that a profile takes, and what it does to it; None where that is nothing."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    taken = _TAKEN.get(opened.profile.xcolor_space.strip())
    grey, cmyk = mode in ("1", "L"), mode == "CMYK"
    if taken is None or (taken == "CMYK") != cmyk or (taken == "L" and not grey):
        raise ImageCms.PyCMSError(f"a profile for {opened.profile.xcolor_space}, an image of {mode}")
    found = ImageCms.buildTransform(
        opened, ImageCms.createProfile("sRGB"), taken, "RGB", renderingIntent=INTENT, flags=FLAGS
    )
    return taken, None if _changes_nothing(found, taken) else found


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return whether a transform leaves a coarse grid of colours where it is."""
    if mode == "CMYK":
        return False
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    before = PILImage.fromarray(grid).convert(mode)
    after = ImageCms.applyTransform(before, transform)
    moved = np.asarray(after, dtype=int) - np.asarray(before.convert("RGB"), dtype=int)
    return bool(abs(moved).max() <= SAME)
