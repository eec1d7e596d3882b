"""What is wrong with the settings that were given: all of it in one answer, each by its name and value."""

import difflib
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from skindiff.errors import ConfigError, SettingsError, SkindiffError
from skindiff.foreign import Malformed
from skindiff.foreign_yaml import parse_yaml

_LONGEST_VALUE = 80
_NAME = re.compile(r"[: ]")
"""Ends the name of the setting in what is said of it."""
_NO_SETTINGS = ("config", "help", "plugin")
_PLAIN = {
    str: ("text", "text"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
}
"""What is meant by a type, and by several of it."""


_FOUND: ContextVar[list[str] | None] = ContextVar("what is wrong with the settings at hand", default=None)


def refuse(problem: str) -> None:
    """Refuse a setting: raise, or, while all settings are judged, note it for the one answer and go on.

    Args:
        problem: begins with the name of the setting.

    Raises:
        ConfigError: the settings are not judged together.
    """
    found = _FOUND.get()
    if found is None:
        raise ConfigError(problem)
    found.append(problem)


def judge(validate: Callable[[str], object], path: str = "") -> None:
    """Validate a part of the settings; while all are judged, what it raises does not keep others from it."""
    found = _FOUND.get()
    try:
        validate(path)
    except SkindiffError as error:
        if found is None:
            raise
        refuse(str(error))
    except Exception:
        if not found:  # otherwise it may follow from what was refused
            raise


def problems_of(*judgements: Callable[[str], object]) -> list[str]:
    """Judge all settings, and return of each that cannot work the first thing that is wrong with it."""
    found: list[str] = []
    token = _FOUND.set(found)
    try:
        for validate in judgements:
            judge(validate)
    finally:
        _FOUND.reset(token)
    first: dict[str, str] = {}
    for problem in found:
        first.setdefault(_NAME.split(problem, maxsplit=1)[0], problem)
    return list(first.values())


def judge_all(*judgements: Callable[[str], object]) -> None:
    """Judge all settings, and say of each that cannot work the first thing that is wrong with it.

    Raises:
        ConfigError: some cannot work.
    """
    if problems := problems_of(*judgements):
        raise in_one(problems)


def setting_types(config_class: type, prefix: str = "") -> dict[str, Any]:
    """Return the types of all settings of a config class by their dotted names."""
    found: dict[str, Any] = {}
    for item in fields(config_class):
        name = f"{prefix}{item.name}"
        found[name] = item.type
        for part in (item.type, *get_args(item.type)):  # the parts of a config that may be null
            if isinstance(part, type) and is_dataclass(part):
                found |= setting_types(part, f"{name}.")
    return found


def in_one(problems: Sequence[str]) -> ConfigError:
    """Return the error that says what is wrong with one setting, or with several."""
    if len(problems) == 1:
        return ConfigError(problems[0])
    listed = "; ".join(f"({number}) {ConfigError(problem)}" for number, problem in enumerate(problems, 1))
    return SettingsError(f"{len(problems)} settings cannot work: {listed}")


def no_such_setting(name: str, known: Mapping[str, Any]) -> str:
    """Return that there is no setting of this name, and the one that was probably meant."""
    if name.rpartition(".")[2] == "plugin":
        return f"{name}: a settings file imports no code; type --plugin MODULE on the command line"
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"{name}: there is no such setting; " + (
        f"did you mean {near[0]!r}?" if near else "see --help for all settings"
    )


def wrong_settings(
    config_class: type, words: Sequence[str], contents: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[str]:
    """Return what is wrong with names and types of settings, each once; ``[]`` if nothing is.

    Args:
        config_class: that was to be made of them.
        words: of the command line.
        contents: of settings files, each with the name of the part that it is for (``""`` for all).
    """
    known = setting_types(config_class)
    found = [problem for part, content in contents for problem in _in_content(content, known, part)]
    for word, following in zip(words, [*words, ""][1:], strict=True):
        name, given, value = word[2:].partition("=")
        if word.startswith("--") and name.endswith("+"):  # adds to a list; the parser judges what
            name = name[:-1]
            found += [] if name in known else [no_such_setting(name, known)]
        elif word.startswith("--") and name not in _NO_SETTINGS:
            found += _typed(name, value if given else following, known)
    return list(dict.fromkeys(found))


def _in_content(content: Mapping[str, Any], known: Mapping[str, Any], part: str = "") -> Iterator[str]:
    for key, value in content.items():
        name = f"{part}.{key}" if part else str(key)
        if name not in known:
            yield no_such_setting(name, known)
        elif isinstance(value, Mapping) and (named := named_part(known[name])):
            yield from _in_named(value, named, name)
        elif _has_settings(name, known) and is_dataclass(value):
            continue
        elif _has_settings(name, known) and isinstance(value, Mapping):
            yield from _in_content(value, known, name)
        elif not _fits(known[name], value):
            yield _not_of_type(name, value, known[name])


def _in_named(content: Mapping[str, Any], kind: type, name: str) -> Iterator[str]:
    """Yield what is wrong with parts of the settings that have names of the user's."""
    for own, part in content.items():
        if isinstance(part, Mapping):
            yield from (f"{name}.{own}.{said}" for said in _in_content(part, setting_types(kind)))
        elif not is_dataclass(part):
            yield _not_of_type(f"{name}.{own}", part, kind)


def named_part(kind: Any) -> type | None:
    """Return the class of the parts that a setting of a type holds by names of the user's; None without."""
    part = get_args(kind)[-1] if get_origin(kind) is dict else None
    return part if isinstance(part, type) and is_dataclass(part) else None


def _typed(name: str, text: str, known: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a setting of the command line; that of a mapping may be one of its keys."""
    if name not in known:
        if not any(name.startswith(f"{other}.") and _is_mapping(known[other]) for other in known):
            yield no_such_setting(name, known)
    elif _has_settings(name, known):
        try:
            content = parse_yaml(text)
        except Malformed:
            content = None
        if isinstance(content, Mapping):
            whole = named_part(known[name]) is not None
            yield from _in_content({name: content} if whole else content, known, "" if whole else name)
    elif not _fits(known[name], text, typed=True):
        yield _not_of_type(name, text, known[name])


def _has_settings(name: str, known: Mapping[str, Any]) -> bool:
    return any(is_dataclass(part) for part in (known[name], *get_args(known[name])))


def _is_mapping(kind: Any) -> bool:
    return any(get_origin(part) is dict for part in (kind, *get_args(kind)))


def _fits(kind: Any, value: Any, *, typed: bool = False) -> bool:
    """Return whether the parser takes a value for a type, as a word of the command line or as it is."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=kind)
    try:
        if typed:
            parser.parse_args([f"--value={value}"])
        else:
            parser.parse_object({"value": value})
    except Exception:  # the parser raises its own errors, argparse's, yaml's and type errors alike
        return False
    return True


def _not_of_type(name: str, value: Any, kind: Any) -> str:
    said = str(value) if isinstance(value, (list, dict)) else repr(value)
    shown = said if len(said) <= _LONGEST_VALUE else f"{said[:_LONGEST_VALUE]}..."
    return f"{name}: {shown} is not {in_words(kind)}"


def in_words(kind: Any, *, several: bool = False) -> str:
    """Return what a type means to whoever writes settings, such as ``a list of whole numbers, or null``."""
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, types.UnionType):
        own = [in_words(part, several=several) for part in parts if part is not types.NoneType]
        return ", or ".join([" or ".join(own), *(["null"] if types.NoneType in parts else [])])
    if origin is Literal:
        return ("of " if several else "one of ") + ", ".join(map(str, parts))
    if origin is list:
        return f"a list of {in_words(parts[0], several=True)}".replace("of of", "of")
    if origin is dict:
        return f"a mapping of names to {in_words(parts[1], several=True)}".replace("to of", "to")
    if is_dataclass(origin):
        return "a mapping of settings"
    return _PLAIN[origin][several] if origin in _PLAIN else f"a {getattr(origin, '__name__', origin)}"
