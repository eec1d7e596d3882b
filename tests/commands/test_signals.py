"""How work ends when it is told to: one line, its status, and no child that outlives it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY

WORK = """
import subprocess, sys, time
from skindiff.commands.signals import Terminated, ending_in_words, status_of
CHILD = "import signal, time, sys\\n"
if "stubborn" in sys.argv:
    CHILD += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\\n"
try:
    with ending_in_words():
        child = subprocess.Popen([sys.executable, "-c", CHILD + "print('up', flush=True)\\ntime.sleep(120)"])
        print(child.pid, flush=True)
        time.sleep(120)
except (KeyboardInterrupt, Terminated) as ending:
    sys.exit(status_of(ending))
"""
LAUNCHED = """
import os, time
from skindiff.commands.signals import ending_in_words
with ending_in_words():
    print(os.getpid(), flush=True)
    time.sleep(120)
"""


def started(tmp_path: Path, code: str, *words: str) -> tuple[subprocess.Popen, int]:
    """A program that has said who its child is, and its child."""
    script = tmp_path / "work.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, str(script), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.stdout.readline()  # the child is up
    return process, child


def is_gone(pid: int, within: float = 10.0) -> bool:
    deadline = time.time() + within
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.time() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("number", "everyone", "status", "word"),
    [
        (signal.SIGTERM, False, 143, "ended by SIGTERM"),
        (signal.SIGINT, True, 130, "interrupted"),  # as Ctrl-C in a terminal
    ],
)
def test_a_signal_ends_the_children_and_is_said_in_one_line(
    tmp_path: Path, number: int, everyone: bool, status: int, word: str
) -> None:
    process, child = started(tmp_path, WORK)
    os.killpg(process.pid, number) if everyone else process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == status
    ours = [line for line in said.splitlines() if "continue" in line]
    assert ours == [f"{word}; continue by the same command with --resume"]
    assert is_gone(child)


def test_a_second_signal_ends_at_once_what_does_not_want_to(tmp_path: Path) -> None:
    process, child = started(tmp_path, WORK, "stubborn")
    process.send_signal(signal.SIGTERM)
    time.sleep(1.0)
    assert process.poll() is None  # it waits for its child
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 130
    assert is_gone(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_what_was_launched_ends_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "launched.py"
    script.write_text(LAUNCHED)
    parent = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, sys.argv[1]])\ntime.sleep(120)"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "ACCELERATE_MIXED_PRECISION": "no"}
    process = subprocess.Popen(
        [sys.executable, "-c", parent, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    assert is_gone(child)
