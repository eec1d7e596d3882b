"""A re-drawn photograph is told from one that is merely alike, whatever was done to its colours."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.crops import Crop
from skindiff.errors import RunFolderError, SynthesisError
from skindiff.measures.copying.memorisation import near_copies
from skindiff.measures.copying.near_copies import REPORT_FILE, fingerprint, load_near_copies
from skindiff.measures.copying.threshold import THRESHOLD
from tests.measures.copying.photographs import drawn, photograph, recoloured


@pytest.fixture
def sources() -> Dataset:
    images = [photograph(seed) for seed in range(8)]
    groups = ["patient-0", "patient-0", *(f"patient-{row}" for row in range(2, 8))]
    return Dataset.from_dict(
        {"image": images, "image_id": [f"s{row}" for row in range(8)], "group_id": groups}
    )


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


def test_a_report_of_the_former_measure_is_none(sources: Dataset, tmp_path: Path) -> None:
    path = near_copies(drawn([photograph(0)], [None]), sources).save(tmp_path)
    content = json.loads(path.read_text())
    del content["measure"], content["sha256"]
    (tmp_path / REPORT_FILE).write_text(json.dumps(content))
    assert load_near_copies(tmp_path) is None


def test_images_of_no_source_are_compared_with_all(sources: Dataset) -> None:
    report = near_copies(drawn([recoloured(photograph(5)), photograph(101)], [None, None]), sources)
    assert [row.own_similarity for row in report.rows] == [None, None]
    assert [row.image_id for row in report.copies] == ["d0"]
    assert not report.rows[0].of_own_group
    assert report.summary()["own_similarity"] is None


def test_an_image_that_shows_nothing_is_like_nothing(sources: Dataset) -> None:
    plain = Image.new("RGB", (48, 48), (120, 80, 60))
    assert near_copies(drawn([plain], [None]), sources).rows[0].similarity == 0.0


def test_its_own_group_is_set_aside_from_the_others(sources: Dataset) -> None:
    # s0 and s1 are one patient's; what was drawn from s1 shows s0, and is like nobody else.
    images = drawn([recoloured(photograph(0)), recoloured(photograph(4))], ["s1", "s0"])
    own, foreign = near_copies(images, sources).rows
    assert (own.nearest_source, own.of_own_group, own.own_similarity) == ("s0", True, own.similarity)
    assert own.other_group not in ("patient-0", None)
    assert own.other_similarity < THRESHOLD < own.similarity
    assert (foreign.other_source, foreign.other_similarity) == ("s4", foreign.similarity)
    assert foreign.own_similarity is not None
    assert foreign.own_similarity < THRESHOLD < foreign.similarity


def test_the_sources_must_be_those_it_was_drawn_from(sources: Dataset) -> None:
    with pytest.raises(SynthesisError, match="sources: source 'elsewhere' is not among them"):
        near_copies(drawn([photograph(0)], ["elsewhere"]), sources)
    with pytest.raises(SynthesisError, match="sources: there are none"):
        near_copies(drawn([photograph(0)], [None]), sources.select([]))


def test_a_damaged_report_is_not_believed(sources: Dataset, tmp_path: Path) -> None:
    path = near_copies(drawn([photograph(0)], [None]), sources).save(tmp_path)
    content = path.read_text()
    assert load_near_copies(tmp_path) is not None
    for damaged in (content.replace("0.", "0.0", 1), content[:-9], "", "[1, 2]", '{"sha256": "0"}'):
        path.write_text(damaged)
        with pytest.raises(RunFolderError, match=r"near_copies.json is not what was written"):
            load_near_copies(tmp_path)


def test_a_copy_in_the_shape_of_its_bucket_is_found(tmp_path: Path) -> None:
    """The sources lie in filled squares, and what was made of them has their own shape."""
    wide = [
        Image.fromarray(np.concatenate([np.asarray(photograph(seed, 96)) for seed in (row, row + 50)], 1))
        for row in range(6)
    ]
    names = [f"s{row}" for row in range(6)]
    pictures = Dataset.from_dict(
        {"image": wide, "image_id": names, "group_id": names},
        features=Features(
            {"image": ImageFeature(), "image_id": Value("string"), "group_id": Value("string")}
        ),
    )
    sources = resize_to_cache(pictures, 96, tmp_path, crop=Crop("longest")).dataset
    made = [recoloured(image) for image in sources["bucketed"]]
    report = near_copies(drawn(made, names), sources)
    assert [row.nearest_source for row in report.rows] == names
    assert all(row.similarity > THRESHOLD for row in report.rows)
