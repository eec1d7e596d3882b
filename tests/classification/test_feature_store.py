"""Features are computed once for each image and view, whoever asks, and do not depend on who else did."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from skindiff.classification.feature_store import FeatureStore
from skindiff.corpora.image_table import ImageTable
from skindiff.measures.backbones import Backbone, load_backbone

PASSES: list[int] = []


def counted(images: torch.Tensor) -> torch.Tensor:
    """Mean and spread of each channel; the batches are noted."""
    PASSES.append(len(images))
    scaled = images if images.is_floating_point() else images / 255
    return torch.cat([scaled.mean((2, 3)), scaled.std((2, 3))], 1)


@pytest.fixture
def backbone() -> Backbone:
    PASSES.clear()
    return Backbone("counted", counted, torch.device("cpu"), 4, "a" * 64, 6, 16)


def table(count: int, seed: int = 0) -> ImageTable:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return ImageTable(pixels, np.zeros(count, np.int64), (None,) * count, ("a",))


def test_an_image_is_computed_once_in_full_batches(tmp_path: Path, backbone: Backbone) -> None:
    store, images = FeatureStore(tmp_path, backbone, quiet=True), table(6)
    found = store(images)
    assert found.shape == (6, 1, 6)
    assert found[:, 0, :3] == pytest.approx(images.pixels.mean((1, 2)) / 255, abs=1e-5)
    assert PASSES == [4, 4]
    assert np.array_equal(store(images.select([5, 0, 0]))[:, 0], found[[5, 0, 0], 0])
    assert PASSES == [4, 4]
    store(images.select([1, 1]))
    FeatureStore(tmp_path, backbone)(images.select([2]))
    assert PASSES == [4, 4]


def test_files_of_another_process_are_used(tmp_path: Path, backbone: Backbone) -> None:
    mine, theirs = (FeatureStore(tmp_path, backbone, quiet=True) for _ in range(2))
    mine(table(2))
    expected = theirs(table(3, seed=1))
    PASSES.clear()
    assert np.array_equal(mine(table(3, seed=1)), expected)
    assert PASSES == []


def test_other_weights_and_sizes_have_a_folder_of_their_own(tmp_path: Path, backbone: Backbone) -> None:
    FeatureStore(tmp_path, backbone, quiet=True)(table(2))
    FeatureStore(tmp_path, replace(backbone, digest="b" * 64), quiet=True)(table(2))
    assert PASSES == [4, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a" * 16, "b" * 16]
    small, large = (load_backbone("lite0", image_size=size).digest for size in (32, 64))
    assert small != large


def test_views_are_decided_by_pixels_and_number(tmp_path: Path, backbone: Backbone) -> None:
    images, first = table(5), FeatureStore(tmp_path / "one", backbone, quiet=True)
    found = first(images, "geometric", 2)
    assert found.shape == (5, 3, 6)
    assert np.array_equal(found[:, :1], first(images))
    assert not np.array_equal(found[:, 1], found[:, 2])
    alone = FeatureStore(tmp_path / "two", backbone, quiet=True)
    assert np.array_equal(alone(images.select([3]), "geometric", 2)[0], found[3])
    PASSES.clear()
    more = first(images, "geometric", 3)
    assert np.array_equal(more[:, :3], found)
    assert PASSES == [4, 4]
    assert not np.array_equal(first(images, "randaugment", 1)[:, 1], found[:, 1])


def test_features_of_a_network_do_not_depend_on_the_company(tmp_path: Path) -> None:
    network, images = load_backbone("lite0", image_size=32), table(18)
    together = FeatureStore(tmp_path / "one", network, quiet=True)(images)
    alone = FeatureStore(tmp_path / "two", network, quiet=True)(images.select([17]))
    assert np.array_equal(alone[0], together[17])
