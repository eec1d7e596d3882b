"""The detector of Bingol et al.: what it may see, what it says, and what it cannot say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibrate_detection import DESIGNS, chance_of, study
from datasets import ClassLabel, Dataset

from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError, SplitError
from skindiff.evaluation.detection import (
    Detection,
    DetectionConfig,
    DetectorOfSplit,
    Judged,
    make_detector_split,
)
from skindiff.evaluation.statistics.detections import detection_rows, detector_accuracy
from skindiff.report.detection import detection_markdown
from skindiff.report.published.ham import published_detection
from skindiff.seeding import numpy_generator
from tests.classification.test_fine_tuning import as_dataset, table
from tests.studies import make_study

CONFIG = DetectionConfig(bootstrap_replicates=200)
NAMES = ("nv", "bcc")


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    found = as_dataset(table((24, 24, 24)))
    # Pairs of images of one class share a group, as two photographs of one lesion do.
    return found.remove_columns("group_id").add_column(
        "group_id", [f"g{row // 2}" for row in range(len(found))]
    )


def test_the_detector_has_what_the_generator_never_saw(corpus: Dataset) -> None:
    generator_rows = [*range(0, 12, 3), *range(24, 34), 48]
    split = make_detector_split(corpus, generator_rows, CONFIG, 1)
    parts = [split.train, split.validation, split.held_out]
    groups = [{corpus[row]["group_id"] for row in rows} for rows in (*parts, generator_rows)]
    assert all(not one & other for place, one in enumerate(groups) for other in groups[place + 1 :])
    assert all(rows == sorted(rows) for rows in parts)
    left = [row for row in range(len(corpus)) if corpus[row]["group_id"] not in groups[3]]
    assert sorted(split.train + split.validation + split.held_out) == left
    for rows in parts:
        assert set(corpus.select(rows)["label"]) == {0, 1, 2}
    assert make_detector_split(corpus, generator_rows, CONFIG, 1) == split
    assert make_detector_split(corpus, generator_rows, CONFIG, 2) != split
    shuffled = corpus.shuffle(seed=0)
    rows = [row for row in range(len(shuffled)) if shuffled[row]["group_id"] in groups[3]]
    again = make_detector_split(shuffled, rows, CONFIG, 1)
    assert {shuffled[row]["image_id"] for row in again.train} == {
        corpus[row]["image_id"] for row in split.train
    }
    with pytest.raises(SplitError, match=r"detector: 2 groups of dots were not seen by the generator"):
        make_detector_split(corpus, range(20), CONFIG, 1)
    halves = replace(CONFIG, held_out_fraction=0.5, validation_fraction=0.5)
    assert all(make_detector_split(corpus, range(18), halves, 1).__dict__.values())


def test_it_learns_is_kept_and_judges(corpus: Dataset, tmp_path: Path) -> None:
    loop = replace(CONFIG.classifier.loop, steps=50, batch_size=16, learning_rate=3e-3, warmup_steps=5)
    classifier = replace(CONFIG.classifier, image_size=32, augment="none", loop=loop)
    config = replace(CONFIG, classifier=classifier)
    config.validate()
    study = make_study(tmp_path, corpus, Split(0, [0, 1, 24, 25, 48], [], {}, {}, 0), config=config)
    detector = DetectorOfSplit(study, config)
    drawn = corpus.select([0, 1, 24])
    found = detector.judge(drawn, "sn_dcgan")
    assert len(found.held_out.labels) == len(detector.split.held_out)
    assert found.generated.groups == tuple(drawn["image_id"])
    assert detector_accuracy([found])["balanced_accuracy"] > 0.7
    again = DetectorOfSplit(study, config)
    assert np.array_equal(again.judge(drawn, "x").generated.probabilities, found.generated.probabilities)
    assert len(list((tmp_path / "stages").iterdir())) == 1
    renamed = drawn.cast_column("label", ClassLabel(names=["stripes", "dots", "plain"]))
    with pytest.raises(ConfigError, match=r"3 images of .* cannot be judged"):
        detector.judge(renamed, "x")
    with pytest.raises(ConfigError, match="0 images"):
        detector.judge(drawn.select([]), "x")


def judged(right: list[int], total: int, own: float = 0.8, copies: int = 1) -> Judged:
    """Return images of two classes, ``right[code]`` of ``total`` of which are recognised."""
    labels = np.repeat([0, 1], total)
    probabilities = np.full((2 * total, 2), 1 - own)
    for code, count in enumerate(right):
        start = code * total
        probabilities[start : start + count, code] = own
        probabilities[start + count : start + total, 1 - code] = own
    probabilities /= probabilities.sum(1, keepdims=True)
    return Judged(labels, probabilities, tuple(str(row // copies) for row in range(2 * total)))


def test_table_three_by_hand() -> None:
    detections = [
        Detection("sn_dcgan", 0, NAMES, judged([30, 0], 100), judged([40, 20], 50, 0.9)),
        Detection("sn_dcgan", 1, NAMES, judged([50, 10], 100), judged([40, 30], 50, 0.9)),
        Detection("ddpm", 0, NAMES, judged([80, 40], 100), judged([40, 0], 50, 0.9)),
    ]
    rows = detection_rows(detections, replicates=500)
    assert [(row["generator"], row["class_name"], row["seeds"], row["images"]) for row in rows] == [
        ("sn_dcgan", "nv", 2, 200),
        ("sn_dcgan", "bcc", 2, 200),
        ("ddpm", "nv", 1, 100),
        ("ddpm", "bcc", 1, 100),
    ]
    nv, bcc, _, blind = rows
    assert (nv["detection"], nv["recall"], nv["share"]) == pytest.approx((0.4, 0.8, 0.5))
    assert (bcc["detection"], bcc["recall"], bcc["share"]) == pytest.approx((0.05, 0.5, 0.1))
    assert nv["confidence"] == pytest.approx(0.8)
    assert nv["recall_confidence"] == pytest.approx(0.9)
    assert nv["mean_probability"] == pytest.approx(0.4 * 0.8 + 0.6 * 0.2)
    for row in (nv, bcc):
        for name in ("detection", "recall", "share"):
            assert row[f"{name}_ci_low"] <= row[name] <= row[f"{name}_ci_high"]
    assert nv["detection_ci_low"] < 0.32 < 0.48 < nv["detection_ci_high"]  # the seeds differ
    assert (blind["recall"], blind["share"], blind["recall_confidence"]) == (0, None, None)
    accuracy = detector_accuracy(detections[:2])
    assert accuracy == pytest.approx({"accuracy": 0.65, "balanced_accuracy": 0.65, "seeds": 2})
    text = detection_markdown(rows, published_detection())
    assert "| sn_dcgan, nv | 200 | 40.0 [" in text
    assert text.splitlines()[2].endswith("| 63.41 | 88.34 |")
    assert "n/a" in text.splitlines()[-1]


def test_the_interval_of_one_detector_covers() -> None:
    """Of 60 made-up studies with a detection rate of 0.3 about 95% of the intervals hold it."""
    random = numpy_generator("detection coverage")
    held_out = judged([40, 40], 50)
    inside = 0
    for _ in range(60):
        count = int(random.binomial(100, 0.3))
        one = Detection("g", 0, NAMES, judged([count, 0], 100), held_out)
        row = detection_rows([one], replicates=200)[0]
        inside += row["detection_ci_low"] <= 0.3 <= row["detection_ci_high"]
    assert 52 <= inside <= 60


def test_the_share_of_three_detectors_is_covered() -> None:
    """Seeds that differ, lesions that are held out by several: 94.0% of 500 studies by the script."""
    design = DESIGNS[0]
    truth = chance_of(0.0, design, lesions=False) / chance_of(0.0, design, lesions=True)
    inside = 0
    for number in range(120):
        (row,) = detection_rows(study(design, number), replicates=200)
        inside += row["share_ci_low"] <= truth <= row["share_ci_high"]
    assert 108 <= inside <= 120  # of a coverage of 95%: 3 of 1,000 are below


def test_classes_are_judged_together_and_what_was_never_recognised_has_an_interval() -> None:
    detections = [
        Detection("g", seed, NAMES, judged([38 + seed, 0], 100), judged([40, 24 + seed], 50))
        for seed in range(3)
    ]
    nv, bcc = detection_rows(detections, replicates=500)
    assert {row["comparisons"] for row in (nv, bcc)} == {2}
    assert nv["share_ci_high_corrected"] < 1
    assert (bcc["share"], bcc["share_ci_low"]) == (0, 0)
    assert 0 < bcc["share_ci_high"] <= bcc["share_ci_high_corrected"] < 0.1
    assert max(nv["share_p_corrected"], bcc["share_p_corrected"]) < 0.05
    # A lesion that all seeds hold out is one lesion.
    shared, own = (
        detections,
        [
            replace(
                one,
                held_out=replace(one.held_out, groups=tuple(f"{one.seed} {g}" for g in one.held_out.groups)),
            )
            for one in detections
        ],
    )
    widths = [
        row["recall_ci_high"] - row["recall_ci_low"]
        for row in (detection_rows(kind, replicates=500)[0] for kind in (shared, own))
    ]
    assert widths[0] > 1.3 * widths[1]


def test_lesions_with_several_photographs_widen_the_interval() -> None:
    widths = []
    for copies in (1, 10):
        one = Detection("g", 0, NAMES, judged([50, 0], 100), judged([50, 0], 100, copies=copies))
        row = detection_rows([one], replicates=500)[0]
        widths.append(row["recall_ci_high"] - row["recall_ci_low"])
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize("name", ["held_out_fraction", "validation_fraction"])
def test_settings_that_cannot_work_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"detection\.{name}: 0\.7 is not above 0"):
        replace(CONFIG, **{name: 0.7}).validate("detection.")
    with pytest.raises(ConfigError, match=r"bootstrap_replicates: 3 is too few"):
        replace(CONFIG, bootstrap_replicates=3).validate()
