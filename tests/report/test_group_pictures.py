from pathlib import Path

from PIL import Image

from skindiff.evaluation.fairness.content import FairnessConfig, fairness_content
from skindiff.report.drawing import ARM_COLOURS, series_colours
from skindiff.report.group_pictures import Bar, chance_recalls, draw_bars, group_bars
from tests.evaluation.made_up import NAMES, make_cells


def test_bars_are_the_recalls_of_the_groups_that_are_shown() -> None:
    cells = make_cells({"real": 0.5, "real+syn": 1.5}, images=60, split_seeds=(0, 1))
    fairness = fairness_content(cells, FairnessConfig(smallest=30), replicates=100)
    bars = group_bars(fairness)
    # Of 60 patients 40 are of type V and 20 of type VI, who are too few to be shown.
    assert {name: list(own) for name, own in bars["resnet18, scenario iii, preset grouped"].items()} == {
        "real": ["type V"],
        "real+syn": ["type V"],
    }
    recall = fairness["populations"][0]["arms"][1]["groups"]["V"]["recall"]
    bar = bars["resnet18, scenario iii, preset grouped"]["real+syn"]["type V"]
    assert bar == Bar(recall["value"], recall["low"], recall["high"])
    assert group_bars(fairness_content(cells, FairnessConfig(smallest=50), replicates=100)) == {}
    assert group_bars({}) == {}
    fairness["settings"]["by"] = ["stage"]  # whose values look like skin types
    assert list(group_bars(fairness)["resnet18, scenario iii, preset grouped"]["real"]) == ["V"]
    assert chance_recalls(fairness) == {"resnet18, scenario iii, preset grouped": 1 / len(NAMES)}


def test_bars_are_drawn_alike_twice_and_a_missing_one_leaves_a_gap(tmp_path: Path) -> None:
    bars = {"one": {"real": {"type V": Bar(0.4, 0.3, 0.5)}, "syn": {"women": Bar(0.2, 0.1, 0.3)}, "x": {}}}
    for name in ("first.png", "second.png"):
        draw_bars(bars, tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    draw_bars(bars, tmp_path / "guess.png", chances={"one": 0.25})
    assert (tmp_path / "guess.png").read_bytes() != (tmp_path / "first.png").read_bytes()
    draw_bars({**bars, "two": bars["one"]}, tmp_path / "both.png")
    with Image.open(tmp_path / "first.png") as one, Image.open(tmp_path / "both.png") as two:
        assert two.size[1] > 1.8 * one.size[1]


def test_every_series_has_a_colour_of_its_own() -> None:
    few = series_colours(["real", "real+syn", "real+syn:random"])
    assert few["real"] == ARM_COLOURS["real"]
    assert len(set(few.values())) == 3
    names = ["real", *(f"real+syn x {ratio}" for ratio in range(18))]
    many = series_colours(names)
    assert len({many[name] for name in names}) == 19
