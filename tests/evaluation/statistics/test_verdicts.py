from typing import Any

import pytest

from skindiff.classification.contrasts import PrimaryContrast
from skindiff.evaluation.statistics.comparisons import comparison, holm
from skindiff.evaluation.statistics.estimates import Estimate
from skindiff.evaluation.statistics.summary import summarise
from skindiff.evaluation.statistics.verdicts import call, verdicts
from tests.evaluation.made_up import make_cells

KEY = {
    "scenario": "iii",
    "test_group": "dark",
    "generator": None,
    "strategy": None,
    "ratio": None,
    "architecture": "resnet18",
    "preset": "grouped",
    "metric": "accuracy",
    "reference": "real",
    "role": "exploratory",
    "chance": 0.25,
    "above_chance": True,
    "reference_above_chance": True,
    "groups_differing": 50,
}


def row(arm: str, value: float, p_values_of_others: tuple[float, ...] = (), units: int = 5) -> dict[str, Any]:
    found = Estimate(value, 1e-4, 1e-4, 0.0, units, 100)
    correction = holm([found.p_value(), *p_values_of_others])[0]
    return {**KEY, "arm": arm, **comparison(found, units, correction=correction)}


def test_a_verdict_follows_from_the_ends_of_an_interval() -> None:
    assert call(0.01, 0.09) == "helps"
    assert call(-0.09, -0.01) == "hurts"
    assert call(-0.01, 0.09) == call(0.0, 0.1) == call(None, None) == "can't tell"


def test_it_is_the_corrected_interval_that_decides() -> None:
    (alone,) = verdicts([row("syn", 0.04)], "accuracy")
    (of_many,) = verdicts([row("syn", 0.04, (0.5,) * 9)], "accuracy")
    assert (alone["verdict"], of_many["verdict"]) == ("helps", "can't tell")
    assert of_many["minimum_effect"] > alone["minimum_effect"]


@pytest.mark.parametrize(
    ("value", "words"), [(0.09, "helps against real: +9.0"), (-0.09, "hurts against real: -9.0")]
)
def test_the_sentence_says_how_much_and_what_could_not_have_been_seen(value: float, words: str) -> None:
    (said,) = verdicts([row("syn", value)], "accuracy")
    assert f"syn {words} points of accuracy [" in said["sentence"]
    (open_one,) = verdicts([row("syn", 0.001)], "accuracy")
    assert f"under {100 * open_one['minimum_effect']:.1f} would probably be missed." in open_one["sentence"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"above_chance": False, "reference_above_chance": False}, "neither arm is known to"),
        ({"delta_units": 2}, "it rests on 2 of the 3 splits or trainings"),
        ({"groups_differing": 0, "delta_seed_share": 0.0}, "both arms say the same of every test image"),
        ({"delta_seed_share": 0.0}, "the runs do not differ at all"),
        ({"groups_differing": 9}, "the arms differ on 9 of the 10 test groups"),
    ],
)  # fmt: skip
def test_there_is_no_verdict_from_nothing(changed: dict[str, Any], why: str) -> None:
    (said,) = verdicts([row("syn", 0.09) | changed], "accuracy")
    assert said["verdict"] == "no verdict"
    assert why in said["why"]
    assert why in said["sentence"]
    (known,) = verdicts([row("syn", 0.09) | {"reference_above_chance": False}], "accuracy")
    assert known["verdict"] == "helps"  # `real` at chance and the other above it is a finding


def test_arms_under_test_are_judged_against_controls_and_controls_only_against_real() -> None:
    cells = make_cells({"real": 1.0, "syn": 0.2, "real+syn": 2.0, "real+duplicates": 1.0}, images=240)
    summary = summarise(cells, replicates=300, metrics=["accuracy"])
    found = {(one["arm"], one["reference"]): one for one in verdicts(summary, "accuracy")}
    assert {place: one["verdict"] for place, one in found.items()} == {
        ("syn", "real"): "hurts",
        ("syn", "real+duplicates"): "hurts",
        ("real+syn", "real"): "helps",
        ("real+syn", "real+duplicates"): "helps",
        ("real+duplicates", "real"): "can't tell",
    }
    assert {one["comparisons"] for one in summary if one["reference"]} == {5}


def test_the_primary_contrast_stands_alone_and_the_next_waits_for_it() -> None:
    skill = {"real": 1.0, "real+syn": 2.0, "real+duplicates": 1.0}
    asked = PrimaryContrast(metric="accuracy", then="real+duplicates")
    summary = summarise(make_cells(skill, images=240), primary=asked, replicates=300, metrics=["accuracy"])
    first, second, third = verdicts(summary, "accuracy")
    assert [one["role"] for one in (first, second, third)] == ["primary", "then", "exploratory"]
    assert [one["verdict"] for one in (first, second)] == ["helps", "helps"]
    rows = {row["role"]: row for row in summary if row["role"]}
    for role in ("primary", "then"):
        assert rows[role]["delta_ci_low_corrected"] == rows[role]["delta_ci_low"]
        assert rows[role]["comparisons"] == 1
    alike = make_cells({**skill, "real+syn": 1.0}, images=240)
    first, second, _ = verdicts(
        summarise(alike, primary=asked, replicates=300, metrics=["accuracy"]), "accuracy"
    )
    assert (first["verdict"], second["verdict"]) == ("can't tell", "no verdict")
    assert second["why"] == "it is asked only if real+syn is decided against real"
