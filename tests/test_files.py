"""Files and folders appear in one piece, whatever happens meanwhile."""

import contextlib
import os
from pathlib import Path

import pytest

from skindiff.files import PARTIAL, replacing, replacing_folder, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_old_or_new_and_never_half(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_atomically(path, "old")
    with contextlib.suppress(RuntimeError), replacing(path) as partial:
        partial.write_text("ha")
        assert path.read_text() == "old"
        raise RuntimeError
    assert (path.read_text(), names(path.parent)) == ("old", ["file.txt"])
    write_atomically(path, b"new\n", shared=True, durable=True)
    assert (path.read_bytes(), names(path.parent)) == (b"new\n", ["file.txt"])


def test_processes_that_share_a_file_write_under_names_of_their_own(tmp_path: Path) -> None:
    with replacing(tmp_path / "file", shared=True) as partial:
        partial.write_text("")
        assert partial.name == f".file.{os.getpid()}{PARTIAL}"


def test_a_kill_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*arguments: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "file"
    write_atomically(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    write_atomically(path, "new")
    assert names(tmp_path) == ["file"], "the next write clears up"


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for content in ("one", "two"):
        with replacing_folder(folder) as partial:
            (partial / content).write_text(content)
            assert not (folder / content).exists()
        assert (names(folder), names(tmp_path)) == ([content], ["folder"])
    with contextlib.suppress(RuntimeError), replacing_folder(folder) as partial:
        (partial / "three").write_text("")
        raise RuntimeError
    assert names(folder) == ["two"]
    with replacing_folder(folder) as partial:
        assert names(partial) == [], "what a failure left is not taken for new"
