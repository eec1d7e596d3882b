"""A private copy of what may leave a folder: what is checked is what is sent, whatever changes.

Links are not followed, and nothing but regular files is opened.
"""

import errno
import fnmatch
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from skindiff.errors import HubError, SkindiffError
from skindiff.files import real_path
from skindiff.foreign import parse_json
from skindiff.hub.clean import shareable
from skindiff.manifest import refuse_damaged

_LORA_METADATA = "lora_adapter_metadata"
"""Where diffusers keeps PEFT's settings."""
_LORA_WORDS = frozenset(
    {
        "bias", "exclude_modules", "init_lora_weights", "layers_pattern", "megatron_core", "modules_to_save",
        "peft_type", "peft_version", "target_modules", "target_parameters", "task_type",
    }
)  # fmt: skip
"""Settings of PEFT whose words leave; its numbers do, and its dictionaries of numbers."""
_LARGEST_HEADER = 100_000_000


@contextmanager
def staged(folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
    """Give a copy of the files of a folder that fit patterns; only this user can read it, and it is deleted.

    The weights in it carry no metadata but that of :func:`bare_weights`.

    Args:
        folder: of an artefact or a run; it may be a link, as its user has named it.
        patterns: paths below it, from :func:`~skindiff.hub.leaving.files_of`.

    Raises:
        HubError: a file, or a folder on the way to it, is a link or no regular file, or changes meanwhile.
        RunFolderError: a file is not what its run wrote.
    """
    with tempfile.TemporaryDirectory(prefix="skindiff-push-") as place:
        copy = Path(place) / (real_path(folder).name or "artefact")
        copy.mkdir()
        try:
            for name in (name for pattern in patterns for name in _fitting(folder, pattern)):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                with _opened(folder, name) as source, (copy / name).open("wb") as target:
                    _copy(source, target, name)
            refuse_damaged(folder, copy)
            for weights in sorted(copy.rglob("*.safetensors")):
                bare_weights(weights)
            yield copy
        except SkindiffError as error:  # to the user it is the folder that they named
            raise type(error)(str(error).replace(str(copy), str(folder))) from error


def read_own(folder: Path, name: str) -> bytes:
    """Return the bytes of a file that lies in ``folder`` itself: nothing else may leave with it.

    Raises:
        HubError: as :func:`staged` does, or there is no such file.
    """
    with _opened(folder, name) as stream:
        return stream.read()


def bare_weights(path: Path) -> None:
    """Take from the header of a safetensors file all metadata but the format and the numbers of a LoRA.

    Raises:
        HubError: it is no such file.
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _LARGEST_HEADER:
            raise HubError(f"folder: {path.name} is no safetensors file; save the weights again")
        try:
            header: dict[str, Any] = dict(parse_json(stream.read(length)))
            metadata: dict[str, Any] = dict(header.get("__metadata__") or {})
        except (ValueError, TypeError) as error:
            raise HubError(f"folder: {path.name} is no safetensors file; save the weights again") from error
        kept = {name: text for name, text in metadata.items() if (name, text) == ("format", "pt")}
        if _LORA_METADATA in metadata:
            kept[_LORA_METADATA] = _bare_lora(metadata[_LORA_METADATA])
        if kept == metadata:
            return
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        text = json.dumps({"__metadata__": kept, **tensors} if kept else tensors).encode()
        text += b" " * (-len(text) % 8)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as target:
            target.write(len(text).to_bytes(8, "little") + text)
            shutil.copyfileobj(stream, target)
    partial.replace(path)


def _bare_lora(text: str) -> str:
    try:
        settings = dict(parse_json(text))
    except (ValueError, TypeError):
        return "{}"
    kept = {name: _numbers(part, name.rpartition(".")[2] in _LORA_WORDS) for name, part in settings.items()}
    return text if kept == settings else json.dumps(kept, indent=2, sort_keys=True)


def _numbers(value: Any, words: bool) -> Any:
    """Return a value with null in the place of words, unless these may leave."""
    if isinstance(value, dict):
        return {name: _numbers(part, words) for name, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part, words) for part in value]
    return (shareable(value) if words else None) if isinstance(value, str) else value


def _fitting(folder: Path, pattern: str) -> Iterator[str]:
    """Yield the paths below a folder that fit a pattern; what is behind a link is not looked at."""
    first, _, rest = pattern.partition("/")
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    for name in fnmatch.filter(names, first):
        if rest and not (folder / name).is_symlink():
            yield from (f"{name}/{below}" for below in _fitting(folder / name, rest))
        else:
            yield f"{name}/{rest}" if rest else name


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[BinaryIO]:
    """Open a file below a folder, step by step without following a link."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise _leads_out(name, folder)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            here = "/".join(parts[:number])
            mode = os.stat(part, dir_fd=place, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                raise _leads_out(here, folder)
            if not (stat.S_ISREG if last else stat.S_ISDIR)(mode):
                raise HubError(
                    f"folder: {here} is no regular {'file' if last else 'folder'}, so it is not opened; take "
                    "it away"
                )
            flags = os.O_RDONLY | os.O_NOFOLLOW | (os.O_NONBLOCK if last else os.O_DIRECTORY)
            deeper = os.open(part, flags, dir_fd=place)
            os.close(place)
            place = deeper
    except OSError as error:
        os.close(place)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):  # it became a link since it was looked at
            raise _leads_out(name, folder) from error
        raise HubError(
            f"folder: {folder} has no file {name} that can be read; give a folder that is finished"
        ) from error
    except HubError:
        os.close(place)
        raise
    with os.fdopen(place, "rb") as stream:
        yield stream


def _leads_out(name: str, folder: Path) -> HubError:
    return HubError(
        f"folder: {name} is a link, or leads out of {folder.name}, and its target may be private; put the "
        "file itself there (cp -rL copies a folder without its links)"
    )


def _copy(source: BinaryIO, target: BinaryIO, name: str) -> None:
    """Copy an open file, and see that it stayed what it was."""
    before = os.fstat(source.fileno())
    try:
        shutil.copyfileobj(source, target, 2**20)
        target.flush()
    except OSError as error:
        raise HubError(
            f"folder: {name} cannot be copied to {tempfile.gettempdir()} ({error.strerror}): what is pushed "
            "is copied first; make room there, or name another folder by TMPDIR"
        ) from error
    after = os.fstat(source.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise HubError(f"folder: {name} changes while it is read; push when the run has ended")
