"""One run at a time in a folder, and no lock that anybody has to take away by hand."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from accelerate import Accelerator

from skindiff import run_lock
from skindiff.errors import RunFolderError
from skindiff.run_lock import LOCK_FILE, RunLock
from skindiff.runs import RunFolder
from skindiff.study import RunConfig
from tests.conftest import REPOSITORY

HOLD = """
import sys, time
from pathlib import Path
from skindiff.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.join() if sys.argv[2] == "join" else lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def holder(folder: Path, how: str = "acquire") -> subprocess.Popen:
    command = [sys.executable, "-c", HOLD, str(folder), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def claim(folder: Path, **flags: bool) -> RunFolder:
    given = {"resume": False, "overwrite": False} | flags
    return RunFolder(str(folder), RunConfig(), Accelerator(cpu=True), **given)


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"overwrite": True}])
def test_a_second_run_is_refused_while_the_first_lives(tmp_path: Path, flags: dict) -> None:
    claim(tmp_path).end()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    process = holder(tmp_path)
    try:
        with pytest.raises(
            RunFolderError, match=rf"a run is at work in .* \(process {process.pid} on "
        ) as found:
            claim(tmp_path, **flags)
        assert "\n" not in str(found.value)
        assert {
            path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != LOCK_FILE
        } == before
    finally:
        process.kill()
        process.wait()
    claim(tmp_path, resume=True).end()  # what was killed holds nothing
    assert not (tmp_path / LOCK_FILE).exists()


def test_every_process_of_a_launch_holds_the_folder(tmp_path: Path) -> None:
    main = holder(tmp_path)
    other = holder(tmp_path, "join")
    main.send_signal(signal.SIGKILL)
    main.wait()
    try:
        with pytest.raises(RunFolderError, match="a run is at work"):
            RunLock(tmp_path).acquire()
    finally:
        other.kill()
        other.wait()
    lock = RunLock(tmp_path)
    lock.acquire()
    assert json.loads((tmp_path / LOCK_FILE).read_text())["process"] == os.getpid()
    lock.release()
    lock.release()


def test_a_process_may_open_its_own_folder_again(tmp_path: Path) -> None:
    first, second = claim(tmp_path), claim(tmp_path, resume=True)
    second.end()
    first.end()
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_run_on_another_machine_counts_by_its_last_touch(tmp_path: Path) -> None:
    file = tmp_path / LOCK_FILE
    file.write_text(json.dumps({"host": "elsewhere", "process": 7, "since": "12:00"}))
    with pytest.raises(RunFolderError, match=r"process 7 on elsewhere, since 12:00"):
        RunLock(tmp_path).acquire()
    long_ago = time.time() - run_lock.ALIVE_FOR - 1
    os.utime(file, (long_ago, long_ago))
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.release()


def test_a_live_run_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "TOUCHED_EVERY", 0.05)
    lock = RunLock(tmp_path)
    lock.acquire()
    os.utime(tmp_path / LOCK_FILE, (0, 0))
    deadline = time.time() + 10
    while (tmp_path / LOCK_FILE).stat().st_mtime < 1 and time.time() < deadline:
        time.sleep(0.02)
    assert (tmp_path / LOCK_FILE).stat().st_mtime > 1
    lock.release()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"host": 3, "process": "x"}', "{}"])
def test_a_broken_lock_file_of_a_dead_run_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_FILE).write_text(content)
    os.utime(tmp_path / LOCK_FILE, (0, 0))
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.release()


def test_where_the_file_system_has_no_locks_the_process_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunLock, "_flock", staticmethod(lambda descriptor, how: False))
    alive = {"host": socket.gethostname(), "process": os.getppid(), "since": "12:00"}
    (tmp_path / LOCK_FILE).write_text(json.dumps(alive))
    with pytest.raises(RunFolderError, match="a run is at work"):
        RunLock(tmp_path).acquire()
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    (tmp_path / LOCK_FILE).write_text(json.dumps({**alive, "process": int(ended.stdout)}))
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.release()
