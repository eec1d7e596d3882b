import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr
from skimage.color import rgb2lab

from skindiff.corpora.phantom import render_phantom
from skindiff.corpora.phantom_lesions import LESION_CLASSES
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.measures.skin.tone import bare_skin, image_ita, ita_degrees, plausible_skin, tone_shift


def test_angle_follows_its_definition() -> None:
    assert float(ita_degrees(70.0, 20.0)) == pytest.approx(45.0)
    assert float(ita_degrees(30.0, 20.0)) == pytest.approx(-45.0)
    assert float(ita_degrees(30.0, -1.0)) == -90.0
    assert float(ita_degrees(70.0, -1.0)) == 90.0


@pytest.mark.parametrize("skin_type", SKIN_TYPES)
def test_estimate_is_near_the_truth_and_hardly_moved_by_the_lesion(skin_type: str) -> None:
    errors, detours = [], []
    for lesion in LESION_CLASSES:
        for number in range(2):
            drawn = render_phantom(skin_type, lesion, 64, "tone test", lesion, number)
            estimate, known = image_ita(drawn.pixels), image_ita(drawn.pixels, drawn.lesion_mask)
            assert estimate is not None
            assert known is not None
            errors.append(estimate - drawn.true_ita)
            detours.append(abs(estimate - known))
    assert np.mean(np.abs(errors)) < 14, "the lamp alone accounts for about 10 degrees"
    assert np.mean(detours) < 1
    assert max(detours) < 4


def test_mask_leaves_out_most_of_the_lesion_and_keeps_most_of_the_skin() -> None:
    lesion_kept, skin_kept = [], []
    for skin_type in ("II", "VI"):
        for number in range(12):
            drawn = render_phantom(skin_type, "nodule", 64, "mask test", number)
            mask = bare_skin(rgb2lab(drawn.pixels))
            lesion_kept.append(mask[drawn.lesion_mask].mean())
            skin_kept.append(mask[~drawn.lesion_mask].mean())
    assert np.mean(lesion_kept) < 0.35
    assert np.mean(skin_kept) > 0.7


def test_backgrounds_do_not_count() -> None:
    drawn = render_phantom("III", "plaque", 64, "background test")
    truth = image_ita(drawn.pixels)
    for colour in ((250, 250, 250), (3, 3, 3), (30, 90, 200), (20, 130, 60)):
        covered = drawn.pixels.copy()
        covered[:, :20] = colour
        assert image_ita(covered) == pytest.approx(truth, abs=3)


def test_images_without_skin_have_no_estimate() -> None:
    for colour in ((255, 255, 255), (0, 0, 0), (20, 60, 220)):
        blank = np.full((32, 32, 3), colour, dtype=np.uint8)
        assert not plausible_skin(rgb2lab(blank)).any()
        assert image_ita(blank) is None


def test_large_images_are_measured_as_small_ones() -> None:
    small, large = (render_phantom("IV", "ring", size, "size test").pixels for size in (64, 256))
    assert image_ita(large) == pytest.approx(image_ita(small), abs=2)


def test_shift_counts_pairs_and_the_gap_that_they_closed() -> None:
    rng = np.random.default_rng(0)
    source = np.repeat(rng.normal(50, 5, 60), 3)
    synthetic = source - 24 + rng.normal(0, 4, 180)
    groups = [f"patient {row // 3}" for row in range(180)]
    target = rng.normal(10, 6, 50).tolist()
    shift = tone_shift(
        [*source, 40.0], [*synthetic, None], [*groups, "p"], target, [str(row) for row in range(50)]
    )
    assert shift is not None
    assert shift.shift[0] == pytest.approx(-24, abs=1)
    assert shift.share[0] == pytest.approx(0.6, abs=0.06)
    assert shift.share[1] < shift.share[0] < shift.share[2]
    assert shift.distance_after < 0.6 * shift.distance_before
    assert shift.unmeasured == {"source": 0, "synthetic": 1, "target": 0}
    summary = shift.summary()
    assert summary["pairs"] == 180
    assert summary["paired_shift"]["median"] == shift.shift[0]
    assert summary["source"]["n"] == 180


def test_copies_of_one_patient_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    per_patient = np.repeat(rng.normal(-20, 6, 20), 10)
    source = np.full(200, 50.0)

    def width(groups: list[str]) -> float:
        shift = tone_shift(source.tolist(), (source + per_patient).tolist(), groups, [10.0, 11.0], ["a", "b"])
        assert shift is not None
        return shift.shift[2] - shift.shift[1]

    assert width([str(row // 10) for row in range(200)]) > 1.5 * width([str(row) for row in range(200)])


def test_nothing_to_compare_gives_no_shift() -> None:
    assert tone_shift([None], [1.0], ["a"], [1.0], ["b"]) is None
    assert tone_shift([1.0], [1.0], ["a"], [None], ["b"]) is None


def test_real_photographs_are_ordered_by_their_skin_type(real_data: Path) -> None:
    folder = real_data / "fitzpatrick17k"
    with (folder / "fitzpatrick17k.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["label"] == "basal cell carcinoma"]
    chosen = [
        row for scale in "12345" for row in [row for row in rows if row["fitzpatrick_scale"] == scale][:20]
    ]
    scales, angles = [], []
    for row in chosen:
        image = Image.open(folder / "images" / f"{row['md5hash']}.jpg").convert("RGB").resize((64, 64))
        angle = image_ita(np.asarray(image))
        if angle is not None:
            scales.append(int(row["fitzpatrick_scale"]))
            angles.append(angle)
    assert len(angles) >= 0.95 * len(chosen)
    assert spearmanr(scales, angles).statistic < -0.3
