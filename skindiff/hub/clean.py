"""Removing private details from files: folders of this machine, tokens, and metadata of images."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from skindiff.errors import HubError
from skindiff.foreign import Malformed, read_text, refuse_unlike
from skindiff.foreign_yaml import read_yaml
from skindiff.hub.client import redacted

_FOLDERS = re.compile(
    r"(?<![\w.~/:\\])(?:~|\.{1,2}(?=[/\\])|/(?=\w)|[A-Za-z]:\\)[^\s'\"`,;()]*[/\\](?=[^\s'\"`,;()/\\])"
)
"""The folders of an absolute or upward path, up to its last part; addresses of the web do not match."""


def without_folders(text: str) -> str:
    """Return ``text`` with every path of this machine cut to its last part, and without tokens."""
    return redacted(_FOLDERS.sub("", text))


def shareable(value: Any) -> Any:
    """Return nested plain values with :func:`without_folders` applied to every string."""
    if isinstance(value, Mapping):
        return {key: shareable(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [shareable(part) for part in value]
    return without_folders(value) if isinstance(value, str) else value


def own_file(folder: Path, name: str) -> Path:
    """Return the path of a file that lies in ``folder`` itself: nothing else may leave with it.

    Args:
        folder: of an artefact or a run; it may be a link, as its user has named it.
        name: path of the file inside.

    Raises:
        HubError: the file or a folder on the way to it is a link or leads outside, or there is no such file.
    """
    parts = Path(name).parts
    below = [folder.joinpath(*parts[:number]) for number in range(1, len(parts) + 1)]
    if Path(name).is_absolute() or ".." in parts or any(path.is_symlink() for path in below):
        raise HubError(
            f"folder: {name} is a link, or leads out of {folder.name}, and its target may be private; "
            "put the file itself there (cp -rL copies a folder without its links)"
        )
    if not below[-1].is_file():
        raise HubError(f"folder: {folder} has no file {name}; give a folder that is finished")
    return below[-1]


def clean_text(path: Path) -> bytes:
    """Return a text file without paths of this machine."""
    try:
        return without_folders(read_text(path)).encode()
    except Malformed as error:
        raise HubError(f"{path.name} cannot be read ({error}); make it again") from error


def clean_yaml(path: Path, **settings: Any) -> bytes:
    """Return a YAML file of plain values without paths of this machine, with ``settings`` in their place."""
    try:
        found = read_yaml(path)
        refuse_unlike(found, dict[str, Any], "what it holds")
    except Malformed as error:
        raise HubError(f"{path.name} cannot be read ({error}); make it again") from error
    content = shareable({**found, **settings})
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()


def clean_png(image: bytes | Path) -> bytes:
    """Return the pixels of an image as a PNG without EXIF, comments or any other metadata.

    Raises:
        HubError: it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            mode = opened.mode if opened.mode in ("L", "RGB", "RGBA") else "RGB"
            pixels = opened.convert(mode)
    # A damaged file can make a decoder raise nearly anything.
    except Exception as error:
        raise HubError(
            "an image cannot be decoded, so it is not known what it holds; make it again"
        ) from error
    bare = Image.frombytes(pixels.mode, pixels.size, pixels.tobytes())
    file = io.BytesIO()
    bare.save(file, "PNG")
    return file.getvalue()
