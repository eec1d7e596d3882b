"""The copied image is found among others, in any orientation and through any window, with its group."""

import numpy as np
import pytest
import torch

from skindiff.measures.copying.nearest import NONE, KnownFeatures, KnownStructures
from skindiff.measures.copying.planted import HARDER, KINDS, plant
from skindiff.measures.copying.structure import (
    GRID,
    Structures,
    comparable,
    greys,
    orientations,
    turned,
)
from skindiff.measures.copying.threshold import THRESHOLD
from skindiff.measures.features import FeatureNetwork
from tests.measures.copying.photographs import photograph

COUNT = 40


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return comparable([photograph(seed) for seed in range(COUNT)])


@pytest.fixture(scope="module")
def known(pixels: np.ndarray) -> KnownStructures:
    return KnownStructures(pixels, [f"group-{row // 2}" for row in range(COUNT)])


@pytest.mark.parametrize("kind", [*KINDS, *(kind for kind in HARDER if kind != "noisy")])
def test_copies_of_every_kind_are_found(kind: str, pixels: np.ndarray, known: KnownStructures) -> None:
    (found,) = known.nearest(plant(pixels[:20], kind))
    (new,) = known.nearest(plant(comparable([photograph(seed) for seed in range(100, 110)]), kind))
    assert (found.other == np.arange(20)).all()
    assert new.similarity.max() < 0.9 < np.percentile(found.similarity, 10)


def test_exact_and_flipped_copies_are_at_one(pixels: np.ndarray, known: KnownStructures) -> None:
    for kind in ("exact", "mirrored", "upside down", "turned"):
        (found,) = known.nearest(plant(pixels, kind))
        assert found.similarity.min() >= 0.9999


def test_own_groups_and_masks_are_kept_apart(pixels: np.ndarray, known: KnownStructures) -> None:
    owned = ["group-0", None, "elsewhere"]
    rows = np.arange(COUNT)
    everything, some = known.nearest(pixels[[0, 2, 4]], owned, [rows >= 0, (rows > 3) & (rows < 10)])
    assert everything.own.tolist() == [0, NONE, NONE]
    assert everything.own_similarity.tolist() == [1, -1, -1]
    assert everything.other[1:].tolist() == [2, 4]
    assert everything.other[0] not in (0, 1)
    assert some.own.tolist() == [NONE] * 3
    assert some.other[2] == 4
    assert set(some.other) <= set(range(4, 10))
    (nothing,) = known.nearest(pixels[:1], ["group-0"], [rows < 2])
    assert (nothing.other[0], nothing.similarity[0], nothing.own_similarity[0]) == (NONE, -1, 1)


def test_an_image_that_shows_nothing_is_like_nothing(known: KnownStructures) -> None:
    (found,) = known.nearest(np.full((1, 64, 64, 3), 120, np.uint8))
    assert found.similarity.tolist() == [0]


def test_features_of_a_network_are_compared_by_cosine(pixels: np.ndarray) -> None:
    def means(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images.float(), 16).flatten(1)

    network = FeatureNetwork("means", means, torch.device("cpu"), 16)
    known = KnownFeatures(pixels, [str(row) for row in range(COUNT)], network)
    (found,) = known.nearest(pixels[:5], ["0", None, None, None, None])
    features = means(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    features = features - features.mean(0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    cosines = features[:5] @ features.T
    assert (found.own[0], found.own_similarity[0]) == (0, 1)
    assert found.other[1:].tolist() == [1, 2, 3, 4]
    cosines[0, 0] = -1
    assert found.other[0] == cosines[0].argmax()
    assert found.similarity == pytest.approx(cosines.max(1), abs=1e-4)
    assert "means" in known.name


def test_structures_are_those_of_windows(pixels: np.ndarray) -> None:
    luminance = greys(torch.from_numpy(pixels[:4]).permute(0, 3, 1, 2).float())[:, 0]
    structures = Structures(luminance)
    assert structures.parts.shape == (30, 4, GRID * GRID)
    assert structures.parts.norm(dim=2).numpy() == pytest.approx(1, abs=1e-5)
    assert structures.similarities(luminance).diagonal().numpy() == pytest.approx(1, abs=1e-5)
    turns, windows = structures.places(orientations(luminance[:, None])[6, :, 0], torch.arange(4))
    # Mirrored and turned by two quarters: the same again undoes it.
    assert turns.tolist() == [6] * 4
    assert windows.numpy() == pytest.approx(np.array([[1, 1, 0, 0]] * 4))


def test_turning_is_one_of_the_orientations() -> None:
    images = torch.arange(8 * 2 * 9).view(8, 2, 3, 3)
    turns = torch.arange(8)
    assert torch.equal(turned(images, turns), orientations(images)[turns, torch.arange(8)])


def test_a_recoloured_picture_passes_the_default_threshold_and_new_ones_do_not(
    pixels: np.ndarray, known: KnownStructures
) -> None:
    (copies,) = known.nearest(plant(pixels, "retoned"))
    (others,) = known.nearest(pixels, known.groups)
    assert others.similarity.max() < THRESHOLD < copies.similarity.min()
