"""The SHA-256 of every file that a run has written: finds damage and careless edits, and no forger.

Stages list theirs in ``done.json``, what lies at the top of a run is listed in ``files.json``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skindiff.errors import RunFolderError
from skindiff.files import real_path, write_atomically
from skindiff.foreign import read_json

DONE, MANIFEST = "done.json", "files.json"
STAGES, CONFIG_FILE = "stages", "config.yaml"
"""What tells a run from a folder with files of such names."""
Listed = Mapping[str, Sequence[Any]]
"""Bytes and SHA-256 of files, by their paths below a folder."""
_DEEP = 5
"""How many folders up a list is looked for."""


def hashes_of(folder: Path, *names: str) -> dict[str, list[Any]]:
    """Return size and SHA-256 of the files in a folder, or of some files and folders in it.

    Args:
        folder: names are relative to it; hidden files are left out.
        names: of files and folders; everything but the lists themselves when left out.
    """
    tops = [folder / name for name in names] if names else [folder]
    files = [path for top in tops for path in ([top] if top.is_file() else sorted(top.rglob("*")))]
    found: dict[str, list[Any]] = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (DONE, MANIFEST) and not path.name.startswith("."):
            found[name] = [path.stat().st_size, _sha256(path)]
    return found


def changed(folder: Path, listed: Listed) -> list[str]:
    """Return the listed files that are gone or not what they were; sizes are looked at first."""
    bad = []
    for name, (size, digest) in listed.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size or _sha256(path) != digest:
            bad.append(name)
    return bad


def record(folder: Path, *names: str) -> None:
    """List files and folders at the top of a run, in the place of what was listed of them before."""
    kept = {
        name: entry
        for name, entry in read_list(folder / MANIFEST).items()
        if not any(name == own or name.startswith(f"{own}/") for own in names)
    }
    listed = {**kept, **hashes_of(folder, *names)}
    write_atomically(folder / MANIFEST, json.dumps(listed, indent=1, sort_keys=True) + "\n")


def read_list(file: Path) -> dict[str, list[Any]]:
    """Return what a list says, nothing where there is none.

    Raises:
        RunFolderError: it is damaged itself.
    """
    if not file.is_file():
        return {}
    try:
        found = read_json(file)
        files = found.get("files", {}) if file.name == DONE else found
        if all(isinstance(size, int) and isinstance(digest, str) for size, digest in files.values()):
            return dict(files)
    except (ValueError, TypeError, AttributeError):
        pass
    raise RunFolderError(f"{file} is damaged; --resume makes it again")


def refuse_damaged(path: Path, copy: Path | None = None) -> None:
    """Check a file or folder of a run before it is read; one that no run has listed is taken as it is.

    Args:
        path: of the file or folder.
        copy: of the folder or of some of its files, which are checked in their place.

    Raises:
        RunFolderError: a file is gone, or is not what the run wrote.
    """
    place = real_path(path)
    for folder in list(place.parents)[:_DEEP] if place.is_file() else [place, *place.parents][:_DEEP]:
        lists = {folder / DONE: folder.parent.name == STAGES, folder / MANIFEST: _is_run(folder)}
        for file, ours in lists.items():
            if ours and file.is_file():
                below = "" if place == folder else place.relative_to(folder).as_posix()
                listed = {
                    name.removeprefix(below).lstrip("/"): entry
                    for name, entry in read_list(file).items()
                    if not below or name == below or name.startswith(f"{below}/")
                }
                if copy is not None:
                    listed = {name: entry for name, entry in listed.items() if (copy / name).is_file()}
                if bad := changed(place if copy is None else copy, listed):
                    raise RunFolderError(
                        f"{place / bad[0]} is not what its run wrote, or is gone; make it again by --resume "
                        "of that run"
                    )
                return


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG_FILE).is_file()


def discard_changed(folder: Path, listed: Listed) -> list[str]:
    """Delete the listed files that are not what they were; return their names, and those of missing ones."""
    bad = changed(folder, listed)
    for name in bad:
        (folder / name).unlink(missing_ok=True)
    return bad


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
