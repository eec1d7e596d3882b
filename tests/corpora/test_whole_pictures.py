"""Pictures that are one: whole, in another size or compression, at any size."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import skindiff
from recipes import medmnist_augment, medmnist_subsets
from skindiff.corpora.audit import AuditConfig, audit_images
from skindiff.corpora.deduplicated import REASON, deduplicated
from skindiff.corpora.splits import Split
from skindiff.corpora.whole_pictures import SIDE, alike, thumbnail, twins
from tests.corpora.test_near_duplicates import texture
from tests.recipes.test_published_settings import read


def test_a_thumbnail_knows_its_picture_in_any_size_and_no_other() -> None:
    pictures = [texture(seed) for seed in range(6)]
    table = np.stack([thumbnail(one) for one in pictures])
    assert np.linalg.norm(table, axis=1) == pytest.approx(np.ones(6))
    small = [np.asarray(Image.fromarray(one).resize((60, 48), Image.Resampling.LANCZOS)) for one in pictures]
    found = list(alike(np.stack([thumbnail(one) for one in small]), table))
    assert [(pair.first, pair.second) for pair in found] == [(place, place) for place in range(6)]
    flat = thumbnail(np.full((40, 50), 90, np.uint8))
    assert flat.shape == (SIDE * SIDE,)
    assert not flat.any()
    assert list(alike(flat[None], flat[None])) == []


def test_the_audit_joins_one_picture_in_two_sizes_and_mirrored_below_100_pixels(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    sides = {"large": (260, 200), "small": (78, 60), "other": (78, 60)}
    for name, (width, height) in sides.items():
        grey = texture(9 if name == "other" else 8, 200, 260)
        Image.fromarray(grey).resize((width, height), Image.Resampling.LANCZOS).save(tmp_path / f"{name}.png")
    with Image.open(tmp_path / "small.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")
        squeezed = io.BytesIO()
        image.save(squeezed, "JPEG", quality=40)
        (tmp_path / "squeezed.jpg").write_bytes(squeezed.getvalue())
    rows = audit_images({path.stem: path for path in tmp_path.iterdir()}, AuditConfig(), None)
    group_of = {row.image_id: row.group_id for row in rows}
    assert {name for name, group in group_of.items() if group == group_of["large"]} == {
        *("large", "small", "mirrored", "squeezed")
    }
    assert group_of["other"] == "other"


def test_breast_mnist_has_fewer_images_to_test_on_than_it_says(real_data: Path) -> None:
    corpus = skindiff.load_corpus("medmnist", data_dir=str(real_data / "medmnist"), image_size=28)
    whole = skindiff.make_split(corpus, "official")
    clean = skindiff.make_split(corpus, "official", deduplicated=True)
    assert (len(whole.validation), len(whole.test["all"])) == (78, 156)
    assert clean.train == whole.train
    assert len(clean.validation) == 78 - 31
    train = corpus.dataset.select(whole.train)["image"]
    assert len(twins(corpus.dataset.select(whole.test["all"])["image"], train)) == 59
    assert twins(corpus.dataset.select(clean.test["deduplicated"])["image"], train) == []
    gone = 78 + 156 - len(clean.validation) - len(clean.test["deduplicated"])
    assert clean.dropped[REASON] == gone >= 31 + 59
    subset = skindiff.make_split(corpus, "subset", deduplicated=True)
    assert subset.test == clean.test
    for recipe in (medmnist_augment, medmnist_subsets):  # whose reports have both
        config = read(recipe.__name__.removeprefix("recipes."), "breastmnist")
        assert [list(split.test) for split in recipe.cut(config, corpus)] == [["all"], ["deduplicated"]]


def test_what_leaks_is_dropped_from_both_and_the_rest_stays() -> None:
    corpus = skindiff.load_corpus("phantom", images_per_class={"I": 2})
    rows = [0, 1, 2, 3, 0, 4, 1, 3, 5]  # training, then validation, then tests
    images = corpus.dataset.select(rows)
    split = Split(0, [0, 1, 2], [3, 4, 5], {"all": [6, 7], "dark": [8]}, {"set_aside": 1}, 0)
    clean = deduplicated(split, images)
    assert (clean.train, clean.validation) == ([0, 1, 2], [3, 5])
    assert clean.test == {"deduplicated": [], "deduplicated dark": [8]}  # of a training, a validation image
    assert clean.dropped == {"set_aside": 1, REASON: 3}
