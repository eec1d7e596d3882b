"""Data flows one way: a room imports only from rooms to its left, also inside functions and in tables."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import skindiff

PACKAGE = Path(skindiff.__file__).parent
GROUND = (
    "errors", "escaping", "seeding", "files", "foreign", "foreign_yaml", "foreign_tables", "weights",
    "manifest", "run_lock", "peers", "progress", "plugins", "renamed", "idle_settings", "recorded_settings",
    "wrong_settings", "config", "launch", "runs",
)  # fmt: skip
"""What every room stands on, in its own order."""
DOORS = ("__init__", "commands.__main__")
"""They open the rooms: the public names, and the command line in a process of its own."""
ROOMS = (
    *GROUND, "corpora", "study", "generators", "training", "synthesis", "measures", "classification",
    "evaluation", "report", "hub", "demo", "api", "commands", "cli",
)  # fmt: skip


def _modules() -> dict[str, Path]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


def _imported(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a module imports from skindiff, without the package's name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "skindiff":
            parts = (node.module or "").split(".")[1:]
            yield from [".".join(parts)] if parts else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("skindiff."):
                    yield alias.name.removeprefix("skindiff.")


def _room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("module", [name for name in _modules() if name not in DOORS])
def test_a_room_imports_only_from_rooms_to_its_left(module: str) -> None:
    here = _room(module)
    assert here in ROOMS, f"{module}: a room that the map does not know"
    wrong = []
    for imported in _imported(_modules()[module]):
        there = _room(imported)
        if there in ROOMS and ROOMS.index(there) > ROOMS.index(here):
            wrong.append(imported)
    assert not wrong, f"{module} imports from the right: {wrong}"


def test_the_map_of_contributing_is_the_one_that_holds() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    drawn = [line for line in text.splitlines() if line.startswith("corpora -> ")]
    rooms = drawn[0].replace(", ", " -> ").split(" -> ")
    known = [room for room in rooms if room in ROOMS]
    assert len(known) == len(rooms) - 1
    assert known == [room for room in ROOMS if room in known]
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders - {"recipes", "accelerate_configs"} <= set(rooms)
