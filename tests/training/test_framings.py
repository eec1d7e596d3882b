"""What SDXL is told of an image is true to how it was resized and cut."""

from pathlib import Path

import pytest
from datasets import Dataset
from PIL import Image

from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.crops import Crop, CropKind
from skindiff.training.framings import framings


def cut(folder: Path, kind: CropKind, box: tuple[int, int, int, int] = (0, 0, 1, 1)) -> Dataset:
    """A picture of 600 x 400 pixels, cut by a crop and kept at 64 pixels."""
    rows = Dataset.from_dict({"image": [Image.new("RGB", (600, 400), "tan")], "image_id": ["one"]})
    return resize_to_cache(rows, 64, folder, crop=Crop(kind, 0.0, {"one": box})).dataset


@pytest.mark.parametrize(
    ("kind", "expected", "mirrored"),
    [
        ("centre", [400, 600, 0, 32, 128, 128], [400, 600, 0, 32, 128, 128]),
        ("pad", [400, 600, 0, 0, 128, 128], [400, 600, 0, 0, 128, 128]),
        ("stretch", [400, 600, 0, 0, 128, 128], [400, 600, 0, 0, 128, 128]),
        ("longest", [400, 600, 0, 0, 104, 160], [400, 600, 0, 0, 104, 160]),
        ("box", [400, 600, 128, 256, 128, 128], [400, 600, 128, 384, 128, 128]),
    ],
)
def test_the_crop_is_told_at_the_scale_of_the_image(
    tmp_path: Path, kind: CropKind, expected: list[int], mirrored: list[int]
) -> None:
    found = framings(cut(tmp_path, kind, (200, 100, 100, 100)), 128)
    assert found.tolist() == [[expected, mirrored]]


def test_without_a_record_nothing_was_cut(tmp_path: Path) -> None:
    rows = cut(tmp_path, "centre").remove_columns("framed")
    assert framings(rows, 128)[0, 0].tolist() == [128, 128, 0, 0, 128, 128]
