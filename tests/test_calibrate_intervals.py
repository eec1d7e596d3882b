import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from coverage_counts import (
    METRICS,
    calibrate,
    naive_width,
    plant,
    true_difference,
    wilson,
)
from simulated_studies import (
    CLINICAL,
    DESIGNS,
    LESIONS,
    LONG_TAIL_OF_GROUPS,
    PHANTOM,
    POWERED,
    REPEATING,
    Design,
    simulate,
)

from tests.test_scripts import load_script


def test_a_simulated_study_is_what_its_design_says() -> None:
    design = replace(LESIONS, trainings=2, arms=3)
    cells = simulate(design, 0)
    assert len(cells) == 5 * 2 * 3
    again = simulate(design, 0)
    assert all((a.probabilities == b.probabilities).all() for a, b in zip(cells, again, strict=True))
    groups = [len(set(cell.group_ids)) for cell in cells]
    assert set(groups) == {round(0.77 * 250)}
    assert len(cells[0].labels) > groups[0]
    first, second = set(cells[0].group_ids), set(cells[-1].group_ids)
    assert 0.6 < len(first & second) / len(first) < 0.95
    label_of = dict(zip(cells[0].group_ids, cells[0].labels.tolist(), strict=True))
    own = zip(cells[0].group_ids, cells[0].labels.tolist(), strict=True)
    assert all(label_of[group] == label for group, label in own)
    assert len({design.name for design in DESIGNS}) == len(DESIGNS)


def test_intervals_of_a_few_studies_hold_zero() -> None:
    for row in calibrate(CLINICAL, 60, replicates=100):
        assert row.covered >= 0.85
        assert row.mean_covered >= 0.85


def test_a_planted_effect_is_as_large_as_it_was_meant() -> None:
    planted = plant(CLINICAL, "balanced_accuracy", 0.15, studies=40)
    gained = true_difference(planted, "balanced_accuracy", 40) - true_difference(
        CLINICAL, "balanced_accuracy", 40
    )
    assert gained == pytest.approx(0.15, abs=0.003)
    (row,) = calibrate(planted, 40, replicates=100, metrics=["balanced_accuracy"], truth=0.15)
    assert row.helps > 0.6
    assert row.covered >= 0.85


def test_repeated_groups_make_a_naive_interval_too_narrow() -> None:
    one_run = next(design for design in REPEATING if design.name.endswith("one run"))
    ratio, by_group, by_image = naive_width(one_run, "balanced_accuracy", 60, replicates=100)
    assert ratio > 1.3
    assert by_group > by_image


def test_the_script_prints_its_tables_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load_script("calibrate_intervals")
    monkeypatch.setattr(
        script, "plant", lambda design, metric, difference: plant(design, metric, difference, 10)
    )
    settings = ["--studies", "6", "--replicates", "30", "--only", "clinical, 5 splits"]
    monkeypatch.setattr(sys, "argv", ["calibrate_intervals.py", *settings, "--output", str(tmp_path)])
    script.main()
    said = capsys.readouterr().out
    assert "clinical, 5 splits" in said
    assert "A planted +5 points of balanced_accuracy" in said
    assert len(list(tmp_path.iterdir())) == 4  # without an effect, with five points, and the two stated ones
    kept = tmp_path / "clinical--5-splits.json"
    stored = json.loads(kept.read_text())
    stored["found"][0]["covered"] = 0.5
    kept.write_text(json.dumps(stored))
    script.main()
    assert " 50.0 [" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "design", [CLINICAL, PHANTOM, LESIONS, LONG_TAIL_OF_GROUPS], ids=lambda one: one.name
)
def test_intervals_cover_what_they_say(design: Design) -> None:
    """The smaller version of scripts/calibrate_intervals.py: 94% to 96%, and three binomial errors of 600."""
    for row in calibrate(design, 600, metrics=METRICS):
        assert 0.94 - 0.029 <= row.covered <= 0.96 + 0.024
        assert row.mean_covered >= 0.91


@pytest.mark.slow
def test_a_planted_effect_is_found_at_the_stated_power() -> None:
    many = next(design for design in POWERED if design.groups == 800)
    for design in (CLINICAL, many):
        (row,) = calibrate(
            plant(design, "balanced_accuracy", 0.05), 400, metrics=["balanced_accuracy"], truth=0.05
        )
        low, high = wilson(row.helps, 400)
        assert low - 0.05 <= row.stated_power <= high + 0.05
        assert wilson(row.covered, 400)[1] >= 0.94
