"""Disks that are full at twelve moments of a study: one line each, and the same bytes once there is room."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recipes.ham_fewshot import HamFewShotConfig, main
from skindiff.config import save_config
from tests.conftest import REPOSITORY
from tests.recipes.deaths import ends, operations
from tests.recipes.test_fitz_lora_killed import assert_equal_runs
from tests.recipes.tiny_class_study import tiny_fewshot

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a disk of a given size is mounted by root alone")
SHARES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
IN_CI = 0.6
"""Of the room that the whole run takes."""


@contextmanager
def disk(place: Path, size: int) -> Iterator[None]:
    """Mount a disk of so many bytes."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def recipe(config: HamFewShotConfig, file: Path) -> None:
    """Run the recipe as a program does."""
    save_config(config, file)
    sys.argv = ["ham_fewshot.py", "--config", str(file)]
    runpy.run_path(str(REPOSITORY / "recipes" / "ham_fewshot.py"), run_name="__main__")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    torch.set_num_threads(1)
    operations(lambda: main(tiny_fewshot(folder)))
    return folder


def fill(share: float, whole: Path, tmp_path: Path) -> None:
    place, file = tmp_path / "disk", tmp_path / "study.yaml"
    # A file takes whole pages of 4 KiB.
    needed = sum(-(-path.stat().st_size // 4096) * 4096 for path in whole.rglob("*") if path.is_file())
    config = replace(tiny_fewshot(place / "run"), resume=True)
    with disk(place, int(share * needed)):
        code, said = ends(lambda: recipe(config, file))
        assert code == 2, f"{share}: {said}"
        (error,) = [line for line in said.splitlines() if "error:" in line.lower()]
        assert re.search("is full|No space left", error), error
        assert "Traceback" not in said
        subprocess.run(["mount", "-o", f"remount,size={4 * needed}", str(place)], check=True)
        code, said = ends(lambda: recipe(config, file))
        assert code == 0, said
        assert_equal_runs(str(whole), config.output_dir, (".npz", ".csv"))


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_then_nothing_is_lost(whole: Path, tmp_path: Path) -> None:
    fill(IN_CI, whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
def test_so_it_is_at_twelve_moments(share: float, whole: Path, tmp_path: Path) -> None:
    fill(share, whole, tmp_path)
