import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from skindiff.corpora.phantom import PhantomImage, render_phantom
from skindiff.corpora.phantom_lesions import LESION_CLASSES
from skindiff.measures.skin.lesion_structure import (
    LesionPreservation,
    Structure,
    band_pass,
    lesion_preservation,
)

KEYS = [(lesion, number) for lesion in LESION_CLASSES for number in range(3)]
GROUPS = [f"{lesion} {number}" for lesion, number in KEYS]


def drawn(skin_type: str, shift: int = 0) -> list[PhantomImage]:
    return [
        render_phantom(skin_type, lesion, 64, "lesion test", lesion, number + shift)
        for lesion, number in KEYS
    ]


LIGHT = drawn("II")


def score(synthetic: list[np.ndarray], masked: bool = False) -> LesionPreservation:
    result = lesion_preservation(
        [image.pixels for image in LIGHT],
        synthetic,
        GROUPS,
        lesion_masks=[image.lesion_mask for image in LIGHT] if masked else None,
        replicates=200,
    )
    assert result is not None
    return result


@pytest.mark.parametrize("masked", [False, True])
def test_same_lesion_on_dark_skin_is_recognised(masked: bool) -> None:
    result = score([image.pixels for image in drawn("VI")], masked)
    assert result.kept[1] > 0.5
    assert result.rank[0] > 0.97
    assert abs(result.other) < 0.15


@pytest.mark.parametrize("masked", [False, True])
def test_a_repainted_lesion_is_found_out(masked: bool) -> None:
    result = score([image.pixels for image in drawn("VI", shift=10)], masked)
    assert result.kept[1] < 0.1
    assert result.rank[0] < 0.7


def test_colour_light_and_contrast_do_not_count_and_structure_does() -> None:
    filtered = score([(image.pixels * np.array([0.6, 0.45, 0.35])).astype(np.uint8) for image in LIGHT])
    slightly, strongly = (
        score([gaussian_filter(image.pixels, (sigma, sigma, 0)) for image in LIGHT]) for sigma in (1, 6)
    )
    assert filtered.kept[0] > 0.97
    assert filtered.kept[0] > slightly.kept[0] > strongly.kept[0]


def test_exchanged_light_and_dark_is_the_opposite_structure() -> None:
    structure = Structure(LIGHT[0].pixels)
    assert structure.similarity(band_pass(LIGHT[0].pixels)) == pytest.approx(1.0)
    assert structure.similarity(band_pass(255 - LIGHT[0].pixels)) < -0.9


def test_rivals_are_of_the_same_class_and_of_other_groups() -> None:
    images = [image.pixels for image in LIGHT[:3]]
    assert lesion_preservation(images, images, ["one", "one", "one"]) is None
    assert lesion_preservation(images, images, ["a", "b", "c"], labels=[0, 1, 2]) is None
    result = lesion_preservation(images, images, ["a", "b", "c"], labels=[0, 0, 1], replicates=10)
    assert result is not None
    assert result.pairs == 2
    assert result.summary()["rank_of_own_source"]["mean"] == 1.0
