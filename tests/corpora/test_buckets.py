import io
import math
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image

from skindiff.corpora.buckets import (
    BUCKET,
    BUCKETED,
    FRAMED,
    SHAPES,
    SHOWN,
    STEP,
    bucket_of,
    bucket_place,
    bucket_size,
    in_bucket,
)
from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.crops import CENTRE, Crop, CropKind, as_square, laid, picture_of
from skindiff.corpora.schema import corpus_features
from skindiff.errors import CorpusError


def picture(width: int, height: int) -> Image.Image:
    """Red is the place from left to right, green from top to bottom."""
    rows, columns = np.indices((height, width))
    rows, columns = rows * 255 // max(1, height - 1), columns * 255 // max(1, width - 1)
    return Image.fromarray(np.stack([columns, rows, np.full_like(rows, 90)], -1).astype(np.uint8))


def corpus(*sizes: tuple[int, int], names: tuple[str, ...] = ()) -> Dataset:
    files = []
    for size in sizes:
        file = io.BytesIO()
        picture(*size).save(file, "PNG")
        files.append({"bytes": file.getvalue(), "path": None})
    ids = [f"{number}" for number in range(len(sizes))]
    columns = {"label": [0] * len(sizes), "skin_type": [None] * len(sizes), "image_id": ids, "group_id": ids}
    columns |= {"corpus": ["any"] * len(sizes), **{name: ["x"] * len(sizes) for name in names}}
    return Dataset.from_dict({"image": files, **columns}, features=corpus_features(["one"], names))


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((600, 600), "1:1"),
        ((600, 400), "3:2"),
        ((400, 600), "2:3"),
        ((4032, 3024), "4:3"),
        ((1080, 1920), "9:16"),
        ((1000, 100), "2:1"),
        ((1, 9), "1:2"),
    ],
)
def test_a_picture_goes_to_the_nearest_shape(size: tuple[int, int], bucket: str) -> None:
    assert bucket_of(*size) == bucket


def test_sizes_of_shapes_are_those_computed_by_hand() -> None:
    # 512 * sqrt(1.5) = 627.07 and 512 / sqrt(1.5) = 418.05, the nearest multiples of 8.
    assert bucket_size("3:2", 512) == (624, 416)
    assert bucket_size("2:3", 512) == (416, 624)
    assert bucket_size("1:1", 512) == (512, 512)
    # 64 * sqrt(1.5) = 78.4 and 52.3; of 4:3 73.9 and 55.4; of 2:1 90.5 and 45.3.
    assert [bucket_size(name, 64) for name in ("3:2", "4:3", "2:1")] == [(80, 56), (72, 56), (88, 48)]
    for side in (64, 128, 256, 512, 768, 1024):
        for shape in SHAPES:
            width, height = bucket_size(shape, side)
            assert width % STEP == height % STEP == 0
            assert width * height == pytest.approx(side**2, rel=0.12 if side == 64 else 0.07)
            wanted = math.prod(map(float, shape.split(":"))) / float(shape.split(":")[1]) ** 2
            assert width / height == pytest.approx(wanted, rel=0.12 if side == 64 else 0.06)


def test_a_picture_is_cut_to_its_middle_in_the_shape_of_its_bucket() -> None:
    seen = np.asarray(in_bucket(picture(600, 400), "3:2", 512), int)
    assert seen.shape == (416, 624, 3)
    assert seen[0, 0].tolist()[:2] == pytest.approx([0, 0], abs=1)  # all of it is there
    assert seen[-1, -1].tolist()[:2] == pytest.approx([255, 255], abs=1)
    flat = np.asarray(in_bucket(picture(1000, 100), "2:1", 512), int)
    assert flat.shape == (360, 728, 3)
    assert flat[0, [0, -1], 0].tolist() == pytest.approx([102, 153], abs=2)  # 40% to 60% of the width


def test_the_place_in_a_square_is_that_of_the_crop() -> None:
    assert bucket_place("3:2", 64) == (0, 11, 64, 53)  # 64 / 1.5 = 42.67, from 10.67 to 53.33
    for size in ((600, 400), (400, 600), (1920, 1080), (640, 480), (500, 400), (800, 400), (30, 30)):
        for side in (28, 64, 224):
            square, frame = Crop("longest").square(picture(*size), side, "a")
            place = bucket_place(bucket_of(*size), side)
            assert frame.part(side) == place
            again = laid(in_bucket(picture(*size), bucket_of(*size), 8 * side), bucket_of(*size), side)
            assert again.size == square.size
            inside = np.abs(np.asarray(again, int) - np.asarray(square, int))
            assert inside.mean() < 3


def test_longest_keeps_each_picture_in_its_shape_beside_its_square(tmp_path: Path) -> None:
    rows = corpus((600, 400), (300, 300), (300, 400))
    cached = resize_to_cache(rows, 64, tmp_path, crop=Crop("longest"))
    found = cached.dataset
    assert found[BUCKET] == ["3:2", "1:1", "3:4"]
    assert found[FRAMED][0] == [400, 600, 0, 0, 400, 600]
    assert [image.size for image in found[BUCKETED]] == [(80, 56), (64, 64), (56, 72)]
    assert [image.size for image in found["image"]] == [(64, 64)] * 3
    assert found[0][SHOWN] == [0, 11 / 64, 1, 53 / 64]
    assert picture_of(found[0]).size == (64, 42)
    assert picture_of(found[1]).size == (64, 64)
    for row, size in enumerate(((600, 400), (300, 300), (300, 400))):
        square, _ = Crop("longest").square(picture(*size), 64, str(row))
        assert np.array_equal(np.asarray(found[row]["image"]), np.asarray(square))
        own = in_bucket(picture(*size), found[row][BUCKET], 64)
        assert np.array_equal(np.asarray(found[row][BUCKETED]), np.asarray(own))
    again = resize_to_cache(rows, 64, tmp_path, crop=Crop("longest"))
    assert again.fingerprint == cached.fingerprint
    assert again.dataset[BUCKET] == found[BUCKET]


@pytest.mark.parametrize(("kind", "added"), [("centre", set()), ("stretch", set()), ("pad", {SHOWN})])
def test_other_crops_have_no_buckets(tmp_path: Path, kind: CropKind, added: set[str]) -> None:
    rows = corpus((600, 400), (300, 300))
    found = resize_to_cache(rows, 32, tmp_path, crop=Crop(kind)).dataset
    assert set(found.column_names) - set(rows.column_names) == {FRAMED, *added}
    stored = Dataset.load_from_disk(str(next(tmp_path.iterdir())))
    assert stored.column_names == [*rows.column_names, FRAMED]
    assert stored[FRAMED][0] == (
        [400, 600, 0, 100, 400, 500] if kind == "centre" else [400, 600, 0, 0, 400, 600]
    )
    if kind == "pad":
        assert found[SHOWN] == [[0, 5 / 32, 1, 27 / 32], [0, 0, 1, 1]]


def test_a_column_that_a_crop_adds_is_refused_by_name(tmp_path: Path) -> None:
    rows = corpus((60, 40), names=("bucket",))
    with pytest.raises(CorpusError, match=r"'bucket' is a column that corpus\.crop longest adds; rename"):
        resize_to_cache(rows, 32, tmp_path, crop=Crop("longest"))
    assert "bucket" in resize_to_cache(rows, 32, tmp_path, crop=CENTRE).dataset.column_names


def test_a_photograph_from_outside_becomes_the_square_of_a_crop() -> None:
    image = picture(60, 40)
    for kind in ("pad", "longest", "stretch"):
        assert as_square(image, 20, kind).tobytes() == Crop(kind).square(image, 20, "a")[0].tobytes()
    middle = as_square(image, 20, "centre")
    assert as_square(image, 20, "box").tobytes() == middle.tobytes()
    square = picture(20, 20)
    for kind in ("centre", "stretch", "pad", "longest", "box", "mask"):
        assert as_square(square, 20, kind).tobytes() == square.tobytes()
