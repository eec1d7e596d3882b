"""Random damage to a finished and to a half-finished run: none is believed, none ends in a traceback."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from recipes.ham_fewshot import HamFewShotConfig, main
from skindiff.errors import SkindiffError
from skindiff.report.read import read_report
from tests.recipes.tiny_class_study import tiny_fewshot

KINDS = ("flip", "cut", "empty", "gone", "zeros", "other")
IN_CI, IN_ALL = 1, 60


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> HamFewShotConfig:
    config = tiny_fewshot(tmp_path_factory.mktemp("damage") / "run")
    main(config)
    return config


def damage(path: Path, kind: str, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if kind == "gone":
        path.unlink()
        return
    if kind == "flip" and content:
        for _ in range(8):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        content = content[: chance.randrange(len(content) or 1)]
    elif kind == "empty":
        content = bytearray()
    elif kind == "zeros":
        content = bytearray(len(content))
    elif kind == "other":  # valid, and of the wrong shape
        content = bytearray(b"[1, 2, 3]")
    path.unlink()  # links to it keep the old content
    path.write_bytes(content)


def told(folder: Path) -> dict[str, Any]:
    """What a report says, but for times."""
    content = json.loads((folder / "report.json").read_text())
    return {name: value for name, value in content.items() if name not in ("timings", "environment")}


def attack(finished: HamFewShotConfig, tmp_path: Path, number: int) -> None:
    chance = random.Random(number)
    before, run = told(Path(finished.output_dir)), tmp_path / "run"
    shutil.copytree(finished.output_dir, run, symlinks=True)
    if number % 2:  # half-finished: without its report, and some stages not done
        for path in run.glob("report.*"):
            path.unlink()
        for stage in chance.sample(sorted(run.glob("stages/*/done.json")), 2):
            stage.unlink()
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != "version.txt")
    victim, kind = chance.choice(files), chance.choice(KINDS)
    damage(victim, kind, chance)
    about = f"{number}: {kind} {victim.relative_to(run)}"
    try:
        believed = read_report(run)
    except SkindiffError as error:
        assert "\n" not in str(error), about  # noqa: PT017
    else:
        # The pictures and pages of a report are checked with it where it is pushed.
        assert believed["summary"] == before["summary"], about
    settings = {**vars(finished), "output_dir": str(run), "resume": True}
    main(HamFewShotConfig(**settings))
    after = told(run)
    for name, value in before.items():
        known = after[name] | {"output_dir": None, "resume": None} if name == "config" else after[name]
        expected = value | {"output_dir": None, "resume": None} if name == "config" else value
        assert known == expected, f"{about}: {name}"


@pytest.mark.parametrize("number", range(IN_CI))
def test_no_damage_is_believed(finished: HamFewShotConfig, tmp_path: Path, number: int) -> None:
    attack(finished, tmp_path, number)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_none_of_sixty_damages_is_believed(finished: HamFewShotConfig, tmp_path: Path) -> None:
    for number in range(IN_CI, IN_ALL + IN_CI):
        attack(finished, tmp_path / str(number), number)
