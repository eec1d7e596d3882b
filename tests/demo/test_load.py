"""Many at once: every request is answered or refused politely, and with the image that was asked for."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from gradio_client import Client
from PIL import Image

from skindiff.demo.app import DemoApp
from skindiff.demo.asked import DrawRequest
from skindiff.demo.config import DemoConfig
from skindiff.demo.drawing import draw
from skindiff.demo.generator_cache import GeneratorCache
from tests.demo.test_hostile import WRONG, is_sentence, said

POLITE = ("queue is full", "try again later")


def expected(generators: list[str], seeds: range) -> dict[int, np.ndarray]:
    cache = GeneratorCache(DemoConfig(generators=generators, batch_size=2, threads=1))
    found = {}
    for seed in seeds:
        request = DrawRequest("tiny", ("eczema",), ("V",), count=1, steps=2, guidance_scale=1, seed=seed)
        found[seed] = list(draw(cache, request))[-1].pictures[0].pixels
    return found


def visitors(address: str, count: int, seconds: float, right: dict[int, np.ndarray], folder: Path) -> Counter:
    """Let visitors ask again and again, each for its own seed; return how often what became of it."""
    outcomes: Counter = Counter()
    guard = threading.Lock()
    end = time.monotonic() + seconds

    def visit(number: int) -> None:
        client = Client(address, verbose=False, download_files=str(folder / str(number)))
        turn = 0
        while turn == 0 or time.monotonic() < end:
            seed = (number + turn) % len(right)
            turn += 1
            try:
                gallery, *_ = client.predict("tiny", "eczema", "V", 1, 1, 2, seed, api_name="/draw")
            except Exception as error:
                words = str(error).lower()
                outcome = "refused" if any(word in words for word in POLITE) else f"failed: {error!r}"
                time.sleep(0.2)
            else:
                same = (np.array(Image.open(gallery[0]["image"])) == right[seed]).all()
                outcome = "right" if same else "wrong image"
            with guard:
                outcomes[outcome] += 1
        client.close()

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_six_visitors_at_once(demo: DemoApp, generators: list[str], tmp_path: Path):
    right = expected(generators, range(6))
    assert len({pixels.tobytes() for pixels in right.values()}) == 6
    outcomes = visitors(demo.local_url, 6, 4, right, tmp_path)
    assert set(outcomes) <= {"right", "refused"}
    assert outcomes["right"] >= 6


_SERVER = """
import sys
from skindiff.demo.app import launch_demo
from skindiff.demo.config import DemoConfig
app = launch_demo(
    DemoConfig(generators=[sys.argv[1]], open_choice=False, conditions=["eczema"], port=None, batch_size=2,
               queue_size=16, threads=1), wait=False)
print(app.local_url, flush=True)
sys.stdin.read()
app.close(verbose=False)
"""


@pytest.fixture
def served(generators: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """A demo in a process of its own, whose memory is its own: its address and its process."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, generators[0]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    yield server.stdout.readline().strip(), psutil.Process(server.pid)
    server.communicate(timeout=60)


def abandons(web: httpx.Client, turn: int) -> None:
    """Queue what takes long and ask for no answer."""
    for _ in range(33):
        web.post("gradio_api/call/draw", json={"data": ["tiny", "eczema", "V", 24, 2, 50, turn]})


def leaves(web: httpx.Client, turn: int) -> None:
    """Queue as much as a session may and leave when the first drawing has begun."""
    body = {"data": ["tiny", "eczema", "V", 24, 2, 50, turn], "session_hash": f"leaver {turn}"}
    names = [web.post("gradio_api/call/draw", json=body).json().get("event_id") for _ in range(6)]
    with web.stream("GET", f"gradio_api/call/draw/{names[0]}") as stream:
        next(stream.iter_lines(), None)


def oversizes(web: httpx.Client, turn: int) -> None:
    """Send files that are too large, and some that end in the middle."""
    noise = np.random.default_rng(turn).bytes(10**6)
    for size in (9, 20, 60):
        with suppress(httpx.TransportError):
            got = web.post("gradio_api/upload", files=[("files", noise * size)])
            assert got.status_code in (400, 413), got.text
    torn = {"Content-Type": "multipart/form-data; boundary=cut"}
    part = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + noise
    web.post("gradio_api/upload", content=part, headers=torn)


def confuses(web: httpx.Client, turn: int) -> None:
    """Send values of wrong types."""
    for number in range(20):
        event, answer = said(web, "draw", WRONG[(turn * 20 + number) % len(WRONG)])
        assert event == "error"
        assert is_sentence(answer), answer


def hoards(web: httpx.Client, turn: int) -> None:
    """Send uploads that no request uses, and ask routes that are not there."""
    for number in range(20):
        web.post("gradio_api/upload", files=[("files", f"{turn} {number}".encode() * 1000)])
        web.get(f"gradio_api/file=/proc/{number}/environ")
        web.post("gradio_api/queue/join", json={"data": [None], "fn_index": number, "session_hash": "h"})


HOSTILE = (abandons, leaves, oversizes, confuses, hoards)


def attack(
    address: str, kind: Callable[[httpx.Client, int], None], stop: threading.Event, problems: list[str]
) -> None:
    turn = 0
    with httpx.Client(base_url=address, timeout=60) as web:
        while not stop.wait(0.5):
            try:
                kind(web, turn)
            except Exception as error:
                problems.append(f"{kind.__name__}: {error!r}")
            turn += 1
    problems.append(f"{kind.__name__}: {turn} turns")


@pytest.mark.slow
def test_fifteen_visitors_and_five_hostile_ones_for_three_minutes(
    served: tuple[str, psutil.Process], generators: list[str], tmp_path: Path, capsys: Any
) -> None:
    address, server = served
    right = expected(generators, range(20))
    stop, problems = threading.Event(), []
    hostile = [threading.Thread(target=attack, args=(address, kind, stop, problems)) for kind in HOSTILE]
    for one in hostile:
        one.start()
    outcomes, memory = Counter(), []
    for minute in range(3):  # the first warms up
        outcomes += visitors(address, 15, 60, right, tmp_path / str(minute))
        memory.append(server.memory_info().rss / 1e6)
    stop.set()
    for one in hostile:
        one.join()
    with capsys.disabled():
        sys.stdout.write(f"\n{dict(outcomes)}, MB after each minute: {[round(one) for one in memory]}\n")
        sys.stdout.write("\n".join(problems) + "\n")
    assert set(outcomes) <= {"right", "refused"}
    assert outcomes["right"] >= 15
    assert [words for words in problems if "turns" not in words] == []
    assert memory[2] - memory[0] < 30
