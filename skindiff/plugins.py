"""Plugins: modules of a user's own that register a corpus or a generator family when they are imported.

They come from installed packages (entry points of the group ``skindiff.plugins``, each naming a module), or
from ``--plugin MODULE`` on the command line. Nothing that is read names code to import: no settings file, run
folder, report or file of the Hub. The words of the command line go to every process, and each imports them.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from skindiff.errors import ConfigError, RunFolderError
from skindiff.foreign import Malformed, read_json, refuse_unlike

GROUP = "skindiff.plugins"
"""Group of the entry points of installed plugins."""
PLUGINS_FILE = "plugins.json"
"""Names of the plugins that a run used, in its folder; they are compared and shown, never imported."""
FLAG = "--plugin"
_loaded: dict[str, set[str]] = {}
"""What each plugin has registered, by its module's name."""
_typed: set[str] = set()
_current: list[str] = []


def load_plugins(words: Sequence[str]) -> list[str]:
    """Import the installed plugins and those that ``words`` name; return the words without them.

    Raises:
        ConfigError: ``--plugin`` has no value, or a module cannot be imported.
    """
    from importlib.metadata import entry_points  # here, so that help is quick

    rest: list[str] = []
    named: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        flag, equals, value = word.partition("=")
        if flag != FLAG:
            rest.append(word)
            continue
        if not equals and (not left or left[0].startswith("-")):
            raise ConfigError("plugin: --plugin has no value; name a module, or leave it out")
        named.append(value if equals else left.pop(0))
    for name in (*(entry.module for entry in entry_points(group=GROUP)), *named):
        _load(name)
    _typed.update(named)
    return rest


def note_registered(name: str) -> None:
    """Remember that the plugin that is being imported, if one is, has brought a corpus or family."""
    if _current:
        _loaded[_current[-1]].add(name)


def used_plugins(config: Any) -> list[str]:
    """Return the plugins that were typed, and the installed ones of which a config names something.

    Args:
        config: the settings of a run as plain values (``dataclasses.asdict``).
    """
    values = set(_texts(config))
    return sorted(name for name, brought in _loaded.items() if name in _typed or brought & values)


def refuse_missing_plugins(folder: Path) -> list[str]:
    """Return the plugins that the run in ``folder`` used.

    Raises:
        RunFolderError: one of them is not there.
    """
    file = folder / PLUGINS_FILE
    try:
        used: list[str] = read_json(file) if file.is_file() else []
        refuse_unlike(used, list[str], PLUGINS_FILE)
    except Malformed as error:
        raise RunFolderError(
            f"plugin: {file} cannot be read ({error}); replace the run by --overwrite"
        ) from error
    for name in used:
        if name not in _loaded:
            raise RunFolderError(
                f"plugin: the run in {folder} used the plugin {name!r}, which is not loaded; "
                f"add {FLAG} {name}, or install the package that brings it"
            )
    return used


def _load(name: str) -> None:
    if name in _loaded:
        return
    _loaded[name] = set()
    _current.append(name)
    try:
        importlib.import_module(name)
    except BaseException as error:
        del _loaded[name]
        if isinstance(error, ImportError):
            raise ConfigError(
                f"plugin: module {name!r} cannot be imported ({error}); install it, or put its folder on "
                "PYTHONPATH"
            ) from error
        raise
    finally:
        _current.pop()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(value.values())
    elif isinstance(value, Iterable):
        for one in value:
            yield from _texts(one)
