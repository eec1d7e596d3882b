"""Settings and values that had another name before 0.2.0, for people: refused; in finished artefacts: read.

The tables of this module are those of CHANGELOG.md, and ``scripts/compare_runs.py`` compares by them.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skindiff.errors import ConfigError
from skindiff.foreign import Malformed
from skindiff.foreign_yaml import parse_yaml

SINCE = "0.2.0"
_PRESET = {"clean": "grouped", "paper": "published"}
VALUES = {
    "preset": _PRESET,
    "head": {"paper": "published"},
    "augment": {"paper": "published"},
    "geometric_augment": {"paper": "published"},
    "balance": {"class_and_skin_type": "class_and_attribute"},
}
"""New values by the last part of a setting's or column's name and the old value."""
LISTED = {"fidelity.by": {"skin_type": "attribute"}}
"""New values in lists, by the last two parts of a setting's name; reports name columns there, as they did."""
COLUMNS = {"synthesis": {"family": "strategy", "split_seed": "seed"}}
"""New names of columns by the part of a report and the old name."""
SETTINGS = {
    "paper_epochs": "published_epochs",
    "geometric": "geometric_augment",
    "output": "output_dir",
}
"""New names by the old one, both as the last part of a setting's dotted name."""
MOVED = {
    "scenario.majority_types": "corpus.attribute.majority",
    "scenario.minority_types": "corpus.attribute.minority",
    "split.majority_types": "corpus.attribute.majority",
    "split.minority_types": "corpus.attribute.minority",
    "skin_types": "groups",
    "origin.skin_types": "origin.groups",
}
"""Settings that are elsewhere now: whole names by the last two parts of the old one."""


def refuse_old_names(words: Sequence[str], files: Sequence[Mapping[str, Any]], known: Sequence[str]) -> None:
    """Refuse what a user wrote under a name or a value of before, with the one that holds now.

    Args:
        words: of the command line, with or without ``--setting=value``.
        files: the content of the settings files.
        known: the dotted names of all settings.

    Raises:
        ConfigError: an old name or value; the message has the new one.
    """
    for name, value in [*_typed(words), *(pair for content in files for pair in _dotted(content))]:
        before, _, last = name.rpartition(".")
        new = f"{before}.{SETTINGS.get(last, last)}".lstrip(".")
        if name not in known and new in known:
            raise ConfigError(f"{name}: this setting is called {new} since skindiff {SINCE}; write {new}")
        moved = MOVED.get(".".join(name.split(".")[-2:]))
        if name not in known and moved in known:
            raise ConfigError(f"{name}: this setting is {moved} now, for all that follows it; write {moved}")
        listed = LISTED.get(".".join(name.split(".")[-2:]), {}) if isinstance(value, list) else {}
        now = {old: listed[old] for old in value if isinstance(old, str) and old in listed} if listed else {}
        if isinstance(value, str) and value in VALUES.get(last, {}):
            now = {value: VALUES[last][value]}
        for old, current in now.items() if name in known else ():
            raise ConfigError(
                f"{name}: {old!r} is called {current!r} since skindiff {SINCE}; write {current}"
            )


def with_new_names(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the content of a finished artefact with the names and values of now.

    Args:
        content: of a report or of a classifier's description.
        where: what it was read from, for the warning that old names were found.
    """
    renamed: dict[str, Any] = _renamed(content)
    for part, names in COLUMNS.items():
        if isinstance(renamed.get(part), list):
            renamed[part] = [
                {names.get(name, name): value for name, value in row.items()} for row in renamed[part]
            ]
    if renamed != content:
        warnings.warn(f"{where} has names of before skindiff {SINCE}; they are read as today's", stacklevel=3)
    return renamed


def in_streams(*names: Any) -> tuple[Any, ...]:
    """Return names as random streams have had them since 0.1.0, so that intervals stay what they were."""
    before = {new: old for old, new in _PRESET.items()}
    return tuple(before.get(name, name) if isinstance(name, str) else name for name in names)


def _renamed(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {SETTINGS.get(name, name): _renamed_value(name, value) for name, value in content.items()}
    return [_renamed(part) for part in content] if isinstance(content, list) else content


def _renamed_value(name: str, value: Any) -> Any:
    new = VALUES.get(SETTINGS.get(name, name), {})
    return new.get(value, value) if isinstance(value, str) else _renamed(value)


def _typed(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word.startswith("--"):
            name, given, value = word[2:].partition("=")
            yield from _dotted({name: _read(value if given else following)})


def _read(text: str) -> Any:
    try:
        return parse_yaml(text)
    except Malformed:
        return text


def _dotted(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = f"{prefix}{key}"
        yield name, value
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{name}.")
