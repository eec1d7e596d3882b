import subprocess
import sys
from pathlib import Path

import pytest

from skindiff.commands import COMMANDS
from skindiff.commands.completion import command_tree
from tests.commands.conftest import Run

USE = "COMP_WORDS=({words}); COMP_CWORD={last}; {function}; echo ${{COMPREPLY[@]}}"


def test_a_shell_that_sources_it_completes(tmp_path: Path, run_command: Run) -> None:
    pytest.importorskip("shtab")
    script = tmp_path / "skindiff.bash"
    script.write_text(run_command("completion", "bash"))

    def completions(*words: str) -> set[str]:
        line = USE.format(words=" ".join(words), last=len(words) - 1, function="_shtab_skindiff")
        code = f"source {script}; {line}"
        found = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        return set(found.stdout.split())

    assert set(COMMANDS) <= completions("skindiff", "''")
    assert completions("skindiff", "train", "lo") == {"lora"}
    assert "--lora.rank" in completions("skindiff", "train", "lora", "--lora.ra")


def test_without_shtab_it_says_so(
    monkeypatch: pytest.MonkeyPatch, run_command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    run_command("completion", status=2)
    assert capsys.readouterr().err == "error: completion: shtab is not installed; pip install shtab\n"


def test_every_command_is_in_the_tree() -> None:
    said = command_tree().format_help()
    assert all(name in said for name in COMMANDS)
