"""The recipe killed by SIGKILL in every stage; what is resumed must equal what was never interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recipes.fitz_lora import FitzLoraConfig, main
from skindiff.config import save_config
from skindiff.manifest import DONE
from tests.conftest import REPOSITORY
from tests.recipes.tiny_study import MOMENTS, reported, stage_files

KINDS = (".safetensors", ".parquet", ".npz", ".csv", ".yaml")


def assert_equal_runs(first: str, second: str, kinds: Sequence[str] = KINDS) -> None:
    files, others = stage_files(first), stage_files(second)
    assert list(files) == list(others)
    compared = [name for name in files if not name.endswith("summary.json")]
    endings = {Path(name).suffix for name in compared}
    assert set(kinds) <= endings
    for name in compared:
        if name.endswith(DONE):
            assert lasting(files[name]) == lasting(others[name]), name
        else:
            assert files[name].read_bytes() == others[name].read_bytes(), name
    assert reported(first) == reported(second)


def lasting(done: Path) -> dict[str, Any]:
    """What a stage says of itself, but for the hash of a summary, which has times in it."""
    content = json.loads(done.read_text())
    content["files"] = {name: known for name, known in content["files"].items() if "summary" not in name}
    return content


def start(config: FitzLoraConfig, folder: Path, *command: str) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    save_config(config, folder / "study.yaml")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_killed_in_every_stage_it_ends_in_the_same_bytes(study: FitzLoraConfig, tmp_path: Path) -> None:
    config = replace(study, output_dir=str(tmp_path / "run"), resume=True)
    program = start(
        config, tmp_path, "-m", "tests.recipes.tiny_study", str(tmp_path / "study.yaml"), *MOMENTS
    )
    said = program.communicate(timeout=500)[0]
    assert program.returncode == 0, said[-2000:]
    assert_equal_runs(study.output_dir, config.output_dir)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sign",
    [
        "textual-inversion-*/checkpoint-*",
        "lora-*/checkpoint-*",
        "synthesis-*/data/synthetic-*.parquet",
        "cell-*/checkpoint-*",
    ],
)
def test_killed_from_outside_at_no_matter_which_moment(
    study: FitzLoraConfig, tmp_path: Path, sign: str
) -> None:
    config = replace(study, output_dir=str(tmp_path / "run"))
    program = start(config, tmp_path, "recipes/fitz_lora.py", "--config", str(tmp_path / "study.yaml"))
    deadline = time.monotonic() + 500
    while not any((tmp_path / "run" / "stages").glob(sign)) and program.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    program.kill()
    said = program.communicate()[0]
    assert program.returncode == -signal.SIGKILL, said[-2000:]
    assert not (tmp_path / "run" / "report.json").exists()
    main(replace(config, resume=True))
    assert_equal_runs(study.output_dir, config.output_dir)
