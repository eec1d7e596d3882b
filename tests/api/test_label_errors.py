"""Labels that may be wrong, as a notebook asks for them."""

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image

import skindiff
from skindiff.corpora.registry import Corpus
from skindiff.corpora.schema import corpus_features
from skindiff.errors import TrainingError

COUNT, SWAPPED = 60, [3, 20, 41]


def corpus(count: int) -> Corpus:
    """Red and blue images, of which three bear the other label."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        kind = number % 2
        pixels = rng.integers(0, 90, (32, 32, 3))
        pixels[..., 2 * kind] += 150
        rows.append(
            {
                "image": Image.fromarray(pixels.astype(np.uint8)),
                "label": 1 - kind if number in SWAPPED else kind,
                "skin_type": None,
                "image_id": f"image-{number}",
                "group_id": f"group-{number}",
                "corpus": "made up",
            }
        )
    return Corpus(Dataset.from_list(rows, features=corpus_features(["red", "blue"])), [], [], "0")


def test_swapped_labels_are_doubted_first(tmp_path: Path) -> None:
    found = skindiff.find_label_errors(corpus(COUNT), cache_dir=tmp_path / "features")
    assert list(found["image_id"]) == [f"image-{number}" for number in range(COUNT)]
    doubted = found[found["doubt"] > 0]
    assert set(doubted["image_id"]) == {f"image-{number}" for number in SWAPPED}
    assert sorted(doubted["doubt"]) == [1, 2, 3]
    assert list(doubted["suggested"]) == ["blue", "red", "blue"]
    assert (doubted["suggested_probability"] > doubted["label_probability"]).all()
    assert any((tmp_path / "features").iterdir())


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(TrainingError, match="label errors: 3 groups of 2 classes are too few"):
        skindiff.find_label_errors(corpus(3))
