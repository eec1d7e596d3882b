"""No run leaves out the browser, real data or what is slow without saying so at its end."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import BROWSER, CHROMIUM, REAL_DATA, REPOSITORY

pytest_plugins = "pytester"
TESTS = """
def test_in_a_browser(browser):
    raise AssertionError("there is none")

def test_on_photographs(real_data):
    raise AssertionError("there are none")
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with this repository's conftest.py, on a machine without Chromium and photographs."""
    text = (REPOSITORY / "tests" / "conftest.py").read_text(encoding="utf-8")
    place = "REPOSITORY = Path(__file__).resolve().parents[1]"
    assert place in text
    pytester.makeconftest(text.replace(place, "REPOSITORY = Path(__file__).resolve().parent / 'clone'"))
    pytester.makepyfile(TESTS)
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for name in (BROWSER, REAL_DATA):
        monkeypatch.delenv(name, raising=False)
    return pytester


def test_what_is_skipped_is_said_with_the_way_to_have_it(run: pytest.Pytester) -> None:
    result = run.runpytest_subprocess("-m", "not slow and not gpu", "-p", "no:cacheprovider")
    result.assert_outcomes(skipped=2)
    said = "\n".join(result.outlines)
    for words in (
        "1 tests in a browser: apt-get install -y chromium",
        "1 tests on real photographs: put them into ../shared",
        "what takes minutes: python -m pytest -m slow",
        "what needs an accelerator: python -m pytest -m gpu",
    ):
        assert words in said


def test_what_is_required_fails(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BROWSER, "1")
    result = run.runpytest_subprocess("-m", "slow or not slow", "-p", "no:cacheprovider")
    result.assert_outcomes(skipped=1, errors=1)
    said = "\n".join(result.outlines)
    assert f"{BROWSER}=1, but {CHROMIUM}" in said
    assert "pytest -m slow" not in said


@pytest.mark.parametrize(
    ("machine", "installs"),
    [
        ({"CI": "true"}, os.geteuid() == 0),
        ({}, False),
        ({"CI": "true", "chromium": "there"}, False),
    ],
)
def test_ci_requires_a_browser_and_installs_it_as_root(
    tmp_path: Path, machine: dict[str, str], installs: bool
) -> None:
    log = tmp_path / "log"
    seen = f'echo "$SKINDIFF_REQUIRE_BROWSER$SKINDIFF_REQUIRE_REAL_DATA" >> {log}; exit 9'
    for name in ("apt-get", "python3", *(["chromium"] if "chromium" in machine else [])):
        end = seen if name == "python3" else ""
        (tmp_path / name).write_text(f"#!/bin/bash\necho {name} $@ >> {log}\n{end}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    environment = {"PATH": str(tmp_path)} | {name: machine[name] for name in machine if name == "CI"}
    done = subprocess.run(
        ["/bin/bash", str(REPOSITORY / ".ci" / "run")], env=environment, capture_output=True
    )
    assert done.returncode == 9, done.stderr
    said = log.read_text().splitlines()
    assert ("apt-get install -y -qq chromium" in said) == installs
    assert said[-1] == "11"
