"""The API reference: every cross-reference of a docstring leads somewhere, and pdoc renders every page."""

import ast
import builtins
import html
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

Scope = ast.Module | ast.ClassDef | ast.FunctionDef
ROLE = re.compile(r":(?:mod|func|class|meth|attr|data|exc|obj):`~?([^`]+)`")
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((REPOSITORY / "skindiff").rglob("*.py"))
}


def names_of(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """What a module or a class defines or imports, with the statement that does it."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((name.asname or name.name.split(".")[0], node) for name in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            yield from ((name, node) for name in found)
        elif isinstance(node, ast.If):  # TYPE_CHECKING
            yield from names_of(node.body)


def known(scope: Scope) -> dict[str, ast.AST]:
    """The names of a scope; those of a class hold what its methods set on themselves."""
    found: dict[str, ast.AST] = dict(names_of(scope.body))
    if isinstance(scope, ast.ClassDef):
        for node in ast.walk(scope):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
            ):
                found.setdefault(node.attr, node)
    return found


def leads_somewhere(target: str, module: str, scopes: Sequence[Scope]) -> bool:
    """Whether a name means something to a reader of ``module`` within these scopes, the innermost last."""
    if target.startswith("."):
        package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
        target = f"{package}{target}"
    first, _, rest = target.partition(".")
    for scope in reversed(scopes):
        if first in (names := known(scope)):
            owner = names[first]
            return not rest or (isinstance(owner, ast.ClassDef) and rest in known(owner))
    if first != "skindiff":
        return hasattr(builtins, first) or (bool(rest) and find_spec(first) is not None)
    if target in MODULES:
        return True
    home = next(name for name in sorted(MODULES, key=len, reverse=True) if target.startswith(f"{name}."))
    tree = ast.parse(MODULES[home].read_text(encoding="utf-8"))
    return leads_somewhere(target.removeprefix(f"{home}."), home, [tree])


def docstrings(*scopes: Scope) -> Iterator[tuple[str, Sequence[Scope]]]:
    """Every string that stands as a statement, with the scopes that it stands in."""
    for node in scopes[-1].body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value), scopes
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield from docstrings(*scopes, node)


def astray(module: str, source: str) -> list[str]:
    return [
        f"{module}: {target}"
        for text, scopes in docstrings(ast.parse(source))
        for target in ROLE.findall(text)
        if not leads_somewhere(target, module, scopes)
    ]


def test_a_planted_reference_to_nothing_is_found() -> None:
    source = '''
"""See :mod:`skindiff.seeding`, :func:`~skindiff.seeding.derive_seed`, :func:`.seeding`, :class:`Dog.bark`."""
class Dog:
    """Calls :meth:`bark`, :func:`skindiff.seeding.gone`, :mod:`skindiff.gone` and :meth:`meow`."""
    def bark(self): ...
'''
    gone = ["skindiff.seeding.gone", "skindiff.gone", "meow"]
    assert astray("skindiff.config", source) == [f"skindiff.config: {name}" for name in gone]


def test_every_reference_leads_somewhere() -> None:
    sources = {module: path.read_text(encoding="utf-8") for module, path in MODULES.items()}
    assert sum(len(ROLE.findall(source)) for source in sources.values()) > 100
    assert [line for module, source in sources.items() for line in astray(module, source)] == []


def test_contributing_names_every_room() -> None:
    rooms = [path for path in (REPOSITORY / "skindiff").iterdir() if (path / "__init__.py").is_file()]
    told = re.findall(r"^\| `([\w/]+)`", CONTRIBUTING, re.MULTILINE)
    assert {str(path.relative_to(REPOSITORY)) for path in rooms} <= set(told)
    assert [name for name in told if not (REPOSITORY / name).exists()] == []
    scripts = re.findall(r"`(scripts/\w+\.py)`", CONTRIBUTING)
    assert sorted(scripts) == sorted(f"scripts/{path.name}" for path in (REPOSITORY / "scripts").glob("*.py"))


@pytest.mark.slow
def test_pdoc_renders_all_of_it_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    (line,) = re.findall(r"^pdoc .*$", CONTRIBUTING, re.MULTILINE)
    words = shlex.split(line)
    words[words.index("site")] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stderr.splitlines() if re.search(r"warn|error", line, re.IGNORECASE)]
    # Before Python 3.12 a TypedDict does not tell which columns it inherits.
    assert [line for line in said if "Cannot determine where" not in line] == []
    for module in MODULES:
        if module.rpartition(".")[2].startswith("_"):
            continue
        page = html.unescape((tmp_path / f"{module.replace('.', '/')}.html").read_text(encoding="utf-8"))
        assert not ROLE.search(page), module
        assert "Args:" not in page, module  # Google's sections have become lists
