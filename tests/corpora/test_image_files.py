from pathlib import Path

from skindiff.corpora.fitzpatrick17k import image_files
from skindiff.corpora.image_files import is_image, not_read


def test_what_is_not_read_is_counted_by_kind() -> None:
    assert not_read({}) == []
    assert not_read({".txt": 1}) == ["1 file is not read, such as .txt (1)"]
    assert not_read({".txt": 2, ".psd": 21}) == ["23 files are not read, such as .psd (21), .txt (2)"]
    many = not_read({f".{letter}": 1 for letter in "pqrstuv"})[0]
    assert many.startswith("7 files are not read, such as .p (1), .q (1)")
    assert many.endswith("and 2 other kinds")


def test_an_extra_that_would_read_them_is_named() -> None:
    # What is installed is read, and does not come here.
    assert not_read({".dcm": 2, ".heic": 1}) == [
        "3 files are not read, such as .dcm (2; install skindiff[dicom] to read them), "
        ".heic (1; install skindiff[heic] to read them)"
    ]


def test_a_photograph_goes_before_other_files_of_its_name(tmp_path: Path) -> None:
    for name in ("a.bmp", "a.JPG", "a.png", "b.tiff", "c.txt", ".d.jpg"):
        (tmp_path / name).touch()
    assert {key: file.name for key, file in image_files(tmp_path).items()} == {"a": "a.JPG", "b": "b.tiff"}
    assert is_image(Path("x.AVIF"))
