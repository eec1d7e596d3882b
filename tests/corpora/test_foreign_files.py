"""Folders of images that others filled: links are followed, and what is no file is named and never opened."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skindiff.corpora.audit import AuditConfig, audit_images
from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.imagefolder import ImageFolderConfig, load_imagefolder
from skindiff.corpora.table import read_csv
from skindiff.errors import CorpusError

LEFT_OUT = {
    "one/loop.png": "a link that leads to itself",
    "one/nowhere.png": "a link that leads nowhere",
    "one/pipe.png": "no regular file",
    "one/device.png": "no regular file",
    "one/folder.png": "no regular file",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes; of the first two files and one link, and what is no file."""
    rng = np.random.default_rng(0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("one", "two"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            noise = rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)
            Image.fromarray(noise).save(tmp_path / "images" / name / f"{number}.png")
    Image.fromarray(rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(elsewhere / "far.png")
    one = tmp_path / "images" / "one"
    (one / "linked.png").symlink_to(elsewhere / "far.png")
    (one / "loop.png").symlink_to("loop.png")
    (one / "nowhere.png").symlink_to("absent.png")
    (one / "device.png").symlink_to("/dev/zero")
    (one / "folder.png").mkdir()
    os.mkfifo(one / "pipe.png")
    (tmp_path / "images" / "three").symlink_to(tmp_path / "images" / "two")
    return tmp_path / "images"


@pytest.mark.timeout(30)
def test_links_are_followed_and_the_rest_is_quarantined_by_name(folder: Path, tmp_path: Path) -> None:
    loaded = load_imagefolder(ImageFolderConfig(str(folder)))
    found = dict(loaded.quarantined)
    assert found.keys() == LEFT_OUT.keys()
    assert all(says in found[name] for name, says in LEFT_OUT.items())
    ids = set(loaded.dataset["image_id"])
    assert {"one/linked.png", "three/0.png"} < ids
    assert len(ids) == 7
    cached = resize_to_cache(loaded.dataset, 16, tmp_path / "cache")
    assert len(cached.dataset) == 7


@pytest.mark.timeout(30)
def test_the_audit_opens_no_pipe_and_names_it(folder: Path) -> None:
    paths = {f"one/{path.name}": path for path in sorted((folder / "one").iterdir())}
    rows = audit_images(paths, AuditConfig(find_near_duplicates=False), None)
    assert [row.image_id for row in rows] == list(paths)
    undecodable = {row.image_id: row.reason for row in rows if row.status == "undecodable"}
    assert undecodable.keys() == LEFT_OUT.keys()
    assert all(says in undecodable[name] for name, says in LEFT_OUT.items())


@pytest.mark.timeout(30)
def test_a_table_that_is_none_is_refused_and_not_quoted(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "passwd"
    secret.write_text("root:hunter2:0:0\n")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "wide.csv").write_text("file_name\n" + "x" * 200_000)
    for place in (
        secret,
        tmp_path / "pipe.csv",
        tmp_path / "loop.csv",
        tmp_path / "wide.csv",
        Path("/dev/zero"),
    ):
        began = time.perf_counter()
        with pytest.raises(CorpusError) as error:
            load_imagefolder(ImageFolderConfig(str(folder), metadata=str(place)))
        assert time.perf_counter() - began < 5
        assert "hunter2" not in str(error.value)
        assert len(str(error.value)) < 500


def test_cells_keep_their_line_breaks_and_a_mark_at_the_start_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b'\xef\xbb\xbfname,other\r\n"a\nb",c\r\nshort\r\n')
    rows = read_csv(tmp_path / "table.csv", "csv", ("name",))
    assert rows == [{"name": "a\nb", "other": "c"}, {"name": "short", "other": ""}]


def test_an_image_that_announces_more_than_memory_holds_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "one" / "a.png")
    raw = bytearray((tmp_path / "one" / "a.png").read_bytes())
    raw[16:24] = (10**6).to_bytes(4, "big") * 2
    (tmp_path / "one" / "bomb.png").write_bytes(bytes(raw))
    loaded = load_imagefolder(ImageFolderConfig(str(tmp_path)))
    cached = resize_to_cache(loaded.dataset, 16, tmp_path / ".cache")
    assert [image_id for image_id, _ in cached.quarantined] == ["one/bomb.png"]
