import copy
import json
from pathlib import Path
from typing import Any

import pytest

from skindiff.report.compare import read_runs, settings_table, unpaired
from skindiff.report.write import Report, report_content
from tests.commands.conftest import Run
from tests.evaluation.made_up import make_cells

CONFIG = {
    "corpus": {"name": "phantom", "image_size": 32, "phantom": {"seed": 1}, "ham10000": None},
    "split": {"scenario": "iii"},
    "split_seeds": [0, 1, 2],
    "generator": {"lora": {"rank": 4, "alpha": 4}},
    "threads": 1,
}


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """The report of a study whose arm `real+syn` helps."""
    report = Report(
        recipe="made_up",
        title="Made up",
        config=CONFIG,
        splits=[
            {"seed": seed, "sizes": {"train": 9}, "dropped": {}, "groups_crossing": 0} for seed in (0, 1, 2)
        ],
        cells=make_cells({"real": 0.5, "real+syn": 2.5}, images=80, split_seeds=(0, 1, 2)),
        replicates=100,
        corpus={"name": "phantom", "images": 90, "groups": 80},
        extra={"synthesis": [{"planned": 12, "drawn": 12}]},
    )
    return report_content(report, {})


def save(folder: Path, content: dict[str, Any], **config: Any) -> Path:
    """Write a report with other settings, given by their dotted names with __ for the dot."""
    content = copy.deepcopy(content)
    for name, value in config.items():
        place = content["config"]
        *path, last = name.split("__")
        for part in path:
            place = place[part]
        place[last] = value
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(content))
    return folder


def estimate(content: dict[str, Any], arm: str, metric: str, *names: str) -> str:
    (row,) = [row for row in content["summary"] if (row["arm"], row["metric"]) == (arm, metric)]
    sign = "+" if names[0] == "delta" else ""
    value, low, high = (f"{100 * row[name]:{sign}.1f}" for name in names)
    return f"{value} [{low}, {high}]"


def test_it_prints_every_arm_and_what_differs(
    content: dict[str, Any], tmp_path: Path, run_command: Run
) -> None:
    first = save(tmp_path / "rank4", content)
    second = save(tmp_path / "rank8", content, generator__lora__rank=8, threads=2, corpus__ham10000={"x": 1})
    said = run_command("compare", first, second, "--metrics", "[balanced_accuracy, f1]")
    lines = said.splitlines()
    scores = estimate(content, "real+syn", "balanced_accuracy", "mean", "ci_low", "ci_high")
    change = estimate(content, "real+syn", "balanced_accuracy", "delta", "delta_ci_low", "delta_ci_high")
    assert any(line.split("  ", 1)[0] == "real+syn" and line.count(scores) == 2 for line in lines)
    assert any(line.count(f"{change}, helps") == 2 for line in lines)
    assert "macro F1, dark test images, resnet18" in said
    assert "AUROC" not in said
    assert "warning" not in said
    # What differs, and nothing that changes no result.
    settings = said[said.index("settings that differ") :]
    assert [line.split() for line in settings.splitlines()[4:5]] == [["generator.lora.rank", "4", "8"]]
    assert "threads" not in settings
    assert "ham10000" not in settings
    assert lines[-1] == f"next: skindiff compare {first} {second} --output_dir runs/compared"


def test_runs_on_other_test_images_are_not_paired(content: dict[str, Any], tmp_path: Path) -> None:
    other = copy.deepcopy(content)
    other["corpus"] = {"name": "ham10000", "images": 90, "groups": 80}
    counted = copy.deepcopy(content)
    counted["summary"][0]["images"] += 1
    folders = [
        save(tmp_path / "a", content),
        save(tmp_path / "b", content, generator__lora__rank=8),
        save(tmp_path / "c", content, split_seeds=[3, 4, 5]),
        save(tmp_path / "d", other),
        save(tmp_path / "e", counted),
        save(tmp_path / "f", content, corpus__phantom={"seed": 2}),
    ]
    warnings = unpaired(read_runs(folders))
    reasons = {warning[6]: warning.partition("(")[2].partition(")")[0] for warning in warnings}
    assert reasons == {
        "c": "split_seeds differ",
        "d": "corpus phantom, corpus ham10000",
        "e": "other numbers of test images",
        "f": "corpus.phantom.seed differ",
    }
    assert all("is not paired" in warning for warning in warnings)


def test_a_part_that_one_run_lacks_is_one_line(content: dict[str, Any], tmp_path: Path) -> None:
    folders = [save(tmp_path / "a", content), save(tmp_path / "b", content, generator={"ddpm": {"steps": 4}})]
    headings, rows = settings_table(read_runs(folders))
    assert headings == ["setting", "a", "b"]
    assert rows == [["generator.lora", "set", "—"], ["generator.ddpm", "—", "set"]]


def test_it_writes_a_text_and_a_page(content: dict[str, Any], tmp_path: Path, run_command: Run) -> None:
    folders = [
        save(tmp_path / "one" / "run", content),
        save(tmp_path / "two" / "run", content, split_seeds=[7]),
    ]
    said = run_command("compare", *folders, "--output_dir", tmp_path / "out")
    assert f"comparison: {tmp_path / 'out' / 'compare.md'}" in said
    assert "warning: one/run and two/run were tested on other images (split_seeds differ)" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "compare.md",
        "compare.html",
        "compare.png",
        "dark",
    }
    text = (tmp_path / "out" / "compare.md").read_text()
    page = (tmp_path / "out" / "compare.html").read_text()
    for words in ("one/run", "two/run", "Can they be compared?", "is not paired"):
        assert words in text
        assert words in page
    change = estimate(content, "real+syn", "balanced_accuracy", "delta", "delta_ci_low", "delta_ci_high")
    assert f"| real+syn | {change}, helps | {change}, helps |" in text
    assert "data:image/webp;base64," in page
    assert "http" not in page
    assert str(tmp_path) not in text + page
    before = page
    run_command("compare", *folders, "--output_dir", tmp_path / "out")
    assert (tmp_path / "out" / "compare.html").read_text() == before


def test_a_run_without_classifiers_is_set_beside(
    content: dict[str, Any], tmp_path: Path, run_command: Run
) -> None:
    detection = {**content, "summary": [], "results": [], "verdicts": []}
    folders = [save(tmp_path / "a", detection), save(tmp_path / "b", detection)]
    run_command("compare", *folders, "--output_dir", tmp_path / "out")
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "No classifier was compared in a, b." in text
    assert not (tmp_path / "out" / "compare.png").exists()


def test_what_is_no_finished_run_is_refused(
    content: dict[str, Any], tmp_path: Path, run_command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    good = save(tmp_path / "good", content)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("k: 3")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "report.json").write_text('{"recipe": "x"')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "report.json").write_text('{"recipe": "x"}')
    cases = {
        (good,): "name at least two folders",
        (good, tmp_path / "none"): "holds no report.json; give the output_dir of a finished run",
        (good, tmp_path / "begun"): "holds no report.json; finish the run by --resume",
        (good, tmp_path / "torn"): "is no report of a run",
        (good, tmp_path / "other"): "is no report of a run (no title)",
        (good, good): "names a folder twice",
        (good, tmp_path / "torn", "--metrics", "[accuracies]"): "metrics: ['accuracies'] is not a list of",
    }
    for words, reason in cases.items():
        run_command("compare", *words, status=2)
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert reason in said
        assert said.count("\n") == 1
