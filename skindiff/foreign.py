"""Text files that others wrote: read in bounded time and memory, and checked for their shape.

Every reader of JSON comes through here, and of YAML through :mod:`skindiff.foreign_yaml`. What goes wrong is
a :class:`Malformed`, whose one line has a place in the file and never any of its content: the file may be one
that a stranger's settings point at.
"""

import functools
import json
import math
import stat
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import (
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

MOST_JSON = 2**26
"""Bytes of a file: a report of a large study has some ten MB, a tokenizer's vocabulary five."""
MOST_DEPTH = 60
LONGEST_NUMBER = 400
"""Characters; turning text into whole numbers takes time that grows with the square."""


class Malformed(ValueError):
    """A file is not what it should be; the message is one line without any of its content."""


def regular_size(path: Path) -> int:
    """Return the bytes of a regular file; a folder, a pipe or a device is not opened.

    Raises:
        Malformed: it is none.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise Malformed(error.strerror or type(error).__name__) from None
    except ValueError:
        raise Malformed("its path is none") from None
    if not stat.S_ISREG(found.st_mode):
        raise Malformed("it is no file" if stat.S_ISDIR(found.st_mode) else "it is no regular file")
    return found.st_size


def read_bytes(path: Path, most: int = MOST_JSON) -> bytes:
    """Return the content of a regular file.

    Raises:
        Malformed: it is no file, larger than ``most`` bytes, or cannot be read.
    """
    if (size := regular_size(path)) > most:
        raise Malformed(f"it has {size:,} bytes, and at most {most:,} are read")
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)  # a file of /proc says that it has none
    except OSError as error:
        raise Malformed(error.strerror or type(error).__name__) from None
    if len(content) > most:
        raise Malformed(f"it has more than the {most:,} bytes that are read")
    return content


def read_text(path: Path, most: int = MOST_JSON) -> str:
    """Return the text of a regular file in UTF-8.

    Raises:
        Malformed: see :func:`read_bytes`; or it holds no UTF-8.
    """
    return decoded(read_bytes(path, most))


def decoded(content: str | bytes) -> str:
    """Return text, of bytes in UTF-8.

    Raises:
        Malformed: it is no UTF-8.
    """
    try:
        return content if isinstance(content, str) else content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed(f"it is no UTF-8 text, byte {error.start}") from None


def read_json(path: Path, most: int = MOST_JSON) -> Any:
    """Return the content of a JSON file; its numbers are finite and its text can be written as UTF-8.

    Raises:
        Malformed: see :func:`read_text`; it is no JSON, or nested too deeply.
    """
    return parse_json(read_text(path, most))


def parse_json(content: str | bytes) -> Any:
    """Return the content of JSON text (see :func:`read_json`)."""
    text = decoded(content)
    try:
        found = json.loads(text, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise Malformed(f"no JSON at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise Malformed(f"nested deeper than {MOST_DEPTH} levels") from None
    refuse_strange(found, len(text))
    return found


def _whole(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise Malformed(f"a number of {len(digits)} digits")
    return int(digits)


def refuse_strange(content: Any, most: int) -> None:
    """Refuse what is nested too deeply, of too many values, not finite, or no text that can be written.

    Raises:
        Malformed: it is.
    """
    left: list[Iterator[Any]] = [iter((content,))]
    count = 0
    while left:
        value = next(left[-1], left)
        if value is left:
            left.pop()
            continue
        count += 1
        if count > most:
            raise Malformed(f"it has more than {most:,} values, its aliases written out")
        if isinstance(value, Mapping):
            left.append(iter([*value, *value.values()]))
        elif isinstance(value, (list, tuple, set)):
            left.append(iter(value))
        elif isinstance(value, float) and not math.isfinite(value):
            raise Malformed("a number that is not finite")
        elif isinstance(value, str) and not _writable(value):
            raise Malformed("text with half a character (a lone surrogate)")
        if len(left) > MOST_DEPTH + 1:
            raise Malformed(f"nested deeper than {MOST_DEPTH} levels")


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_unlike(value: Any, shape: Any, name: str = "it") -> None:
    """Refuse a value of another shape than a type says, with the path to the first part that differs.

    Args:
        value: of JSON or YAML.
        shape: plain types, ``None``, ``Any``, unions, ``Literal``, lists, mappings and typed dictionaries of
            them. A ``float`` may be whole; a whole number is not a truth, and neither has over 18 digits.
        name: of the value.

    Raises:
        Malformed: it differs.
    """
    kind, parts = get_origin(shape) or shape, get_args(shape)
    if kind is Any:
        return
    if kind in (Union, types.UnionType):
        _refuse_all_unlike(value, parts, name)
    elif kind in (Required, NotRequired):
        refuse_unlike(value, parts[0], name)
    elif kind is Literal:
        if not any(value == part and type(value) is type(part) for part in parts):
            raise Malformed(f"{name} is none of {', '.join(map(repr, parts))}")
    elif is_typeddict(kind):
        _refuse_unlike_rows(value, kind, name)
    elif isinstance(kind, type) and issubclass(kind, Mapping):
        if not isinstance(value, Mapping):
            raise Malformed(f"{name} is no mapping")
        for key, part in value.items():
            refuse_unlike(key, parts[0] if parts else Any, f"a key of {name}")
            refuse_unlike(part, parts[1] if parts else Any, f"a value of {name}")
    elif isinstance(kind, type) and issubclass(kind, Sequence) and kind is not str:
        if not isinstance(value, list):
            raise Malformed(f"{name} is no list")
        for number, part in enumerate(value):
            refuse_unlike(part, parts[0] if parts else Any, f"{name}[{number}]")
    elif not _is_plain(value, kind):
        said = "null" if kind is types.NoneType else "missing"
        raise Malformed(f"{name} is not {_PLAIN.get(kind, said)}")


_PLAIN = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _is_plain(value: Any, kind: Any) -> bool:
    if kind in (None, types.NoneType):
        return value is None
    if kind in (int, float):
        wanted = (int, float) if kind is float else int
        return isinstance(value, wanted) and not isinstance(value, bool) and abs(value) < 10**18
    return isinstance(value, kind)


def _refuse_all_unlike(value: Any, shapes: Sequence[Any], name: str) -> None:
    found: Malformed | None = None
    for shape in shapes:
        try:
            return refuse_unlike(value, shape, name)
        except Malformed as error:
            found = found or error
    assert found is not None
    raise found


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _refuse_unlike_rows(value: Any, kind: Any, name: str) -> None:
    if not isinstance(value, Mapping):
        raise Malformed(f"{name} is no mapping")
    hints = _hints(kind)
    for key in kind.__required_keys__:
        if key not in value:
            raise Malformed(f"{name} has no {key}")
    for key, part in value.items():
        if key in hints:
            refuse_unlike(part, hints[key], f"{name}.{key}")
