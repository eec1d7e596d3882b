import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.expression import Expression

from tests.browser import FLAGS, chromium, playwright

os.environ["HF_HUB_OFFLINE"] = "1"
# Workers share the cores: with a thread each they do not wait for one another.
os.environ["OMP_NUM_THREADS"] = "1"
# Threads of the processes that tests start would spin while they wait, at the cost of the other workers.
os.environ["OMP_WAIT_POLICY"] = "passive"

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A command that ran in this process took all cores for its threads, and sums depend on their number."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _imported_is_not_searched() -> None:
    """Every training collects garbage at its end, which among all that is imported takes most of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _columns_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse that the library loops over a column row by row: ``column[:]`` takes a twelfth of the time."""
    if (table := sys.modules.get("datasets.arrow_dataset")) is None:
        return
    row_by_row = table.Column.__iter__

    def whole(column: Any) -> Iterator[Any]:
        asks = Path(sys._getframe(1).f_code.co_filename)
        pictures = type(column.features).__name__ == "Image"  # they are decoded one at a time
        assert pictures or not asks.is_relative_to(REPOSITORY / "skindiff"), f"{asks}: read the column by [:]"
        found: Iterator[Any] = row_by_row(column)
        return found

    monkeypatch.setattr(table.Column, "__iter__", whole)


@pytest.fixture
def tiny_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let FLUX generate 32 pixels when it is loaded: its folder does not say that its 1024 were too many."""
    from diffusers import FluxPipeline

    from tests.tiny import small_flux

    monkeypatch.setattr(FluxPipeline, "__init__", small_flux())


REAL_DATA, BROWSER = "SKINDIFF_REQUIRE_REAL_DATA", "SKINDIFF_REQUIRE_BROWSER"
"""With 1 in the environment, what lacks these fails; otherwise it is skipped."""
PLAYWRIGHT = "Playwright is not installed: pip install -c constraints.txt -e '.[test]'"
CHROMIUM = "there is no Chromium: apt-get install -y chromium"
UNTESTED = {
    PLAYWRIGHT: "in a browser: pip install -c constraints.txt -e '.[test]'",
    CHROMIUM: "in a browser: apt-get install -y chromium (Debian; or put a chromium on the PATH)",
    "the folder ../shared": "on real photographs: put them into ../shared (CONTRIBUTING.md)",
}
"""What the end of a run says of tests that were skipped, by how the reason begins."""
DESELECTED = {
    "slow": "what takes minutes: python -m pytest -m slow",
    "gpu": "what needs an accelerator: python -m pytest -m gpu",
}


KIN = ("Stable Diffusion 3", "Z-Image")
"""Architectures that are built as FLUX.1 is: ``-m slow`` asserts of these what is asserted of each one, and
tests/generators/text_to_image/test_seam.py looks at all."""


def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are cores: a worker often waits, for a browser or for processes of its test."""
    chosen = "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ  # then pytest-xdist reads it
    return None if chosen else (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is asserted of an architecture once more, of its kin."""
    for item in items:
        if any(name in item.name for name in KIN):
            item.add_marker(pytest.mark.slow)


def _absent(reason: str, requirement: str = REAL_DATA) -> None:
    if os.environ.get(requirement) == "1":
        pytest.fail(f"{requirement}=1, but {reason}")
    pytest.skip(reason)


def _is(mark: str, name: str, **_: Any) -> bool:
    return mark == name


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say at the end of a run what was not tested, and how to have it tested."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    found = Counter(reason.removeprefix("Skipped: ") for reason in reasons)
    lines: Counter[str] = Counter()
    for reason, count in found.items():
        known = next((said for start, said in UNTESTED.items() if reason.startswith(start)), None)
        lines[known or f"for another reason: {reason}"] += count
    said = [f"{count} tests {what}" for what, count in lines.items()]
    if config.option.markexpr:
        chosen = Expression.compile(config.option.markexpr)
        for name, what in DESELECTED.items():
            said += [] if chosen.evaluate(partial(_is, name)) else [what]
    if said:
        terminalreporter.section("not tested")
        for line in said:
            terminalreporter.line(line)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium, Debian's, through Playwright."""
    if playwright is None:
        _absent(PLAYWRIGHT, BROWSER)
    path = chromium()
    if path is None:
        _absent(CHROMIUM, BROWSER)
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photographs beside the checkout."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        _absent("the folder ../shared/data is missing")
    return folder


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The tiny Stable Diffusion pipeline that was pre-trained on real photographs."""
    folder = REPOSITORY.parent / "shared" / "models" / "fitz-tiny-sd"
    if not folder.is_dir():
        _absent("the folder ../shared/models/fitz-tiny-sd is missing")
    return folder
