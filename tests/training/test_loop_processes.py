"""Trainings that are killed for real, and trainings of two processes."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from skindiff.training.checkpoints import newest_checkpoint
from skindiff.training.loop_config import LoopConfig
from tests.conftest import REPOSITORY
from tests.training.toy import Toy, run_toy

CONFIG = LoopConfig(steps=12, batch_size=8, learning_rate=1e-2, lr_schedule="cosine", checkpoint_every=4)
# `accelerate launch --cpu --num_processes 2` starts one process only; --multi_gpu starts two, and the
# Accelerator of the program puts them on the CPU.
TWO_PROCESSES = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
TWO_PROCESSES += ("--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no")
TWO_PROCESSES += ("--dynamo_backend", "no")


def launch(folder: Path, config: LoopConfig, *options: str, launcher: tuple[str, ...] = ()) -> int:
    command = [sys.executable, *launcher, "-m", "tests.training.toy", str(folder)]
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [*command, json.dumps(asdict(config)), *options],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if finished.returncode > 0 and "SIGKILL" not in finished.stderr:
        raise AssertionError(finished.stderr)
    return finished.returncode


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        pytest.param(("--kill_at_step", "6"), "checkpoint-4", marks=pytest.mark.slow),
        (("--kill_in_save", "8"), "checkpoint-4"),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(tmp_path, moment, kept):
    accelerator = Accelerator(cpu=True)
    whole, resumed = Toy(), Toy()
    expected = run_toy(accelerator, CONFIG, tmp_path / "whole", whole)
    assert launch(tmp_path / "cut", CONFIG, *moment) == -9
    assert newest_checkpoint(tmp_path / "cut" / "training").name == kept
    log = run_toy(accelerator, CONFIG, tmp_path / "cut" / "training", resumed)
    assert log == expected
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name
    assert [path.name for path in (tmp_path / "cut" / "training").iterdir()] == ["checkpoint-12"]


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_processes_follow_one(tmp_path, killed):
    one = Toy(dropout=0.0)
    expected = run_toy(Accelerator(cpu=True), CONFIG, tmp_path / "one", one)
    halved = replace(CONFIG, batch_size=2, gradient_accumulation_steps=2)
    options = ("--dropout", "0")
    if killed:
        assert launch(tmp_path / "two", halved, *options, "--kill_at_step", "6", launcher=TWO_PROCESSES) != 0
        assert newest_checkpoint(tmp_path / "two" / "training").name == "checkpoint-4"
    assert launch(tmp_path / "two", halved, *options, launcher=TWO_PROCESSES) == 0
    log = json.loads((tmp_path / "two" / "log.json").read_text())
    assert [row["step"] for row in log] == [row["step"] for row in expected]
    # The schedule runs once per optimiser step, not once per process.
    assert [row["learning_rate"] for row in log] == [row["learning_rate"] for row in expected]
    for key in ("loss", "grad_norm"):
        assert [row[key] for row in log] == pytest.approx([row[key] for row in expected], rel=1e-4)
    for name, tensor in load_file(tmp_path / "two" / "result.safetensors").items():
        # The buffer counts forward passes, of which accumulation makes two per step.
        if name != "seen":
            torch.testing.assert_close(tensor, one.state_dict()[name], rtol=1e-4, atol=1e-5)
