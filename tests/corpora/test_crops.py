from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import skindiff
from skindiff.corpora.crops import CENTRE, Crop
from skindiff.corpora.pixel_notes import ImageRefused


def picture(width: int, height: int) -> Image.Image:
    """Red is the place from left to right, green from top to bottom."""
    rows, columns = np.indices((height, width))
    return Image.fromarray(np.stack([columns, rows, np.full_like(rows, 90)], -1).astype(np.uint8))


def test_the_middle_square_is_what_it_was() -> None:
    image = picture(60, 30)
    square, frame = CENTRE.square(image, 10, "a")
    expected = image.resize((10, 10), Image.Resampling.LANCZOS, box=(15, 0, 45, 30))
    assert square.tobytes() == expected.tobytes()
    assert frame == (15, 0, 30, (15, 0, 45, 30))


def test_pad_shows_all_and_fills_with_the_rim() -> None:
    square, frame = Crop("pad").square(picture(60, 30), 60, "a")
    assert frame == (0, -15, 60, (0, 0, 60, 30))
    values = np.asarray(square, int)
    assert np.array_equal(values[15:45], np.asarray(picture(60, 30)))
    border = np.concatenate([values[:15], values[45:]])
    assert (border == border[0, 0]).all()
    assert np.abs(border[0, 0] - (29.5, 14.5, 90)).max() <= 1  # the mean of the rim
    line, _ = Crop("pad").square(picture(200, 1), 20, "a")
    assert line.size == (20, 20)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((40, 30), (0, 0, 40, 30)),  # 4:3
        ((42, 30), (1, 0, 41, 30)),  # between 4:3 and 3:2, nearer to 4:3
        ((30, 44), (0, 0, 30, 44)),  # 3:2, of which it lacks a pixel: the short side would lose less than one
        ((31, 30), (0, 0, 30, 30)),
        ((100, 20), (30, 0, 70, 20)),  # the longest shape is 2:1
    ],
)
def test_longest_cuts_to_the_nearest_shape(size: tuple[int, int], shown: tuple[int, ...]) -> None:
    square, frame = Crop("longest").square(picture(*size), 32, "a")
    assert square.size == (32, 32)
    assert np.abs(np.subtract(frame.shown, shown)).max() <= 1
    assert frame.side == max(frame.shown[2] - frame.shown[0], frame.shown[3] - frame.shown[1])


def test_a_box_is_cut_with_its_margin_inside_of_the_picture() -> None:
    crop = Crop(
        "box", margin=0.5, regions={"a": (40, 10, 10, 8), "edge": (90, 0, 10, 10), "all": (0, 0, 100, 50)}
    )
    image = picture(100, 60)
    square, frame = crop.square(image, 20, "a")
    assert frame == (35, 4, 20, (35, 4, 55, 24))
    assert np.array_equal(np.asarray(square), np.asarray(image)[4:24, 35:55])
    assert crop.square(image, 20, "edge")[1] == (80, 0, 20, (80, 0, 100, 20))  # moved in
    square, frame = crop.square(image, 20, "all")
    assert frame == (-50, -70, 200, (0, 0, 100, 60))
    values = np.asarray(square, int)
    assert (values[0] == values[-1]).all()


def test_boxes_that_cannot_be_cut_are_refused_in_words() -> None:
    image = picture(20, 20)
    regions = {"flat": (0, 0, 0, 5), "out": (15, 0, 10, 5), "before": (-1, 0, 5, 5)}
    for name, says in (
        ("flat", "its box is 0 x 5 pixels"),
        ("out", r"its box \(15, 0, 10 x 5\) reaches out of the picture \(20 x 20\)"),
        ("before", "reaches out"),
        ("none", "corpus.crop is box, and no box is given for it"),
    ):
        with pytest.raises(ImageRefused, match=says):
            Crop("box", regions=regions).square(image, 8, name)


def test_a_mask_is_cut_around_what_is_bright(tmp_path: Path) -> None:
    image, files = picture(40, 30), {}
    for name, bright in (("usual", 255), ("labels", 1)):
        mask = np.zeros((30, 40), np.uint8)
        mask[5:15, 10:20] = bright
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
        files[name] = tmp_path / f"{name}.png"
    Image.new("L", (40, 30)).save(tmp_path / "empty.png")
    Image.new("L", (20, 15), 255).save(tmp_path / "small.png")
    files |= {name: tmp_path / f"{name}.png" for name in ("empty", "small", "absent")}
    crop = Crop("mask", margin=0.0, regions=files)
    for name in ("usual", "labels"):
        square, frame = crop.square(image, 10, name)
        assert frame == (10, 5, 10, (10, 5, 20, 15))
        assert np.array_equal(np.asarray(square), np.asarray(image)[5:15, 10:20])
    for name, says in (
        ("empty", "its mask is empty"),
        ("small", "its mask has 20 x 15 pixels, and the picture 40 x 30"),
        ("absent", "its mask cannot be opened: No such file"),
    ):
        with pytest.raises(ImageRefused, match=says):
            crop.square(image, 10, name)
    assert crop.key("usual") != crop.key("labels") != crop.key("absent")


def test_a_table_gives_boxes_and_masks(tmp_path: Path) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[4:20, 8:24] = 255
    Image.fromarray(mask).save(tmp_path / "outline.png")
    for name in "ab":
        picture(40, 40).save(tmp_path / f"{name}.png")
    (tmp_path / "table.csv").write_text(
        "file,dx,x,y,w,h,outline\na,one,8,4,16,16,outline\nb,two,20,20,16,16,outline\n"
    )
    columns = {
        "file": "file",
        "label": "dx",
        "patient": "none",
        "box": ["x", "y", "w", "h"],
        "mask": "outline",
    }
    given = {"columns": columns, "audit": False, "crop_margin": 0.0, "image_size": 16}
    boxed, masked = (skindiff.load_corpus(tmp_path, crop=crop, **given) for crop in ("box", "mask"))
    whole = np.asarray(picture(40, 40))
    for corpus, row, left, top in (
        (boxed, 0, 8, 4),
        (boxed, 1, 20, 20),
        (masked, 0, 8, 4),
        (masked, 1, 8, 4),
    ):
        square = np.asarray(corpus.dataset[row]["image"])
        assert np.array_equal(square, whole[top : top + 16, left : left + 16])
    assert boxed.fingerprint != masked.fingerprint
