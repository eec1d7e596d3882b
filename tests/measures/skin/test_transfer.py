import numpy as np
import pytest
from datasets import Dataset, Value
from PIL import Image

from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.measures.skin.transfer import (
    TransferPart,
    measure_ita,
    transfer_lesions,
    transfer_tone,
    transferred_rows,
)

CONFIG = PhantomConfig(
    seed=77, image_size=48, classes=["nodule", "ring"], images_per_class={"II": 8, "VI": 6}, with_truth=True
)


@pytest.fixture(scope="module")
def real() -> Dataset:
    return load_phantom(CONFIG)


@pytest.fixture(scope="module")
def synthetic(real: Dataset) -> Dataset:
    """Light rows under a melanin-like filter, two copies each, and dark rows left as they are."""
    rows = []
    for row in real:
        light = row["skin_type"] == "II"
        gain = np.array([0.32, 0.18, 0.09]) if light else np.ones(3)
        for copy in range(2):
            linear = (np.asarray(row["image"]) / 255.0) ** 2.2 * gain * (1 + 0.02 * copy)
            picture = Image.fromarray((np.clip(linear, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8))
            identity = {"image_id": f"{row['image_id']}-{copy}", "source_id": row["image_id"]}
            rows.append({**row, **identity, "image": picture, "skin_type": "VI", "corpus": "synthetic"})
    features = real.features.copy()
    features["source_id"] = Value("string")
    return Dataset.from_list(rows, features=features)


def test_only_rows_whose_type_was_changed_are_compared(real: Dataset, synthetic: Dataset) -> None:
    pairs = transferred_rows(synthetic, real)
    assert len(pairs) == 32
    assert {real[place]["skin_type"] for _, place in pairs} == {"II"}


def test_tone_shift_of_a_transfer_is_measured(real: Dataset, synthetic: Dataset) -> None:
    target = real.select([row for row, name in enumerate(real["skin_type"]) if name == "VI"])
    shift = transfer_tone([TransferPart(synthetic, real, target)])
    assert shift is not None
    assert len(shift.source) == 32
    assert 0.6 < shift.share[0] < 1.4
    assert shift.distance_after < 0.4 * shift.distance_before
    assert transfer_tone([TransferPart(synthetic.select([]), real, target)]) is None


def test_splits_are_pooled_and_their_common_images_stay_one_group(real: Dataset, synthetic: Dataset) -> None:
    target = real.select([row for row, name in enumerate(real["skin_type"]) if name == "VI"])
    part = TransferPart(synthetic, real, target)
    once, twice = transfer_tone([part]), transfer_tone([part, part])
    assert once is not None
    assert twice is not None
    assert len(twice.source) == 2 * len(once.source)
    assert twice.shift == pytest.approx(once.shift, abs=0.5)


def test_a_filter_keeps_lesions_and_exchanged_sources_lose_them(real: Dataset, synthetic: Dataset) -> None:
    kept = transfer_lesions([TransferPart(synthetic, real, real)])
    assert kept is not None
    assert kept.kept[0] > 0.8
    assert kept.rank[0] > 0.95
    wrong = [*synthetic["source_id"][4:], *["x"] * 4]
    moved = synthetic.remove_columns("source_id").add_column("source_id", wrong)
    lost = transfer_lesions([TransferPart(moved, real.remove_columns("lesion_mask"), real)], largest=20)
    assert lost is not None
    assert lost.pairs <= 20
    assert lost.kept[0] < 0.3
    assert transfer_lesions([TransferPart(synthetic.select([]), real, real)]) is None


def test_every_row_is_measured_in_order(real: Dataset) -> None:
    angles = measure_ita(real)
    assert len(angles) == len(real)
    assert np.corrcoef([angle or 0.0 for angle in angles], real["true_ita"])[0, 1] > 0.95
