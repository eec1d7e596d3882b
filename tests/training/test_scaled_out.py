"""Eight processes of two machines (two launchers on the loopback device) do what one process does."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from skindiff.generators.adapter import read_adapter
from skindiff.peers import SIGN
from tests.conftest import REPOSITORY

PROGRAM = ("-m", "tests.training.scaled_out")
MACHINES, PROCESSES = 2, 8
ENVIRONMENT = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def two_machines(*arguments: str) -> list[tuple[int, str]]:
    """Start both launchers, and return the exit status and the words of each."""
    common = [
        sys.executable, "-m", "accelerate.commands.launch",
        "--config_file", str(REPOSITORY / "accelerate_configs" / "multi_node.yaml"),
        "--num_processes", str(PROCESSES), "--num_machines", str(MACHINES), "--mixed_precision", "no",
        "--main_process_ip", "127.0.0.1", "--main_process_port", free_port(),
    ]  # fmt: skip
    launchers = [
        subprocess.Popen(
            [*common, "--machine_rank", str(rank), *PROGRAM, *arguments],
            cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(MACHINES)
    ]  # fmt: skip
    try:
        said = [launcher.communicate(timeout=900)[0] for launcher in launchers]
    finally:
        for launcher in launchers:
            launcher.send_signal(signal.SIGKILL)
    return [(launcher.returncode, words) for launcher, words in zip(launchers, said, strict=True)]


def files(folder: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob(pattern))}


@pytest.mark.slow
def test_eight_processes_of_two_machines_do_what_one_does(tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    subprocess.run(
        [sys.executable, *PROGRAM, str(one)], cwd=REPOSITORY, env=ENVIRONMENT, check=True, timeout=300
    )
    latents = files(one, "cache/latents-*/*")
    assert len(latents) == 20, "ten shards of images, and of mirror images"

    # One of the second machine dies while it encodes: both launches end, and the shards of the others stay.
    ended = two_machines(str(many), "--dies", "5")
    assert all(status != 0 for status, _ in ended)
    assert any("process 5 of 8" in words and "encoding images" in words for _, words in ended)
    kept = files(many, "cache/latents-*/*.safetensors")
    assert 0 < len(kept) < 20
    assert kept.items() <= latents.items()

    for status, words in two_machines(str(many)):
        assert status == 0, words[-3000:]
    assert files(many, "cache/latents-*/*") == latents
    for pattern in ("data/plan.json", "data/synthetic-*.parquet"):
        assert files(many, pattern) == files(one, pattern) != {}
    expected, found = (read_adapter(next(run.glob("stages/lora-*/adapter"))).log for run in (one, many))
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for name in ("loss", "grad_norm"):
        assert [row[name] for row in found] == pytest.approx([row[name] for row in expected], rel=1e-4)
    assert not [path for path in many.rglob("*") if path.name.startswith(SIGN)]
