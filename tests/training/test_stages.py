"""Textual inversion and LoRA that are killed for real, and in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from skindiff.generators.adapter import LORA_FILE, Adapter, read_adapter
from skindiff.generators.learned_embeds import embedding_files
from tests.conftest import REPOSITORY
from tests.training.stages import SD, run_stages
from tests.training.test_loop_processes import TWO_PROCESSES


def launch(folder: Path, *options: str, launcher: tuple[str, ...] = ()) -> int:
    return subprocess.run(
        [sys.executable, *launcher, "-m", "tests.training.stages", str(folder), *options],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=300,
    ).returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return run_stages(Accelerator(cpu=True), tmp_path_factory.mktemp("whole"), batch_size=4)


@pytest.mark.parametrize(
    ("stage", "step", "model"),
    [
        pytest.param("textual_inversion", "3", SD, marks=pytest.mark.slow),
        ("lora", "5", SD),
        pytest.param("lora", "5", "Stable Diffusion XL", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(
    whole: Adapter, tmp_path: Path, stage: str, step: str, model: str
) -> None:
    if model != SD:
        whole = run_stages(Accelerator(cpu=True), tmp_path / "one", batch_size=4, model=model)
    assert launch(tmp_path, "--kill", stage, step, "--model", model) == -9
    assert not (tmp_path / "lora" / "adapter").exists()
    resumed = run_stages(Accelerator(cpu=True), tmp_path, batch_size=4, model=model)
    assert resumed.log == whole.log
    for path in sorted(whole.folder.rglob("*.*")):
        assert path.read_bytes() == (resumed.folder / path.relative_to(whole.folder)).read_bytes(), path.name


@pytest.mark.slow
@pytest.mark.parametrize("model", ["FLUX.1", "Stable Diffusion 3", "Z-Image"])
def test_killed_and_resumed_is_uninterrupted_in_flow_matching(tmp_path: Path, model: str) -> None:
    whole = run_stages(Accelerator(cpu=True), tmp_path / "whole", 4, buckets=True, model=model)
    own = tmp_path / "killed"
    assert launch(own, "--kill", "lora", "5", "--buckets", "--model", model) == -9
    assert not (own / "lora" / "adapter").exists()
    resumed = run_stages(Accelerator(cpu=True), own, 4, buckets=True, model=model)
    assert resumed.log == whole.log
    assert (resumed.folder / LORA_FILE).read_bytes() == (whole.folder / LORA_FILE).read_bytes()


@pytest.mark.slow  # tests/test_accelerate_configs.py has two processes of a whole study
@pytest.mark.parametrize(
    ("buckets", "model"),
    [
        (False, SD),
        *((True, model) for model in (SD, "Stable Diffusion XL", "FLUX.1", "Stable Diffusion 3", "Z-Image")),
    ],
    ids=["squares", "buckets", "xl", "flux", "sd3", "z-image"],
)
def test_two_processes_follow_one(whole: Adapter, tmp_path: Path, buckets: bool, model: str) -> None:
    if buckets:
        whole = run_stages(Accelerator(cpu=True), tmp_path / "one", 4, buckets=True, model=model)
    options = ["--batch_size", "2", "--model", model, *(["--buckets"] if buckets else [])]
    assert launch(tmp_path, *options, launcher=TWO_PROCESSES) == 0
    two = read_adapter(tmp_path / "lora" / "adapter")
    assert [row["step"] for row in two.log] == [row["step"] for row in whole.log]
    for key, within in {"loss": 1e-4, "grad_norm": 1e-3}.items():
        assert [row[key] for row in two.log] == pytest.approx([row[key] for row in whole.log], rel=within)
    files = [*embedding_files(whole.folder), str(whole.folder / LORA_FILE)]
    others = [*embedding_files(two.folder), str(two.folder / LORA_FILE)]
    for path, other in zip(files, others, strict=True):
        expected = load_file(path)
        for name, tensor in load_file(other).items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-2, atol=1e-3)
