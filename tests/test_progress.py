"""A bar for whoever looks on, lines for a log file, and times as people say them."""

import logging
import sys
import time
from types import SimpleNamespace

import pytest

from skindiff import progress as module
from skindiff.progress import duration, progress


def test_a_log_file_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.05)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False, write=print, flush=lambda: None))
    with caplog.at_level(logging.INFO):
        for _ in progress(range(20), desc="generating", unit="image"):
            time.sleep(0.02)
    lines = [record.message for record in caplog.records]
    assert 2 <= len(lines) <= 12
    assert all(line.startswith("generating: ") and " of 20 images after " in line for line in lines)
    assert "\r" not in "".join(lines)
    assert "\r" not in capsys.readouterr().out


def test_a_bar_within_a_bar_is_lines_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.02)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False, write=print, flush=lambda: None))
    with caplog.at_level(logging.INFO):
        for _ in progress(range(3), desc="seeds", unit="seed"):
            for _ in progress(range(10), desc="training", unit="step"):
                time.sleep(0.01)
    lines = [record.message for record in caplog.records]
    assert {line.split(":")[0] for line in lines} == {"seeds", "training"}
    assert "\x1b" not in "".join(lines)


def test_nothing_is_said_of_what_is_quick_or_hidden(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert list(progress(range(5), desc="quick", unit="step")) == [0, 1, 2, 3, 4]
        assert list(progress(range(5), desc="hidden", unit="step", disable=True)) == [0, 1, 2, 3, 4]
    assert caplog.records == []


@pytest.mark.parametrize(
    ("seconds", "words"), [(15.94, "15.9 s"), (373, "6 min 13 s"), (4440, "1 h 14 min"), (59.99, "60.0 s")]
)
def test_times_are_said_in_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
