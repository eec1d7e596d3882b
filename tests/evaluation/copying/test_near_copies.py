"""A re-drawn photograph is told from one that is merely alike, whatever was done to its colours."""

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image, ImageFilter

from skindiff.errors import SynthesisError
from skindiff.evaluation.copying.near_copies import (
    THRESHOLD,
    fingerprint,
    load_near_copies,
    near_copies,
    structures,
)


def photograph(seed: int, size: int = 48) -> Image.Image:
    """Skin with a lesion of its own place, size and grain."""
    stream = np.random.default_rng(seed)
    grain = Image.fromarray(stream.integers(60, 200, (size, size, 3), dtype=np.uint8))
    y, x = np.mgrid[:size, :size] / size
    centre, width = stream.uniform(0.25, 0.75, 2), stream.uniform(0.05, 0.15)
    lesion = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / width**2)[..., None]
    ground = np.asarray(grain.filter(ImageFilter.GaussianBlur(3)), float)
    return Image.fromarray((ground * (1 - 0.5 * lesion)).clip(0, 255).astype(np.uint8))


def recoloured(image: Image.Image) -> Image.Image:
    """The same picture on darker skin, with a little noise."""
    values = np.asarray(image, float) * (0.6, 0.45, 0.4) + 10
    noise = np.random.default_rng(9).normal(0, 3, values.shape)
    return Image.fromarray((values + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture
def sources() -> Dataset:
    images = [photograph(seed) for seed in range(8)]
    groups = ["patient-0", "patient-0", *(f"patient-{row}" for row in range(2, 8))]
    return Dataset.from_dict(
        {"image": images, "image_id": [f"s{row}" for row in range(8)], "group_id": groups}
    )


def drawn(images: list[Image.Image], source_ids: list[str | None]) -> Dataset:
    names = [f"d{row}" for row in range(len(images))]
    return Dataset.from_dict({"image": images, "image_id": names, "source_id": source_ids})


def test_copies_are_found_with_the_group_they_show(sources: Dataset, tmp_path: Path) -> None:
    copy = recoloured(photograph(0))
    mirrored = recoloured(photograph(3)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    images = drawn([copy, photograph(100), mirrored], ["s0", "s1", "s4"])

    report = near_copies(images, sources)

    first, new, wrong = report.rows
    assert (first.nearest_source, first.nearest_group, first.of_own_group) == ("s0", "patient-0", True)
    assert first.similarity == first.own_similarity > THRESHOLD
    assert new.similarity < THRESHOLD
    assert (wrong.nearest_source, wrong.nearest_group) == ("s3", "patient-3")
    assert (wrong.own_group, wrong.of_own_group) == ("patient-4", False)
    assert report.copies == sorted([first, wrong], key=lambda row: -row.similarity)
    summary = report.summary()
    assert (summary["near_copies"], summary["near_copies_of_own_group"], summary["groups_copied"]) == (
        2,
        1,
        2,
    )
    assert summary["between_sources"]["p100"] < THRESHOLD
    assert report.fingerprint == fingerprint(images) != fingerprint(images.select([0, 1]))
    report.save(tmp_path)
    assert load_near_copies(tmp_path) == report
    assert load_near_copies(tmp_path / "elsewhere") is None


def test_images_of_no_source_are_compared_with_all(sources: Dataset) -> None:
    report = near_copies(drawn([recoloured(photograph(5)), photograph(101)], [None, None]), sources)
    assert [row.own_similarity for row in report.rows] == [None, None]
    assert [row.image_id for row in report.copies] == ["d0"]
    assert not report.rows[0].of_own_group
    assert report.summary()["own_similarity"] is None


def test_an_image_that_shows_nothing_is_like_nothing(sources: Dataset) -> None:
    plain = Image.new("RGB", (48, 48), (120, 80, 60))
    assert structures([plain]).tolist() == [[0.0] * 256]
    assert near_copies(drawn([plain], [None]), sources).rows[0].similarity == 0.0


def test_the_sources_must_be_those_it_was_drawn_from(sources: Dataset) -> None:
    with pytest.raises(SynthesisError, match="sources: source 'elsewhere' is not among them"):
        near_copies(drawn([photograph(0)], ["elsewhere"]), sources)
    with pytest.raises(SynthesisError, match="sources: there are none"):
        near_copies(drawn([photograph(0)], [None]), sources.select([]))
