"""``skindiff run RECIPE``: a whole study under ``accelerate launch``, from the corpus to the report."""

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from skindiff.commands.launching import (
    PACKAGE,
    accelerate_config,
    default_launch,
    launch,
    split_launch_words,
)
from skindiff.commands.settings import first_comment
from skindiff.commands.terminal import say, suggest
from skindiff.errors import ConfigError
from skindiff.foreign_yaml import read_yaml

_HOMES = (PACKAGE / "recipes", PACKAGE.parent / "recipes")
_DEFAULT = "smoke"


def main(words: Sequence[str]) -> int:
    """Run a recipe and return its exit status."""
    if not words or words[0] in ("-h", "--help"):
        _help()
        return 0 if words else 2
    script = recipe_file(words[0])
    if {"-h", "--help"} & set(words[1:]):
        return _recipe_help(script)
    launch_words, rest = split_launch_words(words[1:])
    rest = _named_configs(script, rest)
    launch_words = launch_words or default_launch() or ["--config_file", str(accelerate_config("cpu"))]
    status = launch([*launch_words, str(script), *rest])
    folder = _output_dir(script, rest)
    if status == 0 and folder:
        suggest(["skindiff", "report", folder])
    return status


def recipes() -> dict[str, Path]:
    """Return the scripts of all recipes by name."""
    return {path.stem: path for home in reversed(_HOMES) for path in sorted(home.glob("*.py"))}


def recipe_file(name: str) -> Path:
    """Return the script of a recipe.

    Raises:
        ConfigError: there is none of that name.
    """
    known = recipes()
    if name not in known:
        raise ConfigError(f"recipe: there is no {name!r}; choose from {', '.join(known)}")
    return known[name]


def _configs(script: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(script.with_suffix("").glob("*.yaml"))}


def _docstring(script: Path) -> str:
    return ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""


def _named_configs(script: Path, words: list[str]) -> list[str]:
    """Return the words with the files of configs that are named without a folder (``--config paper``)."""
    configs = _configs(script)
    return [
        str(configs[word]) if before == "--config" and word in configs and not Path(word).is_file() else word
        for word, before in zip(words, ["", *words], strict=False)
    ]


def _output_dir(script: Path, words: list[str]) -> str | None:
    """Return the folder of the run, None where it is not known."""

    def value(name: str) -> str | None:
        flags = [word for word in words if word == name or word.startswith(f"{name}=")]
        if not flags:
            return None
        place, (_, equals, given) = words.index(flags[-1]), flags[-1].partition("=")
        return given if equals else words[place + 1] if place + 1 < len(words) else None

    if folder := value("--output_dir"):
        return folder
    file = Path(value("--config") or str(_configs(script)[_DEFAULT]))
    content = read_yaml(file)
    return str(content["output_dir"]) if "output_dir" in (content or {}) else None


def _help() -> None:
    say("usage: skindiff run RECIPE [--config NAME|FILE] [--SETTING VALUE ...]\n\nrecipes:")
    found = recipes()
    width = max(map(len, found))
    for name, script in found.items():
        say(f"  {name:{width}}  {_docstring(script).splitlines()[0]}")
    say(
        "\nSettings of a recipe: skindiff run RECIPE --help. Several processes or GPUs:\n"
        "--accelerate_config NAME|FILE (cpu, multi_cpu, single_gpu, multi_gpu, multi_node) and\n"
        "--num_processes N. --resume continues a run that was interrupted."
    )


def _recipe_help(script: Path) -> int:
    say(_docstring(script))
    say(f"\nsettings files, for --config (without it: {_DEFAULT}):")
    for name, path in _configs(script).items():
        say(f"  {name}: {first_comment(path)}")
    say("\nall settings:\n")
    return subprocess.run([sys.executable, str(script), "--help"], check=False).returncode
