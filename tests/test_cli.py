import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skindiff import __version__, cli
from skindiff.cli import main
from skindiff.commands import COMMANDS
from tests.conftest import REPOSITORY

CSV = "md5hash,fitzpatrick_scale,label\na,1,acne\nb,5,acne\nc,2,acne\n"
METADATA = "lesion_id,image_id,dx\nL1,a,nv\nL2,b,nv\nL3,c,nv\n"
HEAVY = {"torch", "datasets", "diffusers", "transformers", "accelerate", "numpy", "jsonargparse", "yaml"}


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
    (tmp_path / "corpus" / "HAM10000_metadata.csv").write_text(METADATA)
    return tmp_path / "corpus"


def audit(folder: Path, corpus: str, output: Path) -> int:
    cache = ["--cache_dir", str(output.parent / "cache")]
    places = ["--data_dir", str(folder), "--output_dir", str(output.parent), *cache]
    return main(["audit", corpus, *places])


@pytest.mark.parametrize(
    ("corpus", "bad"), [("fitzpatrick17k", "c"), ("ham10000", "c"), ("imagefolder", "images/c.jpg")]
)
def test_audit_writes_a_row_per_image(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: str, bad: str
) -> None:
    output = tmp_path / "deep" / "audit.csv"
    assert audit(folder, corpus, output) == 0
    with output.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["image_id", "status", "group_id", "reason", "flags", "remarks"]
    assert [row["image_id"] for row in rows if row["status"] == "undecodable"] == [bad]
    heard = capsys.readouterr()
    assert f"warning: cannot be used: {bad} (undecodable: c.jpg: not an image file)" in heard.err
    said, flagged, following = heard.out.splitlines()
    assert said == f"3 images: 2 ok, 1 undecodable; written to {output}"
    assert flagged.endswith(f"; see {output.with_suffix('.html')}")
    assert "Images that cannot be used" in output.with_suffix(".html").read_text()
    assert following.startswith(f"next: skindiff train lora --corpus.name {corpus} ")
    assert following.endswith(f"--corpus.{corpus}.audit_csv {output}")


@pytest.mark.parametrize("corpus", ["fitzpatrick17k", "ham10000", "imagefolder"])
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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["audit"], "data_dir is not given"),
        (["audit", "imagefolder", "--data_dir", ".", "--colour", "red"], "colour: there is no such setting"),
        (
            ["audit", "--corpus.name", "ham10000"],
            "corpus.name: there is no such setting; did you mean 'corpus'?",
        ),
        (["audit", "imagefolder", "more", "--data_dir", "."], "'more' belongs to no setting"),
        (
            ["audit", "imagefolder", "--data_dir", ".", "--output", "audit.csv"],
            "output: this setting is called output_dir since skindiff 0.2.0; write output_dir",
        ),
        (
            ["compare", "runs/a", "runs/b", "--output=runs/c"],
            "output: this setting is called output_dir since skindiff 0.2.0; write output_dir",
        ),
        (
            ["audit", "imagefolder", "--data_dir", ".", "--output_dir", __file__],
            f"output_dir: {__file__} is a file; name a folder",
        ),
        (["aduit"], "'aduit' is no command; choose from data, audit"),
        (["train", "loar"], "method: 'loar' is not one of textual-inversion, lora"),
        (["run", "fitz_lroa"], "recipe: there is no 'fitz_lroa'; choose from fitz_lora, ham_"),
        (["run", "fitz_lora", "--accelerate_config", "tpu"], "accelerate_config: 'tpu' is no file; give one"),
        (["report"], "run is not given"),
        (["push", "nowhere", "me/it", "--licence", "mit"], "artefact: nowhere is no folder"),
        (["push", "nowhere", "me/it"], "licence is not given"),
    ],
)
def test_errors_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {says}")
    assert said.err.count("\n") == 1


def test_the_door_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for words, status in (["--help"], 0), ([], 0), (["--version"], 0), (["--verbose"], 2):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == status
        said = capsys.readouterr()
        if words in (["--help"], []):
            assert all(f"\n  {name} " in said.out for name in COMMANDS)
        if words == ["--version"]:
            assert said.out.strip() == __version__


def test_interrupted_is_said_and_a_crash_is_not_swallowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def main(self, words: list[str]) -> int:
            raise KeyboardInterrupt if words else ZeroDivisionError

    monkeypatch.setattr(cli, "import_module", lambda name: Broken())
    assert main(["report", "x"]) == 130
    assert "continue by the same command with --resume" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        main(["report"])


def imported_by(*words: str) -> set[str]:
    """The packages that a Python imports."""
    command = [sys.executable, "-X", "importtime", *words]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stderr
    return {line.rpartition("|")[2].strip().split(".")[0] for line in found.splitlines()}


def seconds_of_cpu(*words: str) -> float:
    """The least of three tries: what else the machine does must not count."""
    spent = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, *words], cwd=REPOSITORY, capture_output=True, check=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before[2] - before[3])
    return min(spent)


def test_help_and_import_load_nothing_heavy_and_are_quick() -> None:
    help_words = ("-m", "skindiff.cli", "--help")
    assert not imported_by(*help_words) & HEAVY
    assert not imported_by("-c", "import skindiff") & HEAVY
    assert seconds_of_cpu(*help_words) < 0.5
    assert seconds_of_cpu("-c", "import skindiff") < 0.3


def test_commands_that_need_no_network_load_no_torch(tmp_path: Path) -> None:
    code = (
        "from skindiff.cli import main; assert main(['report', 'x']) == 2; assert main(['train', '-h']) == 0"
    )
    assert "torch" not in imported_by("-c", code)
