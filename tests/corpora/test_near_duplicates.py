from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from skindiff.corpora import local_features
from skindiff.corpora.local_features import affine_inliers, agreement, extract, match
from skindiff.corpora.near_duplicates import Match, NearDuplicateConfig
from skindiff.corpora.visual_words import candidate_pairs
from skindiff.errors import ConfigError
from skindiff.seeding import numpy_generator

pytest.importorskip("cv2")


def texture(seed: int, height: int = 150, width: int = 190) -> np.ndarray:
    """Grey levels (uint8) with structure at several scales."""
    random = numpy_generator("texture", seed)
    layers = [
        gaussian_filter(random.standard_normal((height, width)), sigma) * sigma for sigma in (1.5, 4, 12)
    ]
    grey = 128 + 45 * sum(layers)
    return np.clip(grey, 0, 255).astype(np.uint8)


def sorted_rows(points: np.ndarray, descriptors: np.ndarray) -> np.ndarray:
    rows = np.concatenate([points.round(1), descriptors], axis=1)
    return rows[np.lexsort(rows.T[::-1])]


def test_mirrored_features_are_those_of_the_mirror_image() -> None:
    grey = texture(0)
    claimed = extract(grey, 300).mirrored()
    found = extract(np.ascontiguousarray(grey[:, ::-1]), 300)
    here, there = match(claimed.rooted(), found.rooted())
    assert len(here) > 0.7 * len(found.points)
    assert np.median(np.abs(claimed.points[here] - found.points[there])) < 0.5
    difference = np.abs(claimed.rooted()[here] - found.rooted()[there]).max(axis=1)
    assert np.median(difference) < 0.02


def test_extract_keeps_the_strongest_in_a_fixed_order() -> None:
    grey = texture(1)
    many, few = extract(grey, 200), extract(grey, 60)
    assert len(few.points) == 60
    np.testing.assert_array_equal(few.points, extract(grey, 60).points)
    everything = {tuple(point) for point in many.points}
    assert sum(tuple(point) in everything for point in few.points) >= 55


def test_extract_of_a_smooth_image_is_empty() -> None:
    features = extract(np.full((80, 90), 100, np.uint8), 100)
    assert features.points.shape == (0, 2)
    assert features.descriptors.shape == (0, 128)


def test_affine_inliers_find_a_zoom_and_refuse_what_no_camera_does() -> None:
    points = numpy_generator("points").uniform(0, 200, (60, 2)).astype(np.float32)
    zoom = np.array([[0.5, 0.1], [-0.1, 0.5]], np.float32)
    inliers, affine = affine_inliers(points, points @ zoom.T + 7)
    assert inliers == 60
    assert affine is not None
    np.testing.assert_allclose(affine, np.column_stack([zoom, [7, 7]]), atol=1e-3)
    for impossible in ([[-1, 0], [0, 1]], [[1, 0], [0, 1.5]], [[9, 0], [0, 9]], [[0.05, 0], [0, 0.05]]):
        assert affine_inliers(points, points @ np.array(impossible, np.float32).T) == (0, None)


def test_agreement_sees_through_brightness_and_not_through_a_watermark() -> None:
    first, second = texture(2), texture(3)
    still = np.eye(2, 3)
    darker = (first * 0.5 + 20).astype(np.uint8)
    assert agreement(first, darker, still) > 0.95
    logo = texture(4, 40, 90)
    first[-40:, :90] = second[-40:, :90] = logo
    assert agreement(first, second, still) < 0.3


def test_agreement_of_crop_and_whole_in_both_directions() -> None:
    whole = texture(5)
    crop = np.ascontiguousarray(whole[30:120, 40:160])
    shift = np.array([[1.0, 0, 40], [0, 1, 30]])
    assert agreement(crop, whole, shift) > 0.95
    assert agreement(whole, crop, np.array([[1.0, 0, -40], [0, 1, -30]])) > 0.95
    assert agreement(crop, whole, np.array([[1.0, 0, 20], [0, 1, 5]])) < 0.5


def test_candidates_put_a_crop_and_a_mirror_image_first() -> None:
    images = [texture(seed) for seed in range(20)]
    images.append(np.ascontiguousarray(images[3][20:130, 30:170]))
    images.append(np.ascontiguousarray(images[7][:, ::-1]))
    features = [extract(image, 300) for image in images]
    features.append(extract(np.zeros((64, 64), np.uint8), 300))
    with local_features.one_thread_each(), ThreadPoolExecutor(2) as executor:
        counts = [len(one.points) for one in features]
        plain = candidate_pairs(counts, features.__getitem__, 1, 0, executor)
        flipped = candidate_pairs(counts, features.__getitem__, 1, 1, executor)
        indexed = candidate_pairs(counts, features.__getitem__, 1, 1, executor, exhaustive=4)
        none = candidate_pairs(counts[:1], features.__getitem__, 5, 5, executor)
    assert (3, 20, False) in plain
    assert not any(mirrored for *_, mirrored in plain)
    assert (7, 21, True) in flipped
    assert {(3, 20, False), (7, 21, True)} <= set(indexed)
    assert all(first < second < 22 for first, second, _ in flipped)
    assert none == []


@pytest.mark.parametrize(
    ("inliers", "agreed", "accepted"), [(20, 0.6, True), (19, 0.9, False), (300, 0.59, False)]
)
def test_a_match_needs_both_inliers_and_agreement(inliers: int, agreed: float, accepted: bool) -> None:
    assert Match("a", "b", False, inliers, agreed).accepted(NearDuplicateConfig()) is accepted


@pytest.mark.parametrize(
    ("field", "value"), [("min_inliers", 5), ("min_agreement", 1.5), ("keypoints", 0), ("workers", -1)]
)
def test_settings_that_cannot_work_are_named(field: str, value: float) -> None:
    config = NearDuplicateConfig(**{field: value})
    with pytest.raises(ConfigError, match=rf"near_duplicates\.{field} is {value}: give"):
        config.validate("near_duplicates.")
