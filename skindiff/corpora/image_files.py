"""Which files are images here, by their endings, and what is said of the others."""

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Extra(NamedTuple):
    """What reads a format that Pillow does not."""

    name: str
    """In ``skindiff[name]``."""
    module: str
    suffixes: tuple[str, ...]
    """Endings of its files."""

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        return find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """Of what is installed."""
        return version(self.module) if self.installed else "none"


EXTRAS: Mapping[str, Extra] = {
    "HEIF": Extra("heic", "pi_heif", (".heic", ".heif", ".hif")),
    "DICOM": Extra("dicom", "pydicom", (".dcm", ".dicom")),
}
"""Formats that need an extra of skindiff."""
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", *EXTRAS)
"""What a corpus may hold; every other decoder of Pillow stays shut."""
IMAGE_SUFFIXES = (
    *(".jpeg", ".jpg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"),
    *(suffix for extra in EXTRAS.values() if extra.installed for suffix in extra.suffixes),
)
"""Endings, in lower case, of the files that are images here; of files of one name the first is taken."""
_MOST_KINDS = 5


def is_image(file: Path) -> bool:
    """Return whether a file is read as an image, by its ending."""
    return file.suffix.lower() in IMAGE_SUFFIXES


def preferred(file: Path) -> tuple[int, Path]:
    """Return what image files are sorted by where only the first of each name is taken."""
    return IMAGE_SUFFIXES.index(file.suffix.lower()), file


def not_read(kinds: Mapping[str, int]) -> list[str]:
    """Return the warning about files that are no images here: how many, of which kinds, and what reads them.

    Args:
        kinds: how many files end in what, in lower case.
    """
    if not kinds:
        return []
    most = sorted(kinds, key=lambda suffix: -kinds[suffix])
    said = ", ".join(_in_words(suffix, kinds[suffix]) for suffix in most[:_MOST_KINDS])
    more = f" and {len(kinds) - _MOST_KINDS} other kinds" if len(kinds) > _MOST_KINDS else ""
    total = sum(kinds.values())
    return [f"{total} {'files are' if total > 1 else 'file is'} not read, such as {said}{more}"]


def _in_words(suffix: str, count: int) -> str:
    reader = next((one.name for one in EXTRAS.values() if suffix in one.suffixes), None)
    install = f"; install skindiff[{reader}] to read them" if reader else ""
    return f"{suffix} ({count}{install})"
