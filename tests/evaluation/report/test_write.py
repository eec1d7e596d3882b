import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skindiff.evaluation.downstream.metrics import METRICS
from skindiff.evaluation.published.fitzpatrick import published_rows
from skindiff.evaluation.report.pictures import SampleRow
from skindiff.evaluation.report.write import Report, environment, plain, write_report
from skindiff.evaluation.skin.lesion_structure import LesionPreservation
from skindiff.evaluation.skin.tone import ToneShift, tone_shift
from skindiff.evaluation.statistics.verdicts import call
from tests.evaluation.made_up import NAMES, make_cells

PICTURES = {
    "differences.png",
    "confusions-scenario-iii-dark-resnet18-clean.png",
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
        corpus={"images": 170, "missing": 1, "quarantined": 0},
        tones={strategy: tone(), "real+colour": tone()},
        lesions={strategy: LesionPreservation((0.7, 0.6, 0.8), 0.1, (0.67, 0.5, 0.8), (0.9, 0.8, 1.0), 40)},
        curves={"LoRA": {"split 0": log, "split 1": log}, "resnet18": {"real": log}},
        samples=[
            SampleRow(NAMES[0], picture, (picture, picture), ("V", "VI")),
            SampleRow(NAMES[1], None, (picture,)),
        ],
        published=published_rows("iii"),
        notes=["The generator saw no beta."],
        sections={"copying": {"nearest": 0.5}},
        timings={"total": 98765.4},
    )
    return replace(report, **overrides)


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
    assert len(content["summary"]) == 5 * len(METRICS)


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
    assert {path.name for path in (folder / "pictures").iterdir()} == PICTURES
    assert all(f"(pictures/{name})" in text for name in PICTURES)
    assert "- **helps**: real+syn (img2img ti+lora) helps against real: +" in text
    assert "- **lost**: syn (img2img ti+lora) lost against real: -" in text
    assert "- **can't tell**: real+duplicates can't be told from real: " in text
    assert "helps against real+duplicates" in text
    assert "| resnet18, real+syn | iii, dark | Table 4 | 56.50 ± 0.15 |" in text
    assert "| vgg16, real | iii, dark | Table 4 | 55.58 ± 0.10 | not run |" in text
    assert "The generator saw no beta." in text
    assert "98765" not in text
    assert {one["verdict"] for one in content["verdicts"]} == {"helps", "hurts", "can't tell"}


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


def test_samples_stay_out_on_request(tmp_path: Path) -> None:
    write_report(tmp_path, made_up_report(tones={}, curves={}), include_images=False)
    left_out = {"samples.png", "skin-tone.png", "training.png"}
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == PICTURES - left_out
    assert "Samples" not in (tmp_path / "report.md").read_text()


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
