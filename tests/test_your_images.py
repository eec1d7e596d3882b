"""The walk of docs/your_images.md, from a folder of images to a report, cell by cell with fewer steps."""

import csv
from pathlib import Path

import pytest

import skindiff
from tests import readme
from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "your_images.md").read_text(encoding="utf-8")
SMALL = {
    "steps=40, batch_size=14": "steps=2, batch_size=4",
    "steps=60, batch_size=8": "steps=2, batch_size=4",
    "steps=14": "steps=4",
    "skindiff.evaluate(corpus, split, synthetic)": (
        "skindiff.evaluate(corpus, split, synthetic, bootstrap_replicates=100)"
    ),
}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the walk describes it, of drawings, in the working directory."""
    drawn = skindiff.load_corpus(
        "phantom", classes=["nodule", "ring"], repeat_share=0.0,
        images_per_class={"I": 3, "II": 2, "V": 3, "VI": 2},
    )  # fmt: skip
    folder = tmp_path / "photos"
    lines = []
    for row in drawn.dataset:
        file = f"{drawn.class_names[row['label']]}/{row['image_id'].replace('/', '-')}.png"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        row["image"].save(folder / file)
        lines.append([file, row["skin_type"], row["group_id"]])
    with (folder / "metadata.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file_name", "skin_type", "group_id"], *lines])
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.slow
def test_the_walk_ends_in_a_report(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(block.text for block in readme.blocks(TEXT) if block.language == "python")
    for full, small in SMALL.items():
        assert full in text, f"the walk no longer says {full}"
        text = text.replace(full, small)
    cells: dict[str, object] = {}
    exec(compile(text, "docs/your_images.md", "exec"), cells)
    said = capsys.readouterr().out
    assert "20 ['nodule', 'ring'] [] []" in said
    assert "real+syn" in said
    assert (photos.parent / "kept" / "report" / "report.html").is_file()
    assert list((photos.parent / "kept" / "synthetic" / "data").glob("synthetic-*.parquet"))
