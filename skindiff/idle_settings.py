"""Settings that were given and change nothing: each is said, on the console and in the report.

A config whose settings depend on one another has a method ``idle``, which returns the names of those that
change nothing as things stand, or of whole parts, and why.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

_GIVEN = "_given"
"""Where a config that was read keeps what the user gave."""
_NOTHING = object()


def note_given(config: Any, words: Sequence[str], contents: Iterable[Mapping[str, Any]]) -> None:
    """Keep with a config which of its settings the user gave another value than their class does.

    Args:
        config: that was read.
        words: of the command line.
        contents: of the settings files that the user named.
    """
    typed = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
    names = [*typed, *(name for content in contents for name in _names(content))]
    setattr(config, _GIVEN, dict(_changed(config, dict.fromkeys(names))))


def without_effect(config: Any, idle: Mapping[str, str] | None = None) -> list[str]:
    """Return in words which of the settings that the user gave change nothing.

    Args:
        config: that was read.
        idle: names of settings, or of parts of the config, that change nothing, and why; what the config and
            its parts say themselves when left out.
    """
    reasons = _idle(config) if idle is None else idle
    return [
        f"{name} ({value}) changes nothing: {reason}"
        for name, value in getattr(config, _GIVEN, {}).items()
        for reason in [reasons.get(part) for part in _wholes(name) if part in reasons][:1]
    ]


def _idle(config: Any, prefix: str = "") -> dict[str, str]:
    own: Mapping[str, str] = config.idle() if hasattr(type(config), "idle") else {}
    found = {f"{prefix}{name}": reason for name, reason in own.items()}
    for name, part in _parts(config):
        found |= _idle(part, f"{prefix}{name}.")
    return found


def _parts(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield the configs in a config, also those that a setting holds by names of the user's."""
    for item in fields(config):
        value = getattr(config, item.name)
        named = {item.name: value}
        if isinstance(value, dict):
            named = {f"{item.name}.{key}": part for key, part in value.items()}
        yield from ((name, part) for name, part in named.items() if is_dataclass(part))


def _wholes(name: str) -> list[str]:
    """Return the names of the parts that a setting is in, the largest first, and its own."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _names(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{key}.")


def _changed(config: Any, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    usual = type(config)()
    for name in names:
        *parts, last = name.split(".")
        home, before = config, usual
        for part in parts:
            if isinstance(home, dict):
                home = home.get(part)
                kind: Any = type(home)
                before = kind() if is_dataclass(home) else None
            else:
                home, before = getattr(home, part, None), getattr(before, part, None)
        own = {item.name for item in fields(home)} if is_dataclass(home) else set()
        value = getattr(home, last) if last in own else None
        if last in own and not is_dataclass(value) and value != getattr(before, last, _NOTHING):
            yield name, value
