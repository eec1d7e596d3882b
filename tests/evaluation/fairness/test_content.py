import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from skindiff.classification.cells import Cell
from skindiff.errors import ConfigError
from skindiff.evaluation.fairness.content import FairnessConfig, fairness_content
from skindiff.report.fairness import fairness_section
from tests.evaluation.made_up import make_cells

ARMS = {"real": 1.0, "real+syn": 1.0}


def types_of(cell: Cell) -> tuple[str, ...]:
    """Types by class in equal parts: the four classes come in turn, so every fourth image is of one."""
    return tuple(("I", "II", "V", "VI")[row // 4 % 4] for row in range(len(cell.labels)))


def typed_cells(images: int = 320, **options: Any) -> list[Cell]:
    cells = make_cells(ARMS, images=images, **options)
    return [replace(cell, skin_types=types_of(cell)) for cell in cells]


def worsened(cells: list[Cell], arm: str, kind: str, share: float = 0.5) -> list[Cell]:
    """Return cells in which an arm misses a share of a group's images."""
    found = []
    for cell in cells:
        chances = cell.probabilities.copy()
        if cell.key.arm == arm:
            rows = [row for row, name in enumerate(cell.skin_types) if name == kind]
            rows = rows[: round(share * len(rows))]
            chances[rows] = np.eye(4)[(cell.labels[rows] + 1) % 4]
        found.append(replace(cell, probabilities=chances))
    return found


def arm_of(content: dict[str, Any], arm: str) -> dict[str, Any]:
    return next(one for one in content["populations"][0]["arms"] if one["arm"] == arm)


@pytest.fixture(scope="module")
def hurt() -> dict[str, Any]:
    return fairness_content(worsened(typed_cells(), "real+syn", "VI"), replicates=300)


def test_a_group_that_an_arm_serves_worse_is_named_and_no_other(hurt: dict[str, Any]) -> None:
    arm = arm_of(hurt, "real+syn")
    changes = {name: one["change"] for name, one in arm["groups"].items()}
    assert changes["VI"]["delta_ci_high_corrected"] < -0.1
    assert changes["VI"]["comparisons"] == 4
    for name in ("I", "II", "V"):
        assert changes[name]["delta_ci_low_corrected"] < 0 < changes[name]["delta_ci_high_corrected"]
    assert arm["worst"]["group"] == "VI"
    assert arm["gap_change"]["delta_ci_low"] > 0
    assert arm["gap"]["value"] - arm_of(hurt, "real")["gap"]["value"] == pytest.approx(
        arm["gap_change"]["delta"]
    )
    assert arm_of(hurt, "real")["gap_change"] is None
    text = fairness_section(hurt).text
    assert "- real+syn hurts VI against real: -" in text
    assert text.count("hurts") == 1
    assert "| grows |" in text
    json.dumps(hurt, allow_nan=False)


def test_what_a_weighted_arm_adds_is_measured_against_the_weighted_sampler() -> None:
    arms = {"real": 1.0, "real+weighted": 1.0, "real+syn+weighted": 1.0}
    cells = [replace(cell, skin_types=types_of(cell)) for cell in make_cells(arms, images=320)]
    for arm in ("real+weighted", "real+syn+weighted"):
        cells = worsened(cells, arm, "VI")
    content = fairness_content(cells, replicates=300)
    weighted, both = arm_of(content, "real+weighted"), arm_of(content, "real+syn+weighted")
    assert (weighted["reference"], both["reference"]) == ("real", "real+weighted")
    assert weighted["groups"]["VI"]["change"]["delta_ci_high_corrected"] < -0.1
    change = both["groups"]["VI"]["change"]
    assert change["delta_ci_low_corrected"] < 0 < change["delta_ci_high_corrected"]
    text = fairness_section(content).text
    low, high = (100 * change[f"delta_ci_{end}_corrected"] for end in ("low", "high"))
    assert "| real+syn+weighted - real+weighted |" in text
    assert f"[{low:+.1f}, {high:+.1f}]" in text  # the corrected interval, which the verdict follows from


def test_without_a_difference_no_group_is_named() -> None:
    content = fairness_content(typed_cells(), replicates=300)
    assert "No arm is known to help or hurt any group" in fairness_section(content).text
    gap = arm_of(content, "real")["gap"]
    assert gap["low"] < 0 < gap["high"]


def test_a_recall_that_never_varied_has_the_interval_of_the_patients_of_its_class() -> None:
    cells = [replace(cell, probabilities=np.eye(4)[cell.labels]) for cell in typed_cells(split_seeds=(0, 1))]
    group = arm_of(fairness_content(cells, replicates=100), "real")["groups"]["VI"]
    patients = {
        (place, cell.labels[row])
        for cell in cells
        for row, place in enumerate(cell.group_ids)
        if cell.skin_types[row] == "VI" and cell.key.arm == "real"
    }
    of_class = len([one for one in patients if one[1] == 0])
    assert of_class < len(patients)
    first = next(iter(group["classes"].values()))
    for score, count in ((group["recall"], len(patients)), (first, of_class)):
        assert (score["value"], score["high"]) == (1.0, 1.0)
        assert score["low"] == pytest.approx(0.025 ** (1 / count))


def test_a_group_of_few_patients_is_suppressed_however_many_images_it_has() -> None:
    cells = typed_cells(copies=10, split_seeds=(0, 1, 2))  # 32 patients of 10 images
    content = fairness_content(
        [
            replace(cell, skin_types=tuple("VI" if group < "group-0009" else "V" for group in cell.group_ids))
            for cell in cells
        ],
        replicates=100,
    )
    groups = arm_of(content, "real")["groups"]
    assert groups["VI"] == {"patients": 9.0, "suppressed": True}
    assert groups["V"]["patients"] == 23.0
    assert groups["V"]["recall"]["low"] < groups["V"]["recall"]["value"]
    assert all(one is None for one in groups["V"]["classes"].values())  # 23 patients of four classes
    assert arm_of(content, "real")["worst"] is None
    assert "VI (9 patients in a run)" in fairness_section(content).text
    assert "patients" not in fairness_section(content, "groups of images").text
    shown = fairness_content(cells, FairnessConfig(smallest=2), replicates=100)
    assert not any(one["suppressed"] for one in arm_of(shown, "real")["groups"].values())


def test_a_gap_needs_patients_on_both_sides() -> None:
    cells = [replace(cell, skin_types=("V",) * 160 + ("VI",) * 160) for cell in typed_cells()]
    content = fairness_content(cells, replicates=100)
    assert arm_of(content, "real+syn")["gap"] is None
    assert arm_of(content, "real+syn")["gap_change"] is None
    said = "The gap between I and II and V and VI is not shown: no image of I or II is tested."
    assert said in fairness_section(content).text


def test_any_group_of_patients_can_take_the_place_of_skin_types() -> None:
    cells = make_cells(ARMS, images=160, split_seeds=(0, 1, 2))
    clinic = {f"image-{row:04d}": "north" if row % 8 < 4 else "south" for row in range(150)}
    config = FairnessConfig(advantaged=["north"], disadvantaged=["south"])
    content = fairness_content(cells, config, group_of=clinic, replicates=100)
    groups = arm_of(content, "real")["groups"]
    assert {name: one["patients"] for name, one in groups.items()} == {"north": 76.0, "south": 74.0}
    assert arm_of(content, "real")["gap"]["low"] < arm_of(content, "real")["gap"]["high"]


def test_repeated_pictures_of_a_patient_widen_the_interval() -> None:
    def width(cells: list[Cell]) -> float:
        recall = arm_of(fairness_content(cells, replicates=300), "real")["groups"]["I"]["recall"]
        return float(recall["high"] - recall["low"])

    cells = make_cells(ARMS, images=480, copies=6, split_seeds=(0,))
    cells = [replace(cell, skin_types=("I",) * 480) for cell in cells]
    assert width(cells) > 1.6 * width([replace(cell, group_ids=cell.image_ids) for cell in cells])


def test_without_skin_types_there_is_nothing_to_say() -> None:
    cells = [replace(cell, skin_types=(None,) * 120) for cell in make_cells(ARMS)]
    assert fairness_content(cells, replicates=100) == {}
    assert fairness_section({}).text == ""


def test_settings_that_cannot_work_are_refused() -> None:
    for config, field in (
        (FairnessConfig(smallest=0), "smallest"),
        (FairnessConfig(advantaged=[]), "advantaged"),
        (FairnessConfig(advantaged=["V"]), "disadvantaged"),
    ):
        with pytest.raises(ConfigError, match=f"fairness.{field}: "):
            config.validate("fairness.")
