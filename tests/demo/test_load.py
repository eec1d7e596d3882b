"""Many at once: every request is answered or refused politely, and with the image that was asked for."""

import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from gradio_client import Client
from PIL import Image

from skindiff.demo.app import DemoApp
from skindiff.demo.config import DemoConfig
from skindiff.demo.drawing import DrawRequest, draw
from skindiff.demo.studio import Studio

POLITE = ("queue is full", "try again", "too many")


def expected(generators: list[str], seeds: range) -> dict[int, np.ndarray]:
    studio = Studio(DemoConfig(generators=generators, batch_size=2, threads=1))
    found = {}
    for seed in seeds:
        request = DrawRequest("tiny", "eczema", "V", count=1, steps=2, guidance_scale=1, seed=seed)
        found[seed] = list(draw(studio, request))[-1].pictures[0].pixels
    return found


def visitors(
    demo: DemoApp, count: int, seconds: float, right: dict[int, np.ndarray], folder: Path
) -> Counter:
    """Let visitors ask again and again, each for its own seed; return how often what became of it."""
    outcomes: Counter = Counter()
    guard = threading.Lock()
    end = time.monotonic() + seconds

    def visit(number: int) -> None:
        client = Client(demo.local_url, verbose=False, download_files=str(folder / str(number)))
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
    outcomes = visitors(demo, 6, 4, right, tmp_path)
    assert set(outcomes) <= {"right", "refused"}
    assert outcomes["right"] >= 6


@pytest.mark.slow
def test_twenty_visitors_for_two_minutes(
    demo: DemoApp, generators: list[str], tmp_path: Path, record_property
):
    right = expected(generators, range(20))
    process = psutil.Process()
    visitors(demo, 20, 30, right, tmp_path / "warm")
    before = process.memory_info().rss
    outcomes = visitors(demo, 20, 120, right, tmp_path / "long")
    grown = (process.memory_info().rss - before) / 1e6
    record_property("outcomes", dict(outcomes))
    record_property("grown_mb", grown)
    assert set(outcomes) <= {"right", "refused"}
    assert outcomes["right"] >= 20
    assert grown < 100
