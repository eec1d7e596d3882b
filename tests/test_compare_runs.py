"""The script that holds a version to the figures of the one before."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.test_scripts import load_script


def write_run(folder: Path, preset: str, accuracy: float) -> str:
    row: dict[str, Any] = {"arm": "real", "preset": preset, "accuracy": accuracy}
    row |= dict.fromkeys(("scenario", "test_group", "architecture"), "one")
    row |= dict.fromkeys(("generator", "strategy", "ratio", "train_seed"))
    content: dict[str, Any] = {"recipe": "one", "title": "One", "config": {}, "corpus": {}, "results": [row]}
    content |= {part: [] for part in ("splits", "verdicts", "notes", "summary")}
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(content))
    return str(folder)


@pytest.mark.parametrize(("accuracy", "status"), [(0.5, 0), (0.6, 1)])
def test_a_renamed_value_is_equal_and_another_score_is_not(
    accuracy: float,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = load_script("compare_runs")
    old = write_run(tmp_path / "old", "clean", 0.5)
    new = write_run(tmp_path / "new", "grouped", accuracy)
    monkeypatch.setattr("sys.argv", ["compare_runs.py", old, new])
    assert script.main() == status
    said = "1 of 10 values changed; .0.accuracy 0.5 -> 0.6" if status else "equal ("
    assert f"results: {said}" in capsys.readouterr().out
