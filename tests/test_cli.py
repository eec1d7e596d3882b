import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skindiff import __version__
from skindiff.cli import main
from tests.conftest import REPOSITORY

CSV = "md5hash,fitzpatrick_scale,label\na,1,acne\nb,5,acne\nc,2,acne\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good photographs and a file that only says it is one."""
    images = tmp_path / "corpus" / "images"
    images.mkdir(parents=True)
    for name, seed in (("a", 0), ("b", 1)):
        noise = np.random.default_rng(seed).integers(0, 255, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(noise).save(images / f"{name}.png")
    (images / "c.jpg").write_bytes(b"no photograph")
    (tmp_path / "corpus" / "fitzpatrick17k.csv").write_text(CSV)
    return tmp_path / "corpus"


def audit(folder: Path, corpus: str, output: Path) -> int:
    places = ["--data_dir", str(folder), "--output", str(output), "--cache_dir", str(output.parent / "cache")]
    return main(["audit", corpus, *places])


@pytest.mark.parametrize(("corpus", "bad"), [("fitzpatrick17k", "c"), ("imagefolder", "images/c.jpg")])
def test_audit_writes_a_row_per_image(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: str, bad: str
) -> None:
    output = tmp_path / "deep" / "audit.csv"
    assert audit(folder, corpus, output) == 0
    with output.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["image_id", "status", "group_id", "reason"]
    assert [row["image_id"] for row in rows if row["status"] == "undecodable"] == [bad]
    said = capsys.readouterr().out
    assert said == f"3 images: 2 ok, 1 undecodable; written to {output}\n"


@pytest.mark.parametrize("corpus", ["fitzpatrick17k", "imagefolder"])
@pytest.mark.parametrize("place", ["absent", "empty"])
def test_audit_of_nothing_is_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: str, place: str
) -> None:
    (tmp_path / "empty").mkdir()
    assert audit(tmp_path / place, corpus, tmp_path / "audit.csv") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: data_dir: ")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "audit.csv").exists()


def test_run_starts_a_recipe_under_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess:
        started.append(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    given = ["--generator.lora.rank", "4", "--config_file", "accelerate_configs/cpu.yaml", "--resume"]
    assert main(["run", "fitz_lora", *given]) == 3
    (command,) = started
    assert command[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert command[3:5] == ["--config_file", "accelerate_configs/cpu.yaml"]
    assert Path(command[5]) == REPOSITORY / "recipes" / "fitz_lora.py"
    assert command[6:] == ["--generator.lora.rank", "4", "--resume"]


def test_an_unknown_recipe_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "fitz_lroa"]) == 2
    assert capsys.readouterr().err == "error: recipe: there is no 'fitz_lroa'; choose from fitz_lora\n"


def test_arguments_that_no_command_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["audit", "imagefolder", "--data_dir", ".", "--colour", "red"])
    assert caught.value.code == 2
    assert "--colour red" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_the_door_is_thin() -> None:
    heavy = "import sys, skindiff.cli; sys.exit('torch' in sys.modules or 'datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", heavy], cwd=REPOSITORY, check=False).returncode == 0
