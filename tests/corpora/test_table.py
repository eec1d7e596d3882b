from pathlib import Path

from PIL import Image

from skindiff.corpora.schema import REAL_COLUMNS
from skindiff.corpora.table import ImageRow, assemble


def test_attributes_follow_the_columns_of_every_corpus_in_their_order(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    known = {"site": "arm", "age": None}
    row = ImageRow(tmp_path / "a.png", "nevus", None, "a", None, known)
    plain = ImageRow(tmp_path / "a.png", "nevus", None, "a", None)

    loaded = assemble([row], ["nevus", "eczema"], "mine").dataset

    assert loaded.column_names == [*REAL_COLUMNS, "site", "age"]
    assert (loaded[0]["site"], loaded[0]["age"]) == ("arm", None)
    assert assemble([plain], ["nevus", "eczema"], "mine").dataset.column_names == list(REAL_COLUMNS)
