"""What the sections of a report open with."""

from typing import cast

import pytest

from skindiff.evaluation.statistics.rows import TriedRow
from skindiff.report.choosing import tried_section
from skindiff.report.findings import finding

ROW = {"scenario": "iii", "test_group": "dark", "architecture": "resnet18", "preset": "grouped"}
SERIES = {**ROW, "generator": None, "strategy": None, "ratio": None}


def score(arm: str, mean: float, **more: object) -> dict[str, object]:
    row = {**SERIES, "arm": arm, "metric": "balanced_accuracy", "mean": mean, "delta": None}
    row |= {"reference": None, "chance": 0.25}
    return {**row, "ci_low": mean - 0.02, "ci_high": mean + 0.02, **more}


def found_of(
    name: str, low: float | None, high: float | None, seeds: int = 3, **more: float
) -> dict[str, object]:
    row = {"generator": "dcgan", "class_name": name, "seeds": seeds}
    return row | {"share_ci_low_corrected": low, "share_ci_high_corrected": high, **more}


TRIED = {
    **SERIES,
    "metric": "balanced_accuracy",
    "reference": "real",
    "runs": 5,
    "groups": 40,
    "chosen": False,
    "gain": 0.01,
    "gain_ci_low": -0.02,
    "gain_ci_high": 0.04,
    "confirmed": None,
    "confirmed_ci_low": None,
    "confirmed_ci_high": None,
    "confirming_groups": None,
}
CHOSEN = {
    **TRIED,
    "gain": 0.05,
    "gain_ci_low": 0.01,
    "gain_ci_high": 0.09,
    "chosen": True,
    "confirmed": 0.03,
    "confirmed_ci_low": -0.01,
    "confirmed_ci_high": 0.07,
    "confirming_groups": 41,
}
CONTENT = {
    "tried": [{**TRIED, "arm": "real+syn"}, {**CHOSEN, "arm": "real+syn:tone"}],
    "summary": [score("real", 0.30), score("real+syn", 0.45), score("real+colour", 0.41)],
    "per_class_f1": [
        {**SERIES, "arm": "real", "f1": {"a": {"mean": 0.2}, "b": {"mean": 0.4}, "c": {"mean": None}}},
        {**SERIES, "arm": "real+syn", "f1": {"a": {"mean": 0.3}, "b": {"mean": 0.1}, "c": {"mean": 0.5}}},
    ],
    "confusions": [
        {"population": "all", "series": "real", "true": "ring", "predicted": "plaque", "share": 0.25}
    ],
    "lesion": {"img2img": {"kept": {"value": 0.871, "low": 0.86, "high": 0.88}}},
    "copying": [
        {"images": "ddpm", "generated": 50, "near_copies": {"share": 0.04}, "of_own_group": None},
        {"images": "ddpm", "generated": 50, "near_copies": {"share": 0.02}, "of_own_group": None},
    ],
    "detection": {
        "classes": [
            found_of("a", 0.1, 0.8, others=0.1, recall_ci_low=0.3),
            found_of("b", 0.9, 1.8),
            found_of("c", None, None),
            found_of("d", 2.0, 3.0, others=0.1, recall_ci_low=0.05),
        ]
    },
    "splits": [{"groups_crossing": 0}, {"groups_crossing": 0}],
    "corpus": {"ungrouped": 3},
    "cost": {"classifiers": 12, "images_drawn": 1234},
}


@pytest.mark.parametrize(
    ("title", "said"),
    [
        (
            "Scores",
            "resnet18, scenario iii, dark test images: `real` reaches 30.0 [28.0, 32.0]% balanced accuracy, "
            "where chance is 25.0%; the other arms reach 41.0 to 45.0%.",
        ),
        ("F1 by class", "real+syn: mean F1 is above that of `real` in 1 of 2 classes, below in 1."),
        ("Confusions", "The most frequent confusion of each arm. real: 25.0% of ring is called plaque."),
        ("Lesions", "img2img keeps 87 [86, 88]% of the lesions' structure."),
        ("Copying", "ddpm: 3 of 100 synthetic images are near copies of a training image."),
        (
            "Detection",
            "dcgan: recognised less often than real images in 1 of 4 classes (a), more often in 0; it "
            "can't be told in 2. No verdict on 1, which the detector does not know from other classes.",
        ),
        (
            "What was tried, and what holds",
            "The best of 2 is real+syn:tone: +5.0 [+1.0, +9.0] points where it was chosen, +3.0 [-1.0, +7.0] "
            "where it was not: can't tell.",
        ),
        ("Splits", "No known group stands on both sides of a cut, in 2 splits."),
        ("Cost", "12 classifiers, 1,234 synthetic images."),
        ("Samples", ""),
    ],
)
def test_a_section_opens_with_what_it_found(title: str, said: str) -> None:
    assert finding(title, CONTENT) == said


def test_a_detection_of_two_seeds_has_no_verdict() -> None:
    content = {"detection": {"classes": [found_of("a", 0.1, 0.8, seeds=2), found_of("b", 0.9, 1.8, seeds=2)]}}
    assert finding("Detection", content) == (
        "dcgan: no verdict, which takes 3 seeds or more, and there are 2."
    )


def test_two_test_sets_are_told_apart() -> None:
    """A study of BreastMNIST tests on all images and on those that leak nothing."""
    apart = [
        {**row, "test_group": group} for group in ("all", "deduplicated") for row in CONTENT["per_class_f1"]
    ]
    content = {
        **CONTENT,
        "per_class_f1": apart,
        "confusions": [{**CONTENT["confusions"][0], "population": name} for name in ("all", "deduplicated")],
    }
    for group in ("all", "deduplicated"):
        where = f"Of resnet18, scenario iii, {group} test images"
        assert f"{where}: real+syn: mean F1 is" in finding("F1 by class", content)
        assert f"Of {group}: real: 25.0% of ring is called plaque" in finding("Confusions", content)


def test_the_chosen_use_comes_first_and_is_the_only_one_that_is_confirmed() -> None:
    text = tried_section(cast(list[TriedRow], CONTENT["tried"])).text
    lines = [line for line in text.splitlines() if line.startswith("| real")]
    assert lines == [
        "| real+syn:tone (chosen) | real | +5.0 [+1.0, +9.0] | +3.0 [-1.0, +7.0] |",
        "| real+syn | real | +1.0 [-2.0, +4.0] |  |",
    ]
    assert "on 41 others" in text
    few = [{**row, "runs": 2} for row in cast(list[TriedRow], CONTENT["tried"])]
    assert finding("What was tried, and what holds", {"tried": few}).endswith(
        "no verdict, as it rests on 2 of the 3 runs it needs."
    )
    assert not tried_section([]).text
