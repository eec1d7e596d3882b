"""Images are decoded once in a process, as far as memory goes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import skindiff
from skindiff.corpora import cache
from skindiff.corpora.cache import pixels
from skindiff.corpora.decoded import DecodedImages


def test_a_second_training_decodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "DECODED", DecodedImages())
    images = skindiff.load_corpus("phantom", images_per_class={"I": 3}).dataset
    first = pixels(images)

    def refuse(*_: Any) -> None:
        raise AssertionError("an image was decoded again")

    monkeypatch.setattr(cache, "_decode", refuse)
    np.testing.assert_array_equal(pixels(images), first)
    shuffled = images.select([5, 2, 2])
    np.testing.assert_array_equal(pixels(shuffled), first[[5, 2, 2]])
    np.testing.assert_array_equal(pixels(images, [1, 0]), first[[1, 0]])


def test_no_more_is_kept_than_the_limit_and_the_first_stay() -> None:
    known, calls = DecodedImages(limit=250), list[int]()

    def asked(number: int) -> np.ndarray:
        def decode() -> np.ndarray:
            calls.append(number)
            return np.full(100, number, np.uint8)

        return known.get(bytes([number]), decode)

    with ThreadPoolExecutor(2) as executor:
        for number, found in enumerate(executor.map(asked, range(4))):
            assert (found == number).all()
    assert known.held == 200
    calls.clear()
    for number in range(4):
        asked(number)
    assert len(calls) == 2
