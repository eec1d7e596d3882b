import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skindiff.classification.contrasts import PrimaryContrast
from skindiff.classification.rows import METRICS
from skindiff.evaluation.statistics.verdicts import call
from skindiff.measures.skin.lesion_structure import LesionPreservation
from skindiff.measures.skin.tone import ToneShift, tone_shift
from skindiff.report.cost import study_cost, timing_rows
from skindiff.report.judgement import comparison_text, would_change
from skindiff.report.pictures import SampleRow
from skindiff.report.published.fitzpatrick import published_rows
from skindiff.report.study_section import StudySection
from skindiff.report.tables import difference, split_table
from skindiff.report.text import answer
from skindiff.report.write import Report, environment, plain, report_content, write_report
from tests.evaluation.made_up import NAMES, make_cells

PICTURES = {
    "differences.png",
    "confusions-scenario-iii-dark-resnet18-grouped.png",
    "fairness.png",
    "skin-tone.png",
    "samples.png",
    "training.png",
}


def tone() -> ToneShift:
    rng = np.random.default_rng(0)
    source = rng.normal(50, 6, 40)
    groups = [str(row // 2) for row in range(40)]
    shift = tone_shift(source.tolist(), (source - 30).tolist(), groups, [0.0, 5.0, 9.0], ["a", "b", "c"])
    assert shift is not None
    return shift


def made_up_report(**overrides: Any) -> Report:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    log = [{"step": float(step), "loss": 1 / step, "grad_norm": 1.0} for step in range(1, 30)]
    log[-1] |= {"validation_loss": 0.1, "validation_balanced_accuracy": 0.7}
    skill = {"real": 1.0, "syn": 0.3, "real+syn": 1.8, "real+duplicates": 1.0, "real+colour": 1.1}
    cells = make_cells(skill, images=60, split_seeds=(0, 1, 2))
    strategy = "img2img ti+lora"
    cells = [
        replace(cell, key=cell.key._replace(strategy=strategy if cell.key.strategy else None))
        for cell in cells
    ]
    sizes = {"train": 100, "validation": 10, "test_dark": 60}
    report = Report(
        recipe="made_up",
        title="A made-up study",
        config={
            "output_dir": "/somewhere/else",
            "resume": True,
            "corpus": {"data_dir": "/home/me/photos"},
            "k": 3,
        },
        splits=[
            {"seed": seed, "sizes": sizes, "dropped": {"set_aside": 4}, "groups_crossing": 0}
            for seed in (0, 1)
        ],
        cells=cells,
        replicates=100,
        corpus={"name": "phantom", "images": 170, "missing": 1, "quarantined": 0},
        tones={strategy: tone(), "real+colour": tone()},
        lesions={strategy: LesionPreservation((0.7, 0.6, 0.8), 0.1, (0.67, 0.5, 0.8), (0.9, 0.8, 1.0), 40)},
        curves={"LoRA": {"split 0": log, "split 1": log}, "resnet18": {"real": log}},
        samples=[
            SampleRow(NAMES[0], picture, (picture, picture), ("V", "VI")),
            SampleRow(NAMES[1], None, (picture,)),
        ],
        published=published_rows("iii"),
        notes=["The generator saw no beta."],
        extra={"copying": [{"nearest": 0.5}], "synthesis": [{"planned": 120, "drawn": 100}]},
        trainings={"lora, split 0": 40, "lora, split 1": 50},
        timings={"total": 98765.4},
    )
    return replace(report, **overrides)


def small_report(**overrides: Any) -> Report:
    """A report that is written in a moment."""
    cells = make_cells({"real": 1.0, "real+syn": 1.5}, images=40, split_seeds=(0,))
    return made_up_report(**{"cells": cells, "tones": {}, "curves": {}, "published": [], **overrides})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report")
    assert write_report(path, made_up_report()) == path / "report.md"
    return path


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found: dict[str, Any] = json.loads((folder / "report.json").read_text(), parse_constant=refuse)
    return found


def test_report_json_keeps_its_contract(content: Mapping[str, Any]) -> None:
    wanted = {
        "recipe",
        "config",
        "environment",
        "splits",
        "results",
        "summary",
        "fairness",
        "skin_tone",
        "timings",
        "copying",
    }
    assert wanted <= set(content)
    key = {"scenario", "test_group", "generator", "strategy", "arm", "ratio", "architecture", "preset"}
    result = content["results"][0]
    scores = {*METRICS, "per_class_f1", "per_skin_type_recall", "optimiser_steps"}
    assert key | {"split_seed", "train_seed"} | scores <= set(result)
    row = content["summary"][-1]
    numbers = {"mean", "ci_low", "ci_high", "delta", "delta_ci_low", "delta_ci_high", "metric"}
    assert key | numbers <= set(row)
    assert not {"split_seed", "train_seed"} & set(row)
    assert {"source", "synthetic", "target", "paired_shift"} <= set(content["skin_tone"])
    assert content["skin_tone"]["transfer"] == "img2img ti+lora"
    assert len(content["results"]) == 15
    # `real` has no reference, each control has one, both arms under test have `real` and two controls
    assert len(content["summary"]) == (1 + 2 * 1 + 2 * 3) * len(METRICS)
    assert content["schema"] == 2


def test_nothing_private_is_in_it(folder: Path, content: Mapping[str, Any]) -> None:
    assert content["config"] == {"corpus": {"data_dir": "photos"}, "k": 3}
    text = (folder / "report.json").read_text() + (folder / "report.md").read_text()
    for secret in ("/home/me", "/x/y", str(Path.home()) + "/", str(folder)):
        assert secret not in text
    assert set(content["environment"]) == {
        *("python", "platform", "device", "processes", "threads_per_process", "versions")
    }
    assert content["environment"]["versions"]["torch"][0].isdigit()


def test_text_says_what_was_found_and_shows_every_picture(folder: Path, content: Mapping[str, Any]) -> None:
    text = (folder / "report.md").read_text()
    assert {path.name for path in (folder / "pictures").glob("*.png")} == PICTURES
    assert all(f"(pictures/{name})" in text for name in PICTURES)
    assert "| real+syn - real | primary | helps | +" in text
    assert "| syn - real | exploratory | hurts | -" in text
    assert "| real+duplicates - real | exploratory | can't tell | " in text
    assert "| real+syn - real+duplicates | exploratory | helps | +" in text
    assert "| chance | 25.0 | 25.0 | 25.0 | 50.0 |" in text
    assert "| resnet18, real+syn | iii, dark | Table 4 | 56.50 ± 0.15 |" in text
    assert "| vgg16, real | iii, dark | Table 4 | 55.58 ± 0.10 | not run |" in text
    assert "The generator saw no beta." in text
    assert "27 h 26 min" not in text
    assert "27 h 26 min" in (folder / "report.html").read_text()
    found = {(one["arm"], one["reference"]): one["verdict"] for one in content["verdicts"]}
    assert set(found.values()) == {"helps", "hurts", "can't tell", "no verdict"}
    # Of 60 images in three splits neither is known to be above chance, 51.7% and 37.2% as they are.
    assert [names for names, verdict in found.items() if verdict == "no verdict"] == [
        ("syn", "real+duplicates")
    ]


def test_the_same_content_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "old.png").write_bytes(b"of an earlier report")
    write_report(tmp_path, made_up_report())
    names = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert names == {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    picture = (folder / "pictures" / "differences.png").read_bytes()
    assert b"tEXt" not in picture
    assert b"Software" not in picture


@pytest.mark.parametrize(
    ("corpus", "asked", "shown"),
    [
        ("phantom", None, True),
        ("phantom", False, False),
        ("fitzpatrick17k", None, False),
        ("fitzpatrick17k", True, True),
    ],
)
def test_photographs_are_shown_on_request_only(
    corpus: str, asked: bool | None, shown: bool, tmp_path: Path
) -> None:
    gallery = StudySection(
        "Closest pairs",
        photographs=(("pairs.png", "The closest pairs.", lambda path: copy_picture(path)),),
    )
    report = small_report(corpus={"name": corpus}, study_sections=[gallery])
    write_report(tmp_path, report, include_images=asked)
    numbers = PICTURES - {"samples.png", "skin-tone.png", "training.png"}
    drawn = {path.name for path in (tmp_path / "pictures").glob("*.png")}
    assert drawn == numbers | ({"samples.png", "pairs.png"} if shown else set())
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert ("Closest pairs" in text) == shown
        assert ("--include_images true" in text) == (not shown)
    text = (tmp_path / "report.md").read_text()
    assert (f"they show images of the corpus {corpus}, which can be of patients" in text) == (not shown)
    assert ("- The closest pairs." in text) == (not shown)


def copy_picture(path: Path) -> None:
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(path)


def test_study_sections_stand_where_they_belong(tmp_path: Path) -> None:
    study_sections = [
        StudySection("Copies", "few", after="Samples"),
        StudySection("By class", pictures=(("classes.png", "Bars.", copy_picture),), after="Scores"),
        lambda content: StudySection("Counted", f"{len(content['summary'])} rows"),
        StudySection("Nothing to say"),
    ]
    text = write_report(
        tmp_path, small_report(study_sections=study_sections, published=published_rows("iii"))
    ).read_text()
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    wanted = [
        "Scores",
        "By class",
        "Fairness",
        "Confusions",
        "Copies",
        "Counted",
        "Beside the paper",
    ]
    assert [title for title in titles if title in wanted] == wanted
    opening = text.partition("## ")[0]
    assert "Do synthetic images help? **" in opening, "a report opens with the answer"
    assert "samples.png" in opening
    assert "samples.png" not in text.partition("## ")[2]
    assert "Nothing to say" not in text
    assert f"{2 * len(METRICS)} rows" in text
    assert "![Bars.](pictures/classes.png)" in text
    with pytest.raises(ValueError, match="section 'Lost' is to follow 'Nowhere'"):
        write_report(tmp_path, small_report(study_sections=[StudySection("Lost", "x", after="Nowhere")]))


def test_the_cost_is_counted(content: Mapping[str, Any], folder: Path) -> None:
    # 5 arms of 3 split seeds at 100 steps; 20 of 120 images were refused; two trainings of a generator.
    assert content["cost"] == {
        "classifiers": 15,
        "classifier_steps": 1500,
        "trainings": 2,
        "training_steps": 90,
        "images_drawn": 120,
        "images_refused": 20,
    }
    assert "| optimiser steps of all classifiers | 1,500 |" in (folder / "report.md").read_text()
    twice = [{**row, "test_group": group} for row in content["results"] for group in ("dark", "light")]
    assert study_cost(twice, [], {}) == {"classifiers": 15, "classifier_steps": 1500}


def test_a_report_of_probes_says_nothing_of_steps(tmp_path: Path) -> None:
    name, cells = "probe:hf-hub:owner/name", make_cells({"real": 1.0, "real+syn": 1.2}, images=30)
    probes = [replace(c, key=c.key._replace(architecture=name), optimiser_steps=0) for c in cells]
    write_report(tmp_path, made_up_report(cells=probes))
    text = (tmp_path / "report.md").read_text()
    assert "the same number of optimiser steps" not in text
    assert "optimiser steps of all classifiers" not in text
    assert (
        tmp_path / "pictures" / "confusions-scenario-iii-dark-probe-hf-hub-owner-name-grouped.png"
    ).is_file()


def test_times_are_told_in_words() -> None:
    timings = {"seconds_of_last_call": 4460.2, "seconds_of_drawing": {"a": 60.0, "b": 313.4}, "none": {}}
    assert timing_rows(timings) == [("last call", "1 h 14 min"), ("drawing (2 times)", "6 min 13 s")]
    assert timing_rows({"seconds_of_last_call": 15.91}) == [("last call", "15.9 s")]


def test_a_comparison_is_called_fair_only_where_it_was_looked_at(content: Mapping[str, Any]) -> None:
    (text,) = comparison_text(content)
    assert "no group is in both training and test (2 splits)" in text
    assert "same number of optimiser steps (100 of resnet18)" in text
    assert "byte for byte" not in text
    looked = [{**split, "copies_crossing": 0} for split in content["splits"]]
    assert "byte for byte" in comparison_text({**content, "splits": looked})[0]
    assert comparison_text({**content, "splits": []}) == []
    unknown = report_content(small_report(corpus={"images": 120, "ungrouped": 7}), {})
    (text,) = comparison_text(unknown)
    assert text.startswith("- Patients unknown: leakage not excluded. 7 of 120 images")
    assert "no group is in both training and test" not in text
    assert "known groups crossing" in split_table(unknown["splits"], patients_known=False)
    leaky = [{"seed": 0, "sizes": {}, "dropped": {}, "groups_crossing": 3}]
    flags = report_content(small_report(splits=leaky), {})["flags"]
    (text,) = comparison_text({**content, "flags": flags})
    assert text.startswith("- Leak: groups")
    assert "No problem was found" not in text


def test_it_says_what_would_change_an_open_verdict() -> None:
    widths = {"now": 0.05, "twice_splits": 0.031, "twice_trainings": 0.042, "twice_patients": 0.049}
    row: dict[str, Any] = {"delta_ci_low": -0.03, "delta_ci_high": 0.07, "half_widths": widths}
    assert would_change(row) == (
        "the interval is ±5.0 points; it would be about ±3.1 with twice the splits, ±4.2 with twice the "
        "trainings, ±4.9 with twice the test groups."
    )
    single = {**row, "half_widths": {**widths, "twice_trainings": None}}
    assert "trainings" not in would_change(single)
    assert would_change(row | {"delta_ci_low": 0.01}) == ""
    assert would_change({**row, "half_widths": None}) == ""
    # Corrected with the others it is open again.
    corrected = {"delta_ci_low": 0.01, "delta_ci_low_corrected": -0.01, "delta_ci_high_corrected": 0.08}
    assert would_change(row | corrected)


def test_a_study_of_one_arm_and_one_seed_is_reported(tmp_path: Path) -> None:
    lone = Report(
        recipe="lone",
        title="Lone",
        config={},
        splits=[],
        cells=make_cells({"real": 1.0}, split_seeds=(0,)),
        replicates=50,
    )
    text = write_report(tmp_path, lone, surroundings={}).read_text()
    assert "## What was found" not in text
    assert "| real | " in text
    assert json.loads((tmp_path / "report.json").read_text())["skin_tone"] is None


def test_a_verdict_follows_from_the_interval_alone() -> None:
    assert call(0.01, 0.09) == "helps"
    assert call(-0.09, -0.01) == "hurts"
    assert call(-0.01, 0.09) == call(0.0, 0.1) == call(None, None) == "can't tell"


def test_values_become_plain() -> None:
    odd = {
        "a": (np.float32(0.5), np.int64(3)),
        "b": float("nan"),
        3: Path("/a/b/c"),
        "d": 1 / 7,
        "e": -0.0,
    }
    assert json.dumps(plain(odd)) == '{"a": [0.5, 3], "b": null, "3": "c", "d": 0.142857, "e": 0.0}'


def test_environment_counts_processes() -> None:
    found = environment(processes=2, device="cuda")
    assert (found["processes"], found["device"]) == (2, "cuda")


def test_the_answer_says_what_another_classifier_makes_of_it(tmp_path: Path) -> None:
    first = make_cells({"real": 1.0, "real+syn": 1.5}, images=40)
    other = make_cells({"real": 1.0, "real+syn": 1.0}, images=40, seed=1)
    other = [replace(cell, key=cell.key._replace(architecture="probe:bundled")) for cell in other]
    opening = write_report(tmp_path, small_report(cells=[*first, *other])).read_text().partition("## ")[0]
    content = json.loads((tmp_path / "report.json").read_text())
    rows = {
        row["architecture"]: row
        for row in content["summary"]
        if row["metric"] == "balanced_accuracy" and row["reference"] == "real"
    }
    assert (rows["resnet18"]["role"], rows["probe:bundled"]["role"]) == ("primary", "exploratory")
    assert (
        f"The classifier was resnet18; it is {difference(rows['probe:bundled'])} with probe:bundled."
        in opening
    )


def test_the_answer_of_real_images_alone_is_about_them() -> None:
    cells = make_cells({"real": 1.0, "real+geometric": 1.5}, images=40)
    primary = PrimaryContrast("real+geometric", "real")
    asked = report_content(small_report(cells=cells, primary=primary), environment())
    assert answer(asked).startswith("Does `real+geometric` do better? **")
    assert "synthetic" not in answer(asked)
