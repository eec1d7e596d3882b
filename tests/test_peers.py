"""Processes that wait for one another by files; here they are threads, or programs that are killed."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skindiff import peers as peers_module
from skindiff.errors import LaunchError
from skindiff.peers import Peers
from tests.conftest import REPOSITORY


class Process:
    """What an accelerator knows of one process of several; without a barrier it never waits."""

    def __init__(self, index: int, count: int = 2, barrier: threading.Barrier | None = None) -> None:
        self.process_index, self.num_processes, self.barrier = index, count, barrier

    def wait_for_everyone(self) -> None:
        if self.barrier is not None:
            self.barrier.wait(timeout=20)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Peers]]:
    pair = [Peers(Process(index), tmp_path) for index in range(2)]
    yield pair
    for one in pair:
        one.leave()


def test_nobody_goes_on_before_all_have_come(two: list[Peers]) -> None:
    order: list[str] = []

    def late() -> None:
        for turn in range(3):
            time.sleep(0.05)
            order.append(f"came {turn}")
            two[1].meet("working")

    thread = threading.Thread(target=late)
    thread.start()
    for turn in range(3):
        two[0].meet("working")
        order.append(f"met {turn}")
    thread.join()
    assert [order.index(f"came {turn}") < order.index(f"met {turn}") for turn in range(3)] == [True] * 3


def test_the_main_process_goes_first_and_does_not_wait(two: list[Peers]) -> None:
    order: list[str] = []

    def other() -> None:
        with two[1].main_first("reading"):
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    with two[0].main_first("reading"):
        time.sleep(0.1)
        order.append("main")
    thread.join()
    assert order == ["main", "other"]
    with two[0].main_first("reading more"):
        order.append("main again")  # although nobody comes


DIE = """
import os, signal, sys
from collections.abc import Iterator
from pathlib import Path
from skindiff.peers import Peers
from tests.test_peers import Process
peers = Peers(Process(1), Path(sys.argv[1]))
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_a_process_that_has_died_ends_the_wait(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-c", DIE, str(tmp_path), how], cwd=REPOSITORY, check=False, timeout=60)
    monkeypatch.setattr(peers_module, "GRACE", 0.05)
    waiting = Peers(Process(0), tmp_path)
    with pytest.raises(LaunchError, match=r"process 1 of 2 \(\d+ on .*\) has ended .*\(audit\).*--resume"):
        waiting.meet("audit")
    waiting.leave()


def test_a_launch_that_is_refused_leaves_the_signs_of_the_one_at_work(
    two: list[Peers], tmp_path: Path
) -> None:
    signs = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(signs) == 2
    alone = threading.Barrier(2)
    alone.abort()  # its main process was refused the folder, and has ended
    with pytest.raises(threading.BrokenBarrierError):
        Peers(Process(1, barrier=alone), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == signs


def test_what_came_before_it_died_counts(two: list[Peers]) -> None:
    with two[0].main_first("reading"):
        pass
    two[0].leave()
    with two[1].main_first("reading"):
        pass


def test_a_process_elsewhere_that_gives_no_sign_of_life_ends_the_wait(
    two: list[Peers], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    two[1].leave()
    two[1] = Peers(Process(1), two[1]._folder)
    monkeypatch.undo()
    monkeypatch.setattr(peers_module, "ALIVE_FOR", 0.2)
    monkeypatch.setattr(peers_module, "SAID_AFTER", 0.05)
    caplog.set_level(logging.INFO)
    with pytest.raises(LaunchError, match=r"on elsewhere\) gave no sign of life for 0 seconds"):
        two[0].meet("encoding")
    assert caplog.messages == ["process 0 waits for process 1 (encoding)"]


def test_one_process_writes_nothing_and_waits_for_nobody(tmp_path: Path) -> None:
    alone = Peers.of(Process(0, 1), tmp_path)
    alone.meet("anything")
    with alone.main_first("anything"):
        pass
    alone.end(Process(0, 1))
    assert not list(tmp_path.iterdir())


def test_the_files_are_gone_when_all_have_ended(tmp_path: Path) -> None:
    mine, theirs = Peers.of(Process(0), tmp_path), Peers(Process(1), tmp_path)
    assert Peers.of(Process(0), tmp_path / "another") is mine
    assert len(list(tmp_path.iterdir())) == 2
    barrier = threading.Barrier(2)
    thread = threading.Thread(target=theirs.end, args=[Process(1, barrier=barrier)])
    thread.start()
    mine.end(Process(0, barrier=barrier))
    thread.join()
    assert not list(tmp_path.iterdir())
    again = Peers.of(Process(0), tmp_path)
    assert again is not mine
    again.leave()
