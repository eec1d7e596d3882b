import sys
from pathlib import Path

import pytest

from skindiff.commands import launching, run
from skindiff.commands.launching import IN_PROCESS, accelerate_config, launch, launched, split_launch_words
from skindiff.errors import ConfigError
from tests.conftest import REPOSITORY

EXIT = (
    "import os, signal, sys\nos.kill(os.getpid(), 9) if sys.argv[1] == 'kill' else sys.exit(int(sys.argv[1]))"
)


@pytest.fixture
def script(tmp_path: Path) -> str:
    """A program that ends as it is told."""
    path = tmp_path / "script.py"
    path.write_text(EXIT)
    return str(path)


@pytest.mark.parametrize(("ends", "status"), [("0", 0), ("2", 2), ("1", 1), ("7", 1)])
def test_the_status_of_a_launched_process_comes_back(script: str, ends: str, status: int) -> None:
    assert launch(["--config_file", str(accelerate_config("cpu")), script, ends]) == status


def test_the_status_of_several_processes_comes_back(script: str) -> None:
    assert launch(["--config_file", str(accelerate_config("multi_cpu")), script, "2"]) == 2


def test_a_killed_process_is_said(script: str) -> None:
    with pytest.raises(ChildProcessError, match=r"killed by SIGKILL .*--resume"):
        launch(["--config_file", str(accelerate_config("cpu")), script, "kill"])


def test_words_of_accelerate_are_taken_out() -> None:
    words = ["lora", "--lora.rank", "4", "--accelerate_config=multi_cpu", "--num_processes", "3", "--resume"]
    ours, rest = split_launch_words(words)
    config = str(REPOSITORY / "accelerate_configs" / "multi_cpu.yaml")
    assert ours == ["--config_file", config, "--num_processes", "3"]
    assert rest == ["lora", "--lora.rank", "4", "--resume"]
    with pytest.raises(ConfigError, match="num_processes has no value"):
        split_launch_words(["--num_processes"])


def test_a_command_is_launched_only_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.delenv(IN_PROCESS, raising=False)
    monkeypatch.setattr(launching, "launch", lambda words: started.append(words) or 5)
    monkeypatch.setattr(launching, "default_launch", list)

    read: list[list[str]] = []

    def work(words: list[str]) -> int:
        return len(words)

    assert launched("sample", ["--seed", "1"], work, read.append) == 2
    assert launched("sample", ["--num_processes", "2", "--seed", "1"], work, read.append) == 5
    assert read == [["--seed", "1"]]
    assert started == [["--num_processes", "2", "--module", "skindiff.commands", "sample", "--seed", "1"]]
    assert launched("sample", ["--help", "--num_processes", "2"], work, read.append) == 3
    monkeypatch.setenv(IN_PROCESS, "1")
    assert launched("sample", ["--num_processes", "2"], work, read.append) == 2


def test_run_launches_a_recipe_and_names_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(run, "launch", lambda words: started.append(words) or 0)
    script = REPOSITORY / "recipes" / "fitz_lora.py"
    given = ["--generator.lora.rank", "4", "--config_file", "accelerate_configs/cpu.yaml", "--resume"]
    monkeypatch.chdir(REPOSITORY)
    assert run.main(["fitz_lora", *given]) == 0
    launch_words = ["--config_file", "accelerate_configs/cpu.yaml"]
    assert started.pop() == [*launch_words, str(script), "--generator.lora.rank", "4", "--resume"]
    assert capsys.readouterr().out == "next: skindiff report runs/fitz_lora_smoke\n"
    assert run.main(["fitz_lora", "--config", "paper", "--num_processes", "1"]) == 0
    paper = str(script.with_suffix("") / "paper.yaml")
    assert started.pop() == ["--num_processes", "1", str(script), "--config", paper]
    monkeypatch.setattr(run, "launch", lambda words: 2)
    capsys.readouterr()
    assert run.main(["fitz_lora", "--output_dir", "x"]) == 2
    assert capsys.readouterr().out == ""


def test_help_of_run_lists_recipes_and_settings_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in run.recipes())
    assert "Transfer by Stable Diffusion: does it help" in " ".join(said.split())
    called: list[list[str]] = []

    def ended(command: list[str], check: bool) -> object:
        called.append(command)
        return type("Ended", (), {"returncode": 0})

    monkeypatch.setattr(run.subprocess, "run", ended)
    assert run.main(["ham_cdcgan", "--help"]) == 0
    said = capsys.readouterr().out
    assert "\n  smoke: The default: phantom at 32 px" in said
    assert called == [[sys.executable, str(REPOSITORY / "recipes" / "ham_cdcgan.py"), "--help"]]
