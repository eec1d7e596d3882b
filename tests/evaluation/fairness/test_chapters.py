from dataclasses import replace
from typing import Any

from skindiff.classification.cells import Cell
from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.evaluation.fairness.chapters import fairness_chapters
from skindiff.evaluation.fairness.content import fairness_content
from skindiff.report.fairness import fairness_section
from tests.evaluation.fairness.test_content import typed_cells

SEX = Attribute("sex", None, ["male"], ["female"], further=["age"], bands={"age": [0, 60]})


def known_cells(**options: Any) -> list[Cell]:
    """Cells of every fourth image of a woman, and few of them old."""
    return [
        replace(
            cell,
            attributes={
                "sex": tuple(
                    ("female", "male", "male", "male")[row // 16 % 4] for row in range(len(cell.labels))
                ),
                "age": tuple(
                    "60 and over" if row < 24 else "0 to under 60" for row in range(len(cell.labels))
                ),
            },
        )
        for cell in typed_cells(**options)
    ]


def chapters(cells: list[Cell], attribute: Attribute) -> dict[tuple[str, ...], Any]:
    first, rest = fairness_chapters(cells, attribute, replicates=100)
    return {tuple(one["settings"].get("by", ["skin_type"])): one for one in (first, *rest) if one}


def groups(content: Any) -> dict[str, Any]:
    found: dict[str, Any] = content["populations"][0]["arms"][0]["groups"]
    return found


def test_skin_types_alone_have_the_chapter_that_they_had() -> None:
    cells = typed_cells()
    first, rest = fairness_chapters(cells, SKIN_TYPE, replicates=100)
    assert (first, rest) == (fairness_content(cells, replicates=100), [])
    assert "By skin type" not in fairness_section(first).text


def test_groups_are_by_what_is_scarce_by_the_rest_and_by_both() -> None:
    found = chapters(known_cells(), SEX)
    assert list(found) == [("sex",), ("age",), ("skin_type",), ("sex", "age"), ("sex", "skin_type")]
    assert list(groups(found["sex",])) == ["male", "female"]
    arm = found["sex",]["populations"][0]["arms"][0]
    assert arm["gap"]["low"] < arm["gap"]["high"]
    assert found["age",]["populations"][0]["arms"][0]["gap"] is None
    assert list(groups(found["sex", "skin_type"]))[:2] == ["male, type I", "male, type II"]
    assert found["skin_type",]["settings"]["disadvantaged"] == ["V", "VI"]


def test_a_small_intersection_is_suppressed() -> None:
    crossed = groups(chapters(known_cells(), SEX)["sex", "age"])
    assert crossed["male, 60 and over"] == {"patients": 8.0, "suppressed": True}
    assert not crossed["female, 0 to under 60"]["suppressed"]


def test_a_further_column_beside_skin_types() -> None:
    found = chapters(known_cells(), Attribute(further=["sex"]))
    assert list(found) == [("skin_type",), ("sex",), ("skin_type", "sex")]
    assert "type V, female" in groups(found["skin_type", "sex"])
    first, *rest = found.values()
    text = fairness_section(first, further=rest).text
    assert "By skin type:" in text
    assert "By skin type and sex:" in text
    assert text.count("The gap between") + text.count("gap, I and II minus") == 1


def test_images_of_which_a_column_is_not_recorded_are_left_out() -> None:
    cells = [
        replace(
            cell, attributes={"sex": tuple(None if row < 100 else "male" for row in range(len(cell.labels)))}
        )
        for cell in typed_cells()
    ]
    found = chapters(cells, Attribute("sex", None, ["male"], ["female"]))
    assert groups(found["sex",])["male"]["patients"] == 220.0
