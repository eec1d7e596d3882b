"""README's picture: phantom images alone, small, and drawn again from any finished study of them."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from matplotlib.figure import Figure
from PIL import Image as PILImage

from scripts import draw_readme_picture as picture
from tests.conftest import REPOSITORY


def test_readme_shows_a_picture_that_is_small() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (place,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    path = REPOSITORY / place
    assert path.stat().st_size <= picture.LARGEST_BYTES
    with PILImage.open(path) as opened:
        opened.load()
        assert opened.width >= 900
        assert opened.info.keys() <= {"dpi"}


def image(shade: int) -> PILImage.Image:
    return PILImage.new("RGB", (16, 16), (shade, shade * 3 // 4, shade * 5 // 8))


def corpus(shades: Sequence[int] = (200,) * 4) -> Dataset:
    rows = len(shades)
    features = Features(
        image=Image(),
        label=ClassLabel(names=["ring", "nodule"]),
        skin_type=Value("string"),
        image_id=Value("string"),
    )
    return Dataset.from_dict(
        {
            "image": [image(shade) for shade in shades],
            "label": [row % 2 for row in range(rows)],
            "skin_type": ["I"] * rows,
            "image_id": [f"source-{row}" for row in range(rows)],
        },
        features=features,
    )


def drawn(sources: dict[str, list[str]]) -> Dataset:
    pairs = [(source, kind) for source, kinds in sources.items() for kind in kinds]
    columns = {
        "image": [image(90 if kind == "V" else 50) for _, kind in pairs],
        "source_id": [source for source, _ in pairs],
        "skin_type": [kind for _, kind in pairs],
    }
    return Dataset.from_dict(
        columns, features=Features(image=Image(), source_id=Value("string"), skin_type=Value("string"))
    )


def test_one_source_of_each_class_that_was_drawn_as_both_types() -> None:
    made = drawn(
        {"source-0": ["V"], "source-1": ["VI", "V"], "source-2": ["V", "VI"], "source-3": ["V", "VI"]}
    )
    chosen = [picture.choose(made, corpus(), seed) for seed in range(12)]
    for shown in chosen:
        assert [one.label for one in shown] == ["nodule", "ring"]
        for one in shown:
            assert list(one.images) == ["I", "V", "VI"]  # whichever of the two was drawn first
            assert [int(pixels[0, 0, 0]) for pixels in one.images.values()] == [200, 90, 50]


def test_chance_chooses_and_the_seed_repeats_it() -> None:
    sources = corpus(range(100, 140))
    made = drawn({name: ["V", "VI"] for name in sources["image_id"]})

    def first(seed: int) -> list[int]:
        return [int(one.images["I"][0, 0, 0]) for one in picture.choose(made, sources, seed)]

    assert first(0) == first(0)
    assert len({tuple(first(seed)) for seed in range(4)}) > 1


def test_the_picture_has_images_and_scores(tmp_path: Path) -> None:
    shown = picture.choose(drawn({"source-0": ["V", "VI"], "source-1": ["V", "VI"]}), corpus(), 0)
    ends = {"ci_low": 0.2, "mean": 0.3, "ci_high": 0.4, "cells": 5, "images": 30}
    path = tmp_path / "picture.png"
    picture.draw(shown, [{"arm": arm, **ends} for arm in ("real", "real+syn", "real+colour")], path)
    before = path.stat().st_size
    picture.shrink(path)
    assert path.stat().st_size < before
    with PILImage.open(path) as opened:
        colours = {tuple(pixel[:3]) for _, pixel in opened.convert("RGB").getcolors(2**20)}  # type: ignore[union-attr,index]
    assert all(
        any(np.abs(np.subtract(one, image(shade).getpixel((0, 0)))).max() < 9 for one in colours)
        for shade in (200, 90, 50)
    )


def test_photographs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("corpus: {name: imagefolder, imagefolder: {data_dir: DIR}}\n")
    with pytest.raises(SystemExit, match="README shows no photographs"):
        picture.main(tmp_path, tmp_path / "picture.png")
    assert not (tmp_path / "picture.png").exists()


def test_chance_is_on_the_axis() -> None:
    axes = Figure().subplots()
    row = {"ci_low": 0.3, "mean": 0.4, "ci_high": 0.5, "cells": 5, "images": 30}
    picture._scores(axes, [{"arm": "real", **row}], classes=7)  # type: ignore[typeddict-item]
    dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]  # type: ignore[index]
    assert dashed == [100 / 7]
    assert axes.get_xlim()[0] < 100 / 7
    assert "chance 14" in [text.get_text() for text in axes.texts]
