"""Reports that a stranger made, in every reader of reports."""

import contextlib
import copy
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skindiff.commands.compare import show as show_runs
from skindiff.commands.report import show
from skindiff.errors import RunFolderError, SkindiffError
from skindiff.hub.cards import coverage_text, eval_results
from skindiff.hub.origin import Origin, find_facts
from skindiff.report.compare import read_runs, write_comparison
from skindiff.report.read import read_report
from skindiff.report.write import write_report
from tests.report.test_write import small_report
from tests.test_foreign import JSON, SECRET

WRONG: tuple[Any, ...] = (None, "x", -1, True, 1e300, [], {}, [[None]], {"x": {"x": 1}}, "\x1b[31m")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a report alone, which no list of hashes speaks for."""
    folder = tmp_path_factory.mktemp("run") / "made_up"
    folder.mkdir()
    write_report(folder, small_report())
    (folder / "files.json").unlink()
    (folder / "config.yaml").write_text("corpus:\n  name: phantom\n")
    return folder


@pytest.fixture
def theirs(run: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "config.yaml").write_text("corpus:\n  name: phantom\n")
    return folder


def read_everywhere(folder: Path, other: Path) -> None:
    """Do with a report what report, compare and push do with it."""
    with contextlib.redirect_stdout(io.StringIO()):
        show(folder)
        runs = read_runs([other, folder])
        show_runs(runs, ["accuracy", "balanced_accuracy"])
    facts = find_facts(Origin(), folder, "cc-by-4.0")
    eval_results(facts.report)
    coverage_text(facts)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value, of the first and last of each list."""
    yield place
    if isinstance(value, dict):
        for key, part in value.items():
            yield from places(part, (*place, key))
    elif isinstance(value, list):
        for number in {0, len(value) - 1} if value else ():
            yield from places(value[number], (*place, number))


def with_part(content: Any, place: tuple[Any, ...], *value: Any) -> Any:
    """Return a copy with another value in a place; without one, with none."""
    content = copy.deepcopy(content)
    if not place:
        return value[0] if value else {}
    inner = content
    for step in place[:-1]:
        inner = inner[step]
    if value:
        inner[place[-1]] = value[0]
    else:
        del inner[place[-1]]
    return content


@pytest.mark.parametrize("part", ["", "summary", "results", "verdicts", "splits", "corpus", "config", "rest"])
def test_a_report_of_any_other_shape_is_read_or_refused(run: Path, theirs: Path, part: str) -> None:
    content = json.loads((run / "report.json").read_text())
    own = [place for place in places(content) if _part(place) == part]
    refusals: list[tuple[tuple[Any, ...], str]] = []
    for number, place in enumerate(
        own[:: {"rest": 23, "summary": 5, "results": 5, "verdicts": 2}.get(part, 1)]
    ):
        # A third of the kinds for each place, every kind for each third place.
        for value in [(), *((wrong,) for wrong in WRONG[number % 3 :: 3])]:
            (theirs / "report.json").write_text(json.dumps(with_part(content, place, *value)))
            try:
                read_everywhere(theirs, run)
            except SkindiffError as error:
                refusals.append((place, str(error)))
    assert [place for place, said in refusals if "\n" in said or len(said) > 500] == []
    assert refusals or part == "rest"


def _part(place: tuple[Any, ...]) -> str:
    if not place:
        return ""
    known = ("summary", "results", "verdicts", "splits", "corpus", "config")
    return place[0] if place[0] in known else "rest"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", JSON)
def test_strange_json_is_refused_quickly(run: Path, theirs: Path, name: str) -> None:
    (theirs / "report.json").write_text(JSON[name])
    began = time.perf_counter()
    with pytest.raises(RunFolderError, match="no report of a run") as error:
        read_everywhere(theirs, run)
    assert time.perf_counter() - began < 5
    assert SECRET not in str(error.value)


def test_a_report_of_a_later_version_is_refused(run: Path, theirs: Path) -> None:
    content = json.loads((run / "report.json").read_text())
    (theirs / "report.json").write_text(json.dumps({**content, "schema": 99}))
    with pytest.raises(RunFolderError, match="update skindiff"):
        read_report(theirs)


def test_an_estimate_that_is_huge_is_plotted_or_refused(run: Path, theirs: Path, tmp_path: Path) -> None:
    content = json.loads((run / "report.json").read_text())
    for row in content["summary"]:
        row |= {name: 1e300 for name in ("mean", "delta", "delta_ci_low", "delta_ci_high") if row[name]}
    (theirs / "report.json").write_text(json.dumps(content))
    with pytest.raises(RunFolderError):
        write_comparison(tmp_path / "out", read_runs([run, theirs]), ["accuracy"])
