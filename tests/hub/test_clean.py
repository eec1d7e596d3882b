import io
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skindiff.errors import HubError
from skindiff.hub.clean import (
    clean_png,
    shareable,
    without_folders,
    without_folders_in_words,
)
from skindiff.hub.gates import in_words, refuse_file_names


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("data_dir: /home/alice/clinic/photos", "data_dir: photos"),
        ("--config=~/secret/a.yaml -o ../alice/runs/x", "--config=a.yaml -o x"),
        (r"C:\Users\alice\photos\set", "set"),
        ("see https://example.org/a/b and eczema/psoriasis, 3/4", None),
        ("push --token hf_abcdefghijklmnopqrst", "push --token ***"),
        ('{"a": "/data/x/y.csv", "b": 1}', '{"a": "y.csv", "b": 1}'),
    ],
)
def test_folders_of_this_machine_and_tokens_are_cut_out(text: str, clean: str | None) -> None:
    assert without_folders(text) == (text if clean is None else clean)


PATHS = (
    "/home/alice/my photos/set",
    "/home/alice/photos, old/set/",
    " /home/alice/set ",
    "file:///home/alice/set",
    "file:/home/al ice/set",
    "C:/Users/alice/set",
    "c:\\Users\\alice b\\set\\",
    r"\\host-alice\share\set",
    "//host-alice/share/set",
    "host:/home/alice/set",
    "alice@host:/photos/set",
    "~/alice/set",
    "~alice/set",
    "$HOME/alice/set",
    "${ALICE}/set",
    r"%USERPROFILE%\alice\set",
    "../alice/set",
    "..\\alice\\set",
    "smb://alice/photos/set",
    "s3://alice bucket/set",
    "/home/it's alice; (really)/set",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_value_that_is_a_path_is_cut_to_its_end(path: str) -> None:
    assert without_folders(path) == "set"
    assert shareable({"a": [{"b": path}], path: 1}) == {"a": [{"b": "set"}], "set": 1}
    (word,) = shlex.split(without_folders_in_words(f"x {shlex.quote(path)}"))[1:]
    assert word == "set"
    assert "alice" not in without_folders_in_words(f"x --data_dir={shlex.quote(path)} y")


@pytest.mark.parametrize("path", [path.strip() for path in PATHS if not set(path) & set(",;()'")])
def test_a_path_amid_words_loses_its_folders(path: str) -> None:
    for text in (
        f"it lies in {path}",
        f"data_dir: {path}\nnext: 1",
        f'{{"a": "{path}"}}',
        f"--config={path}",
    ):
        assert "alice" not in without_folders(text).lower()
        assert "set" in without_folders(text)


def test_roots_and_logins_leave_nothing() -> None:
    for root in ("~", "~alice", "/", "C:\\", "..", "alice:/", "$ALICE/", "file:///"):
        assert without_folders(root) == ""
    assert without_folders("https://alice:word@example.org/a") == "https://example.org/a"
    kept = ("~5 mm", "3/4", "1. x", "me/base@main+ab12", "hf-hub:timm/x", "probe:resnet18", "a: b", "±1 / 2")
    assert [without_folders(text) for text in kept] == list(kept)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_loses_everything_but_its_pixels(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x010E] = "alice, born 1980"
    file = io.BytesIO()
    image.save(file, kind, exif=exif, quality=95)
    assert b"alice" in file.getvalue()
    clean = clean_png(file.getvalue())
    assert b"alice" not in clean
    with Image.open(io.BytesIO(clean)) as opened, Image.open(file) as before:
        assert not opened.getexif()
        assert opened.info == {}
        np.testing.assert_array_equal(np.asarray(opened), np.asarray(before.convert("RGB")))
    with pytest.raises(HubError, match="cannot be decoded"):
        clean_png(b"no image")


def test_a_reason_is_words() -> None:
    assert in_words(None) is None
    assert in_words(" all  patients\nagreed ") == "all patients agreed"
    for empty in ("", "yes", "I agree"):
        with pytest.raises(HubError, match="gives no reason; write one"):
            in_words(empty)


def test_a_report_that_names_a_file_of_the_corpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audit.csv").write_text("image_id,status,group_id,reason\neczema/smith.jpg,ok,g,\n")
    refuse_file_names(tmp_path, ["eczema was classified well", "| image_id |"])
    with pytest.raises(HubError, match=r"'eczema/smith\.jpg'"):
        refuse_file_names(tmp_path, ["| worst: | eczema/smith.jpg |"])
