from pathlib import Path

import pytest

from skindiff.corpora.fitzpatrick17k import image_files
from skindiff.corpora.image_files import IMAGE_SUFFIXES, is_image, not_read


def test_what_is_not_read_is_counted_by_kind() -> None:
    files = [Path(f"{number}.dcm") for number in range(3)] + [Path("a.txt"), Path("LICENSE"), Path("b.JPG")]
    said = not_read([file for file in files if file.suffix not in IMAGE_SUFFIXES])
    assert not_read([Path("a.jpg"), Path("b.TIFF")]) == []
    assert not_read([Path("a.txt")]) == ["1 file not read, such as .txt (1)"]
    assert said[0].endswith(".txt (1), names without an ending (1)")
    many = [Path(f"a.{letter}") for letter in "pqrstuv"]
    assert not_read(many)[0].startswith("7 files not read, such as .p (1)")
    assert not_read(many)[0].endswith("and 2 other kinds")


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skindiff.corpora.image_files.IMAGE_SUFFIXES", (".jpg",))
    assert not_read([Path("a.dcm"), Path("b.dcm"), Path("c.heic"), Path("d.jpg")]) == [
        "3 files not read, such as .dcm (2; install skindiff[dicom] to read them), "
        ".heic (1; install skindiff[heic] to read them)"
    ]


def test_a_photograph_goes_before_other_files_of_its_name(tmp_path: Path) -> None:
    for name in ("a.bmp", "a.JPG", "a.png", "b.tiff", "c.txt", ".d.jpg"):
        (tmp_path / name).touch()
    assert {key: file.name for key, file in image_files(tmp_path).items()} == {"a": "a.JPG", "b": "b.tiff"}
    assert is_image(Path("x.AVIF"))
