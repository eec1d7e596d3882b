import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from skindiff.errors import ConfigError
from skindiff.launch import start_accelerator


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)


def test_one_process_takes_all_cores_or_as_many_as_asked() -> None:
    accelerator = start_accelerator()
    assert accelerator.num_processes == 1
    assert torch.get_num_threads() == len(os.sched_getaffinity(0))
    start_accelerator(threads=1)
    assert torch.get_num_threads() == 1


def test_local_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    for processes, threads in (("2", 4), ("3", 2), ("16", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        start_accelerator()
        assert torch.get_num_threads() == threads


def test_a_log_line_gives_the_terminal_no_orders() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import logging; from skindiff.launch import start_accelerator as start; start();"
            "logging.getLogger('skindiff.x').info('class %s', '\\x1b]0;title\\x07')",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "class \\x1b]0;title\\x07" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_is_an_error(threads: int) -> None:
    with pytest.raises(ConfigError, match=rf"threads: {threads} is below 1; give .* or null"):
        start_accelerator(threads)


@pytest.mark.slow
def test_trackers_of_the_extra_keep_their_logs_on_this_machine(tmp_path: Path) -> None:
    for tracker in ("tensorboard", "trackio"):
        pytest.importorskip(tracker)
    code = (
        "from skindiff.launch import start_accelerator as start\n"
        f"accelerator = start(1, ['tensorboard', 'trackio'], {str(tmp_path)!r})\n"
        "accelerator.init_trackers('skindiff')\n"
        "accelerator.log({'loss': 1.0}, step=1)\n"
        "accelerator.end_training()\n"
    )
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "logs" / "trackio")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
    for tracker in ("skindiff", "trackio"):  # TensorBoard's folder has the project's name
        assert any(path.is_file() for path in (tmp_path / "logs" / tracker).rglob("*"))


def test_a_tracker_that_does_not_exist_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"trackers: \['wandbb'\] cannot be started .*; install them"
    ) as caught:
        start_accelerator(trackers=["wandbb"])
    assert "\n" not in str(caught.value)


def test_a_tracker_that_is_not_installed_is_refused() -> None:
    absent = next(name for name in ("aim", "swanlab", "comet_ml") if importlib.util.find_spec(name) is None)
    with pytest.raises(ConfigError, match=rf"trackers: {absent} is not installed.*pip install {absent}"):
        start_accelerator(trackers=[absent])


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match=r"num_processes: 4 .*were launched but 1 work together"):
        start_accelerator()


def test_fp16_without_a_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(
        ConfigError, match=r"^mixed_precision: fp16 needs a GPU, and there is none here; launch"
    ):
        start_accelerator()
