from typing import Any

import pytest

from skindiff.evaluation.statistics.comparisons import comparison, holm
from skindiff.evaluation.statistics.estimates import Estimate
from skindiff.evaluation.statistics.paired_bootstrap import summarise
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
    "against": {},
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
    assert "corrected for 10 comparisons" in of_many["sentence"]
    assert "corrected" not in alone["sentence"]
    assert of_many["minimum_effect"] > alone["minimum_effect"]


@pytest.mark.parametrize(("value", "words"), [(0.09, "is better than real"), (-0.09, "is worse than real")])
def test_the_sentence_says_how_much_and_what_could_not_have_been_seen(value: float, words: str) -> None:
    (said,) = verdicts([row("syn", value)], "accuracy")
    first, least = said["sentence"].split("]. ")
    assert first.startswith(f"syn {words} on dark test images: {100 * value:+.1f} points of accuracy [")
    seen_from = f"{100 * said['minimum_effect']:.1f}"
    assert least == f"Effects below {seen_from} points could not have been seen reliably."


def test_a_caution_stands_in_the_sentence() -> None:
    (said,) = verdicts([row("syn", 0.0, units=1)], "accuracy")
    assert "can't be told apart from real on dark test images: +0.0 points" in said["sentence"]
    assert "One run per arm" in said["sentence"]


def test_arms_under_test_are_judged_against_controls_and_controls_only_against_real() -> None:
    cells = make_cells({"real": 1.0, "syn": 0.2, "real+syn": 2.0, "real+duplicates": 1.0}, images=240)
    summary = summarise(cells, references=["real+duplicates"], replicates=300, metrics=["accuracy"])
    found = {(one["arm"], one["reference"]): one for one in verdicts(summary, "accuracy")}
    assert {place: one["verdict"] for place, one in found.items()} == {
        ("syn", "real"): "hurts",
        ("syn", "real+duplicates"): "hurts",
        ("real+syn", "real"): "helps",
        ("real+syn", "real+duplicates"): "helps",
        ("real+duplicates", "real"): "can't tell",
    }
    against_real = [one for one in summary if one["arm"] != "real"]
    assert {one["comparisons"] for one in against_real} == {3}
    assert summary[1]["against"]["real+duplicates"]["comparisons"] == 2
    assert summary[0]["against"]["real+duplicates"]["delta_p_corrected"] is None
