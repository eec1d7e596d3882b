from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from skindiff.evaluation.report.pictures import ARM_COLOURS, series_colours
from skindiff.evaluation.report.type_pictures import Bar, draw_bars, group_bars

KEY = {"scenario": "iii", "architecture": "resnet18", "preset": "clean"}
ROW = {**KEY, "test_group": "dark", "strategy": None, "ratio": None}


def content(**more: Any) -> dict[str, Any]:
    recalls = [("real", 0.2, None), ("real", 0.4, 0.5), ("real+syn", 0.6, None)]
    results = [
        {**ROW, "arm": arm, "per_skin_type_recall": {"VI": six, "V": five}} for arm, six, five in recalls
    ]
    return {"results": results, **more}


def test_without_intervals_bars_are_means_over_runs() -> None:
    bars, caption = group_bars(content())
    (panel,) = bars.values()
    assert panel["real"] == {
        "type VI": Bar(pytest.approx(0.3), runs=(0.2, 0.4)),
        "type V": Bar(0.5, runs=(0.5,)),
    }
    assert list(panel["real+syn"]) == ["type VI"]
    assert "single runs" in caption
    assert group_bars({"results": [{**ROW, "arm": "real", "per_skin_type_recall": {"V": None}}]})[0] == {}


def test_intervals_and_suppression_come_from_the_fairness_of_the_report() -> None:
    groups = {
        "V": {"suppressed": False, "recall": {"value": 0.4, "low": 0.3, "high": 0.5}},
        "VI": {"suppressed": True},
        "women": {"suppressed": False, "recall": {"value": 0.6, "low": 0.5, "high": 0.7}},
    }
    arm = {"arm": "real", "strategy": None, "ratio": None, "groups": groups}
    bars, caption = group_bars(content(fairness={"populations": [{**KEY, "arms": [arm]}]}))
    assert bars == {
        "resnet18, scenario iii, preset clean": {
            "real": {"type V": Bar(0.4, 0.3, 0.5), "women": Bar(0.6, 0.5, 0.7)}
        }
    }
    assert "95% intervals" in caption


def test_bars_are_drawn_alike_twice_and_a_missing_one_leaves_a_gap(tmp_path: Path) -> None:
    bars = {"one": {"real": {"type V": Bar(0.4, 0.3, 0.5)}, "syn": {"type VI": Bar(0.2, runs=(0.1, 0.3))}}}
    for name in ("first.png", "second.png"):
        draw_bars(bars, tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    draw_bars({**bars, "two": bars["one"]}, tmp_path / "both.png")
    with Image.open(tmp_path / "first.png") as one, Image.open(tmp_path / "both.png") as two:
        assert two.size[1] > 1.8 * one.size[1]


def test_every_series_has_a_colour_of_its_own() -> None:
    few = series_colours(["real", "real+syn", "real+syn:random"])
    assert few["real"] == ARM_COLOURS["real"]
    assert len(set(few.values())) == 3
    many = series_colours(["real", *(f"real+syn x {ratio}" for ratio in range(18))])
    assert len(set(many.values())) == 19
