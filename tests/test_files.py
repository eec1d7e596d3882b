"""Files and folders appear in one piece, whatever happens meanwhile."""

import contextlib
import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from skindiff.files import PARTIAL, disk_is_full, lies_in, replacing, replacing_folder, write_atomically


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


def test_a_full_disk_is_known_from_what_each_library_makes_of_it(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    tensor = torch.zeros(100_000)
    writes = [
        lambda: save_file({"a": tensor}, tmp_path / "a.safetensors"),
        lambda: torch.save({"a": tensor}, tmp_path / "a.pt"),
        lambda: (tmp_path / "a").write_bytes(bytes(100_000)),
        lambda: write_atomically(tmp_path / "b", bytes(100_000)),
    ]
    for write in writes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
        try:
            with pytest.raises(Exception) as error:  # of each library its own
                write()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert disk_is_full(error.value)
    assert not disk_is_full(RuntimeError("CUDA error"))
    assert not disk_is_full(FileNotFoundError(2, "no such file"))


def test_a_link_lies_where_it_leads(tmp_path: Path) -> None:
    """A snapshot of the Hub's cache is all links, into the blobs of its repository and nowhere else."""
    repository = tmp_path / "datasets--me--run"
    snapshot, blobs = repository / "snapshots" / "0a1b", repository / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    for path in (snapshot / "own", blobs / "blob", tmp_path / "secret"):
        path.write_text("x")
    (snapshot / "blob").symlink_to("../../blobs/blob")
    (snapshot / "secret").symlink_to(tmp_path / "secret")
    lies = {name: lies_in(snapshot / name, snapshot) for name in ("own", "blob", "secret", "../up", "none")}
    assert lies == {"own": True, "blob": True, "secret": False, "../up": False, "none": True}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "blob").symlink_to(blobs / "blob")
    assert not lies_in(tmp_path / "run" / "blob", tmp_path / "run")
