"""Removing private details from files: folders of this machine, tokens, and metadata of images."""

import io
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from skindiff.errors import HubError
from skindiff.foreign import parse_json
from skindiff.hub.client import redacted

_ROOT = (
    r"(?:(?!(?:https?|hf)://)[A-Za-z][A-Za-z0-9+.-]+://+|file:/*"  # of any address but those of the web
    r"|~[\w.-]*[/\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|\\\\(?=[\w.?])|\$\{?\w+\}?[/\\]|%\w+%[/\\]"
    r"|[\w-][\w.@-]*:/(?=[\w.~])|/{1,2}(?=[\w.~$]))"
)
"""How a path of this or another machine begins: at a root, a home, a drive, a share, a host, or above."""
_WHOLE = re.compile(rf"\s*(?:{_ROOT}|~[\w.-]*\s*$|\.\.\s*$|/+\s*$|[\w-][\w.@-]*:/\s*$)", re.IGNORECASE)
_INSIDE = re.compile(
    rf"(?<![\w.~/:<\\$%])(?:{_ROOT}(?:(?!\s-)[^\n'\"`,;()<>|])*[/\\]|(?!/){_ROOT})(?=[^\s'\"`,;()/\\<>|])",
    re.IGNORECASE,
)
"""The folders of a path amid other words, up to its last part; a space ends none that a separator follows."""
_LOADED_FROM = ("_name_or_path", "name_or_path")
_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")


def without_folders(text: str) -> str:
    """Return ``text`` with paths of this machine cut to their last part, and without tokens or logins.

    A text that begins as a path does is one path to its end, whatever is in it; other texts may hold paths.
    """
    return redacted(_cut(text))


def _cut(text: str) -> str:
    text = _LOGIN.sub("", text)
    if "\n" not in text.strip() and _WHOLE.match(text):
        return _last_part(text)
    return _INSIDE.sub("", text)


def _last_part(path: str) -> str:
    """Return what follows the last separator, "" where nothing does."""
    parts = [part for part in re.split(r"[/\\]", path.strip()) if part.strip()]
    nothing_below = len(parts) < 2 and _WHOLE.fullmatch(path)
    return "" if not parts or nothing_below or parts[-1] in (".", "..") else parts[-1].strip()


def without_folders_in_words(line: str) -> str:
    """Return a line of a shell with the path in each of its words cut; any other line as a text."""
    try:
        words = shlex.split(line)
    except ValueError:
        return without_folders(line)
    cut = []
    for word in words:
        name, sign, value = word.partition("=")
        setting = sign and re.fullmatch(r"-{0,2}[\w.]+", name)
        cut.append(f"{name}={_cut(value)}" if setting else _cut(word))
    return redacted(shlex.join(cut))


def shareable(value: Any) -> Any:
    """Return nested plain values with :func:`without_folders` applied to every string, names of keys too."""
    if isinstance(value, Mapping):
        return {shareable(key): shareable(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [shareable(part) for part in value]
    return without_folders(value) if isinstance(value, str) else value


def model_name(name: str) -> str:
    """Return the name of a model as it may leave: an id of the Hub as it is, of a folder the last part."""
    place, sign, rest = without_folders(name).partition("@")
    a_folder = place.count("/") > 1 or (not place.startswith("hf-hub:") and Path(place).is_dir())
    return f"{_last_part(place) if a_folder else place}{sign}{rest}"


def clean_text(content: bytes) -> bytes:
    """Return a text without paths of this machine."""
    return without_folders(content.decode("utf-8")).encode()


def clean_json(content: bytes) -> bytes:
    """Return a JSON file without paths of this machine, and without the folder that it was loaded from.

    The bytes of one that holds neither stay as they are.
    """
    read = parse_json(content)
    clean = shareable(read)
    if isinstance(clean, dict):
        clean = {name: part for name, part in clean.items() if name not in _LOADED_FROM}
    return content if clean == read else (json.dumps(clean, indent=2, ensure_ascii=False) + "\n").encode()


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
