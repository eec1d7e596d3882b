import itertools

import numpy as np
import pytest
from skimage.color import rgb2lab

from skindiff.corpora.phantom import PhantomConfig, load_phantom, render_phantom
from skindiff.corpora.phantom_lesions import LESION_CLASSES
from skindiff.corpora.phantom_optics import MELANOSOME_FRACTION, linear_to_srgb, skin_reflectance
from skindiff.corpora.schema import SKIN_TYPES, corpus_features
from skindiff.errors import ConfigError


def small(**changes: object) -> PhantomConfig:
    settings: dict[str, object] = {"image_size": 32, "images_per_class": {"I": 2, "VI": 2}}
    return PhantomConfig(**(settings | changes))  # type: ignore[arg-type]


def test_the_corpus_has_the_schema_and_the_asked_counts() -> None:
    corpus = load_phantom(small())
    assert corpus.features == corpus_features(LESION_CLASSES)
    assert len(corpus) == 7 * 4
    assert corpus[0]["image"].size == (32, 32)
    assert len(set(corpus["image_id"])) == len(corpus)


def test_a_seed_names_one_corpus() -> None:
    first, again, other = load_phantom(small()), load_phantom(small()), load_phantom(small(seed=1))
    as_bytes = [[np.asarray(row["image"]).tobytes() for row in corpus] for corpus in (first, again, other)]
    assert as_bytes[0] == as_bytes[1]
    assert not set(as_bytes[0]) & set(as_bytes[2])


def test_one_key_is_one_picture_at_any_size() -> None:
    small_image = render_phantom("III", "plaque", 32, "key")
    large = render_phantom("III", "plaque", 64, "key")
    shrunk = large.pixels.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.corrcoef(shrunk.ravel(), small_image.pixels.ravel())[0, 1] > 0.9
    assert small_image.true_ita == large.true_ita


def test_true_tone_falls_with_the_skin_type() -> None:
    mean = [np.mean([render_phantom(t, None, 16, t, k).true_ita for k in range(12)]) for t in SKIN_TYPES]
    assert all(a > b + 5 for a, b in itertools.pairwise(mean)), mean


def test_redness_shows_less_on_dark_skin() -> None:
    def contrast(skin_type: str) -> float:
        melanin = np.full(2, np.mean(MELANOSOME_FRACTION[skin_type]), dtype=np.float32)
        pale, red = rgb2lab(linear_to_srgb(skin_reflectance(melanin, np.array([0.004, 0.03], np.float32))))
        return float(np.linalg.norm(pale - red))

    contrasts = [contrast(skin_type) for skin_type in SKIN_TYPES]
    assert contrasts == sorted(contrasts, reverse=True)
    assert contrasts[0] > 1.5 * contrasts[-1]


def test_a_second_view_shares_the_group_and_shows_the_same_lesion() -> None:
    corpus = load_phantom(small(images_per_class={"II": 30}, classes=["nodule"], repeat_share=0.5))
    groups = corpus["group_id"]
    assert 10 <= len(set(groups)) < 26
    first, second = (render_phantom("II", "nodule", 64, "v", view=view) for view in (0, 3))
    assert not np.array_equal(first.pixels, second.pixels)
    assert first.true_ita == second.true_ita


def test_truth_comes_as_columns_when_asked() -> None:
    corpus = load_phantom(small(with_truth=True, classes=["ulcer"]))
    mask = np.asarray(corpus[0]["lesion_mask"])
    assert set(np.unique(mask)) == {0, 255}
    assert 0.01 < (mask > 0).mean() < 0.7
    assert corpus[0]["true_ita"] > corpus[-1]["true_ita"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"classes": ["wart"]}, "wart"),
        ({"images_per_class": {"VII": 1}}, "VII"),
        ({"image_size": 4}, "image_size"),
        ({"repeat_share": 0.9}, "repeat_share"),
    ],
)
def test_a_setting_that_cannot_work_is_named(changes: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        load_phantom(small(**changes))
