"""README's Python: in small in this process, and as a newcomer runs it in one of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import readme
from tests.conftest import REPOSITORY


def quick_start() -> str:
    (text,) = [block.text for block in readme.blocks() if "load_corpus" in block.text]
    return text


SMALL = {
    "steps=60": "steps=2",
    '"I": 12, "II": 12': '"I": 5, "II": 5',
    "steps=14": 'steps=4, tone="none"',
}


@pytest.mark.slow
def test_the_quick_start_is_short_and_runs_in_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = quick_start()
    assert len(text.splitlines()) <= 12
    for full, small in SMALL.items():
        assert full in text
        text = text.replace(full, small)
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "README.md", "exec"), {})
    ends_in_a_report(capsys.readouterr().out, tmp_path)


@pytest.mark.slow
def test_the_quick_start_ends_in_a_report(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", quick_start()]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    ends_in_a_report(ended.stdout, tmp_path)


def ends_in_a_report(said: str, tmp_path: Path) -> None:
    assert "real+syn has no verdict against real" in said
    assert (tmp_path / "runs" / "quick_start" / "report.html").is_file()
