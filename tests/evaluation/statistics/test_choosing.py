"""The best of many is chosen on some groups and confirmed on others, which had no say."""

from dataclasses import replace

import numpy as np
import pytest

from skindiff.classification.cells import Cell
from skindiff.classification.contrasts import ChoiceConfig, PrimaryContrast
from skindiff.evaluation.statistics.choosing import choosing_groups, tried_rows
from skindiff.evaluation.statistics.rows import TriedRow
from tests.evaluation.made_up import make_cells

PRIMARY = PrimaryContrast(metric="balanced_accuracy")
ALIKE = {
    "real": 1.0,
    **{f"real+syn:{name}": 1.0 for name in ("random", "agreement", "typicality", "novelty")},
}


def tried(cells: list[Cell], config: ChoiceConfig | None = None, arm: str = "real+syn") -> list[TriedRow]:
    primary = replace(PRIMARY, arm=arm)
    return tried_rows(cells, config or ChoiceConfig(), primary, replicates=100)


def scores(cells: list[Cell], arm: str, groups: set[str]) -> float:
    """The mean over cells of the balanced accuracy on some groups, by hand."""
    found = []
    for cell in (cell for cell in cells if cell.key.arm == arm):
        kept = np.array([group in groups for group in cell.group_ids])
        right = cell.probabilities.argmax(1) == cell.labels
        found.append(np.mean([right[kept & (cell.labels == label)].mean() for label in range(4)]))
    return float(np.mean(found))


def test_gains_are_those_of_the_groups_that_choose_and_the_chosen_ones_those_of_the_others() -> None:
    cells = make_cells({"real": 1.0, "real+syn": 1.2, "real+syn:tone": 2.5}, copies=2)
    choosing = choosing_groups(cells, ChoiceConfig())
    others = {group for cell in cells for group in cell.group_ids} - choosing
    rows = tried(cells)
    assert [row["arm"] for row in rows] == ["real+syn", "real+syn:tone"]
    for row in rows:
        gain = scores(cells, row["arm"], choosing) - scores(cells, "real", choosing)
        assert row["gain"] == pytest.approx(gain)
        assert row["gain_ci_low"] < gain < row["gain_ci_high"]
        assert (row["groups"], row["images"], row["runs"]) == (len(choosing), 2 * len(choosing), 5)
    assert [row["chosen"] for row in rows] == [False, True]
    assert rows[0]["confirmed"] is None
    assert rows[1]["confirmed"] == pytest.approx(
        scores(cells, "real+syn:tone", others) - scores(cells, "real", others)
    )
    assert rows[1]["confirming_groups"] == len(others)


def test_what_the_confirming_groups_say_does_not_move_the_choice() -> None:
    cells = make_cells({"real": 1.0, "real+syn": 1.2, "real+syn:tone": 2.5})
    choosing = choosing_groups(cells, ChoiceConfig())
    spoilt = []
    for cell in cells:
        hers = np.array([group in choosing for group in cell.group_ids])
        wrong = np.roll(np.eye(4)[cell.labels], 1, axis=1)
        better = np.eye(4)[cell.labels] if cell.key.arm == "real+syn" else wrong
        spoilt.append(replace(cell, probabilities=np.where(hers[:, None], cell.probabilities, better)))
    before, after = tried(cells), tried(spoilt)
    own = ("arm", "gain", "gain_ci_low", "gain_ci_high", "chosen")
    assert [[row[name] for name in own] for row in before] == [[row[name] for name in own] for row in after]
    assert after[1]["confirmed"] == 0


def test_the_best_of_equals_looks_better_where_it_was_chosen_than_where_it_was_not() -> None:
    """Over many studies in which nothing helps; the mean where it was chosen is what choosing alone gives."""
    chosen, confirmed, called = [], [], 0
    for seed in range(150):
        cells = make_cells(ALIKE, images=80, seed=seed, own_spread=1.0)
        (best,) = [row for row in tried(cells, arm="real+syn:random") if row["chosen"]]
        assert best["confirmed"] is not None
        assert best["confirmed_ci_low"] is not None
        chosen.append(best["gain"])
        confirmed.append(best["confirmed"])
        called += best["confirmed_ci_low"] > 0
    error = np.std(confirmed, ddof=1) / np.sqrt(len(confirmed))
    assert np.mean(chosen) > 0.015 > abs(np.mean(confirmed))
    assert abs(np.mean(confirmed)) < 3 * error
    assert called <= 10  # 2.5% of 150 are 4


def test_groups_are_cut_once_for_all_splits_and_every_class_is_on_either_side() -> None:
    cells = make_cells({"real": 1.0, "real+syn": 1.0}, images=120, copies=3)
    config = ChoiceConfig(share=0.25)
    whole = choosing_groups(cells, config)
    assert len(whole) == 8  # a quarter of ten groups of each of four classes
    half = [replace(cell, **_rows(cell, 60)) for cell in cells]
    assert choosing_groups(half, ChoiceConfig(share=0.999)) < {g for cell in half for g in cell.group_ids}
    labels = dict(zip(cells[0].group_ids, cells[0].labels.tolist(), strict=True))
    assert {labels[group] for group in whole} == {0, 1, 2, 3}
    assert choosing_groups(cells, ChoiceConfig(share=0.25, seed=1)) != whole
    assert choosing_groups(list(reversed(cells)), config) == whole


def _rows(cell: Cell, count: int) -> dict[str, object]:
    names = ("image_ids", "group_ids", "skin_types", "labels", "probabilities")
    return {name: getattr(cell, name)[:count] for name in names}


def test_arms_are_compared_with_themselves_without_synthetic_images() -> None:
    cells = make_cells({"real": 1.0, "real+weighted": 2.0, "real+syn": 1.5, "real+syn+weighted": 2.1})
    assert {row["arm"]: row["reference"] for row in tried(cells)} == {
        "real+syn": "real",
        "real+syn+weighted": "real+weighted",
    }


def test_a_control_is_never_chosen() -> None:
    cells = make_cells({"real": 1.0, "real+duplicates": 3.0, "real+colour": 3.0, "real+syn": 1.1})
    for_images = [
        replace(cell, key=cell.key._replace(generator="made-up")) if cell.key.arm == "real+colour" else cell
        for cell in cells
    ]
    assert [(row["arm"], row["chosen"]) for row in tried(for_images)] == [("real+syn", True)]


def test_nothing_is_tried_where_the_question_has_no_cells() -> None:
    assert tried(make_cells({"real": 1.0, "syn": 1.0})) == []
