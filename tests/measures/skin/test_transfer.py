from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Value
from PIL import Image

from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.crops import Crop, CropKind
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


SKIN, DARK = (200, 160, 140), (110, 70, 50)
SKIN_ITA, DARK_ITA = 49.79, -40.28
"""By the formulas of CIE L*a*b* under D65: L* 68.98 and b* 16.05; L* 33.83 and b* 19.08."""


def rimmed(width: int, height: int, rim: int) -> Image.Image:
    """Skin with a thin rim of dark skin, which is what a crop fills its square with."""
    pixels = np.full((height, width, 3), DARK, np.uint8)
    pixels[rim:-rim, rim:-rim] = SKIN
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("kind", "width"), [("pad", 240), ("longest", 240), ("longest", 180)])
def test_what_a_crop_filled_is_no_skin(tmp_path: Path, kind: CropKind, width: int) -> None:
    row = {"image": rimmed(width, 120, 4), "image_id": "a", "group_id": "a", "skin_type": "II", "label": 0}
    rows = Dataset.from_list([row])
    squares = resize_to_cache(rows, 120, tmp_path, crop=Crop(kind)).dataset
    assert squares[0]["image"].size == (120, 120)
    assert measure_ita(squares) == pytest.approx([SKIN_ITA], abs=0.3)
    # Half of the square is filled, which a measurement of all of it takes for the skin.
    if width == 240:
        assert measure_ita(squares.remove_columns("shown"))[0] == pytest.approx(DARK_ITA, abs=3)


def test_a_transfer_is_compared_without_borders(tmp_path: Path) -> None:
    """The sources lie in filled squares, the images made of them have their shape or lie in squares, too."""
    lesion = rimmed(240, 120, 4)
    lesion.paste((120, 40, 30), (100, 50, 130, 80))
    other = rimmed(240, 120, 4)
    other.paste((120, 40, 30), (60, 30, 80, 90))
    rows = [
        {"image": image, "image_id": name, "group_id": name, "skin_type": "II", "label": 0}
        for name, image in (("a", lesion), ("b", other))
    ]
    sources = resize_to_cache(Dataset.from_list(rows), 120, tmp_path, crop=Crop("longest")).dataset
    made = [
        {"image": image, "image_id": f"{name}-0", "source_id": name, "skin_type": "VI"}
        for name, image in zip("ab", sources["bucketed"], strict=True)
    ]
    as_generated = TransferPart(Dataset.from_list(made), sources, sources)
    squares = [
        {**row, "image": square, "shown": shown}
        for row, square, shown in zip(made, sources["image"], sources["shown"], strict=True)
    ]
    laid = TransferPart(Dataset.from_list(squares), sources, sources)
    for part in (as_generated, laid):
        tone, lesions = transfer_tone([part]), transfer_lesions([part])
        assert tone is not None
        assert lesions is not None
        assert tone.source == pytest.approx([SKIN_ITA] * 2, abs=0.3)
        assert tone.synthetic == pytest.approx([SKIN_ITA] * 2, abs=0.3)
        assert lesions.own[0] > 0.75
