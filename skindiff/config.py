"""Configs are nested dataclasses: from YAML, overridden on the command line, checked, and saved again."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields, is_dataclass, make_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings

from skindiff.errors import ConfigError
from skindiff.files import at_home
from skindiff.foreign import Malformed, refuse_unlike
from skindiff.foreign_yaml import read_yaml
from skindiff.idle_settings import note_given
from skindiff.plugins import load_plugins, refuse_missing_plugins
from skindiff.renamed import refuse_old_names
from skindiff.wrong_settings import (
    in_one,
    judge,
    judge_all,
    named_part,
    refuse,
    setting_types,
    wrong_settings,
)

set_parsing_settings(docstring_parse_attribute_docstrings=True)


class Config(Protocol):
    """A dataclass that can check itself."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""


ConfigT = TypeVar("ConfigT", bound=Config)

_MOST = 10**9
"""Of any number but seeds, where what a setting counts says no more."""
_MOST_OF = {
    **dict.fromkeys(("rank", "threads", "workers", "timesteps"), 10**4),
    **dict.fromkeys(("image_size", "shorter_side", "width", "decoder_width", "widths", "latent_size"), 10**4),
    **dict.fromkeys(("latent_dim", "continuous_dim", "discrete_dim"), 10**5),
    **dict.fromkeys(("images", "images_per_source", "images_per_class", "per_class", "total"), 10**6),
    **dict.fromkeys(
        ("replicates", "bootstrap_replicates", "planted", "diversity_images", "batch_size"), 10**6
    ),
    "blocks": 100,
}
"""By the last part of a setting's name: beyond it memory or years would be asked for, by mistake."""
_LONGEST_TEXT, _LONGEST_WORD = 4096, 100_000
"""Characters of a setting (of a path, as the system has it), and of a word on the command line."""
_LONGEST_MESSAGE = 500
_FILE = "_settings_file"
_NO_CHANGE = {
    "config",
    "output_dir",
    "resume",
    "overwrite",
    "threads",
    "trackers",
    "include_images",
    "recorded",
    "corpus.cache_dir",
}
"""Settings of the command line that say where and how a run is made, not what it is."""
_OF_CLASSES = ("class_path", "init_args")
"""What the parser would import a class by, where a part of the settings is meant."""


def parse_config(
    config_class: type[ConfigT],
    arguments: Sequence[str] | None = None,
    *,
    default: Path,
    prog: str | None = None,
) -> ConfigT:
    """Read a config: the class's defaults, then a YAML file, then ``--dotted.settings`` of the command line.

    Args:
        config_class: a dataclass whose fields carry their help as attribute docstrings.
        arguments: the command line; ``sys.argv`` when left out. ``--config FILE`` replaces ``default``,
            ``--plugin MODULE`` imports a plugin first (see :mod:`skindiff.plugins`).
        default: YAML file that is read where no ``--config`` is given.
        prog: name of the program in the help text.

    Raises:
        ConfigError: a file that is missing or no YAML, a setting that does not exist (with the nearest that
            does), a value of the wrong type, or one that the config itself refuses; a plugin that cannot be
            imported.
        RunFolderError: the run that is to go on used a plugin that is not loaded.
    """
    words = load_plugins(sys.argv[1:] if arguments is None else arguments)
    if long := [word for word in words if len(word) > _LONGEST_WORD or "\0" in word]:
        raise ConfigError(f"{long[0][:40]!r}: {len(long[0]):,} characters, or a NUL; give a shorter word")
    given = [_word_at_home(word) for word in words]
    _refuse_missing_plugins(given, default, getattr(config_class, "output_dir", None))
    known = _current(config_class)
    parser = _parser(known, tuple(setting_types(known).items()), prog, default.name)
    try:
        named = _values(given, "--config")
        read = [_settings_of(file) for file in named or [str(default)]]
        parts = [
            (group, _settings_of(file, group))
            for group in _groups(known)
            for file in _values(given, f"--{group}")
            if Path(file).exists()
        ]
        refuse_old_names(given, [*read, *({part: own} for part, own in parts)], list(setting_types(known)))
        contents = [*(("", content) for content in read), *parts]
        for part, content in contents:
            _refuse_files(content, known, f"{part}." if part else "")
        given = _switches(given, known)
        _refuse_wrong(known, given, contents)
        parsed = parser.parse_args(([] if named else ["--config", str(default)]) + given)
        for name, value in list(parsed.items()):
            parsed[name] = at_home(value)
        settings = parser.instantiate_classes(parsed)
    except ConfigError:
        raise
    except Exception as error:  # jsonargparse raises its own, argparse's, yaml's and type errors alike
        raise ConfigError(_shortened(error)) from error
    values = {item.name: settings[item.name] for item in fields(config_class)}  # type: ignore[arg-type]
    config = config_class(**values)
    judge_all(partial(_refuse_strange, config), config.validate)
    note_given(config, given, read if named else ())
    setattr(config, _FILE, _own_file(Path(named[-1]) if named else default, default.parent, given))
    return config


@cache
def _parser(
    known: type, settings: tuple[tuple[str, Any], ...], prog: str | None, usual_file: str
) -> ArgumentParser:
    """Return the parser of a class and its settings by now, of which a plugin may have added some.

    To build it takes as long as to read a file with it.
    """
    parser = ArgumentParser(prog=prog, exit_on_error=False, description=known.__doc__)
    parser.add_argument("--config", action="config", help=f"YAML file of settings (default: {usual_file})")
    parser.add_class_arguments(known, as_group=False)
    return parser


def _own_file(file: Path, own: Path, words: Sequence[str]) -> dict[str, Any] | None:
    """Return which of a program's own settings files was read, and whether words changed what it says."""
    typed = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    if file.resolve().parent != own.resolve():
        return None
    return {"name": file.stem, "changed": not typed <= _NO_CHANGE}


def settings_file(config: Any) -> dict[str, Any] | None:
    """Return which of a program's own settings files a config was read from by :func:`parse_config`.

    Returns:
        ``name``, without its ending, and ``changed``, whether the command line gave other settings than where
        and how to run; None of a file of the user's, or of settings that come from no file.
    """
    found: dict[str, Any] | None = getattr(config, _FILE, None)
    return found


def validate_parts(config: Any, path: str = "") -> None:
    """Validate every setting of a config that is a config itself."""
    for item in fields(config):
        validate = getattr(getattr(config, item.name), "validate", None)
        if validate:
            judge(validate, f"{path}{item.name}.")


def refuse_unshared(settings: Any, processes: int, path: str = "") -> None:
    """Raise ConfigError on the first loop in some settings whose batch so many processes cannot share."""
    if hasattr(type(settings), "shared_by"):
        settings.shared_by(processes, path)
    elif is_dataclass(settings):
        for item in fields(settings):
            refuse_unshared(getattr(settings, item.name), processes, f"{path}{item.name}.")
    elif isinstance(settings, Mapping):
        for name, value in settings.items():
            refuse_unshared(value, processes, f"{path}{name}.")


def with_changes(config: ConfigT, changes: Mapping[str, Any]) -> ConfigT:
    """Return a valid config with some settings changed, nested ones as nested mappings.

    Raises:
        ConfigError: a setting that does not exist (with the nearest that does), a value of the wrong type, or
            one that the config itself refuses.
    """
    kind = type(config)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, as_group=False)
    _refuse_wrong(kind, (), [("", changes)])
    try:
        parsed = parser.parse_object(at_home(_merged(config, changes)))
        settings = parser.instantiate_classes(parsed)
    except Exception as error:  # as in parse_config
        raise ConfigError(_shortened(error)) from error
    changed = kind(**{item.name: settings[item.name] for item in fields(kind)})  # type: ignore[arg-type]
    judge_all(partial(_refuse_strange, changed), changed.validate)
    return changed


def _merged(old: Any, new: Any) -> Any:
    """Return new settings over old ones; a mapping is settings where a config is meant, otherwise a value."""
    if not (is_dataclass(old) and not isinstance(old, type) and isinstance(new, Mapping)):
        return asdict(new) if is_dataclass(new) and not isinstance(new, type) else new
    changed = {name: _merged(getattr(old, name, None), value) for name, value in new.items()}
    return asdict(old) | changed


def check_seeds(seeds: Sequence[int], name: str) -> None:
    """Raise a ConfigError that names the setting unless it has at least one seed, and each once."""
    if not seeds or len(set(seeds)) < len(seeds):
        refuse(f"{name}: {list(seeds)} must name at least one, and each once")


def check_resume(resume: bool, overwrite: bool, path: str = "") -> None:
    """Raise a ConfigError if a run is to be both resumed and deleted."""
    if resume and overwrite:
        refuse(f"{path}resume and overwrite are both true: choose one")


def save_config(config: Any, path: Path) -> None:
    """Write a config as YAML that :func:`parse_config` reads back to an equal config."""
    path.write_text(yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _current(config_class: type) -> type:
    """Return a config class whose open parts, those with a method ``current``, have the fields of by now."""
    parts = [
        (item.name, item.type.current()) for item in fields(config_class) if hasattr(item.type, "current")
    ]
    return _with_parts(config_class, tuple(parts)) if parts else config_class


@cache
def _with_parts(config_class: type, parts: tuple[tuple[str, type], ...]) -> type:
    own: Any = [(name, kind, field(default_factory=kind)) for name, kind in parts]
    made = make_dataclass(config_class.__name__, own, bases=(config_class,))
    made.__doc__ = config_class.__doc__
    return made


def _refuse_missing_plugins(words: Sequence[str], default: Path, output_dir: str | None) -> None:
    """Refuse the settings of a run, or a run to go on with, by the plugin that is missing."""
    config = Path((_values(words, "--config") or [str(default)])[-1])
    refuse_missing_plugins(config.parent)
    content = _content(config)
    own = content.get("output_dir") if isinstance(content, dict) else None
    folder = [at_home(own) or output_dir, *_values(words, "--output_dir")][-1]
    if "--resume" in words and folder:
        refuse_missing_plugins(Path(folder))


def _values(words: Sequence[str], flag: str) -> list[str]:
    """Return the values that a flag has on the command line, in their order."""
    following = zip(words, [*words, ""][1:], strict=True)
    return [
        word.partition("=")[2] if word.startswith(f"{flag}=") else value
        for word, value in following
        if word == flag or word.startswith(f"{flag}=")
    ]


def _word_at_home(word: str) -> str:
    """Return a word of the command line with a ``~`` as the user's home, after ``--name=`` too."""
    name, is_setting, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{name}{is_setting}{at_home(value)}"


def _content(file: str | Path) -> Any:
    try:
        return read_yaml(Path(file))
    except Malformed:
        return None  # said when the settings are read


def _settings_of(file: str, setting: str = "config") -> dict[str, Any]:
    """Return the content of a settings file, which names no other settings file.

    Raises:
        ConfigError: it cannot be read; the message has nothing of what is in it.
    """
    try:
        content = read_yaml(Path(file))
        refuse_unlike({} if content is None else content, dict[str, Any], "what it holds")
    except Malformed as error:
        raise ConfigError(f"{setting}: {file} cannot be read as settings: {error}") from error
    if setting == "config" and content and "config" in content:
        raise ConfigError(f"config: {file} names another settings file; give that by --config too")
    return content or {}


def _refuse_files(content: Mapping[str, Any], config_class: type, prefix: str = "", inside: str = "") -> None:
    """Refuse a file, or a class, in the place of a part of the settings: the parser would open the one and
    import the other, whatever it is.

    Args:
        content: of a settings file, or a part of it.
        config_class: of all settings.
        prefix: of the part.
        inside: what goes before it all in messages.
    """
    groups, kinds = _groups(config_class), setting_types(config_class)
    for name, value in content.items():
        full = f"{prefix}{name}"
        if name in _OF_CLASSES:
            raise ConfigError(
                f"{inside}{full}: a settings file imports no code; write the settings themselves"
            )
        if full in groups and isinstance(value, str):
            raise ConfigError(
                f"{inside}{full}: a settings file names no other file; write what is in it, or give "
                f"--{inside}{full} FILE"
            )
        named = named_part(kinds.get(full))
        if named and isinstance(value, Mapping):
            for key, part in value.items():
                if not isinstance(part, Mapping):
                    raise ConfigError(f"{inside}{full}.{key}: it holds settings by name; write them below it")
                _refuse_files(part, named, "", f"{inside}{full}.{key}.")
        elif isinstance(value, Mapping):
            _refuse_files(value, config_class, f"{full}.", inside)


def _groups(config_class: type) -> set[str]:
    """Return the dotted names of what holds settings itself."""
    names = [name.split(".") for name in setting_types(config_class)]
    return {".".join(parts[:number]) for parts in names for number in range(1, len(parts))}


def _refuse_strange(config: Any, path: str = "") -> None:
    """Refuse numbers that no setting can mean, text that is no word and no path, and null for a value."""
    for item in fields(config):
        value, name = getattr(config, item.name), f"{path}{item.name}"
        if value is None and item.type is not Any and type(None) not in get_args(item.type):
            refuse(f"{name}: null is no value of it; give one, or leave the setting out")
        _refuse_strange_value(value, name)


def _refuse_strange_value(value: Any, name: str) -> None:
    if is_dataclass(value):
        _refuse_strange(value, f"{name}.")
    elif isinstance(value, dict):
        for key, part in value.items():
            _refuse_strange_value(key, name)
            _refuse_strange_value(part, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for part in value:
            _refuse_strange_value(part, name)
    elif isinstance(value, str) and ("\0" in value or len(value) > _LONGEST_TEXT):
        refuse(f"{name}: {len(value):,} characters, or a NUL among them; give a shorter text")
    elif isinstance(value, (int, float)) and "seed" not in name:
        most = _MOST_OF.get(name.rpartition(".")[2], _MOST)
        if most < abs(value) < float("inf"):
            refuse(f"{name}: {value:g} is beyond the {most:,} that can be meant; give fewer")
    elif isinstance(value, int) and abs(value) >= 2**63:
        refuse(f"{name}: a seed has at most 63 bits")


def _switches(words: list[str], config_class: type) -> list[str]:
    """Return the command line with ``true`` after every yes-or-no setting that stands without a value."""
    kinds = (bool, bool | None)
    switches = {f"--{name}" for name, kind in setting_types(config_class).items() if kind in kinds}
    filled: list[str] = []
    for word, following in zip(words, [*words, "--"][1:], strict=True):
        filled += [word, "true"] if word in switches and following.startswith("--") else [word]
    return filled


def _refuse_wrong(
    config_class: type, words: Sequence[str], contents: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    """Raise a ConfigError that says of every name and type what is wrong with it, if anything is."""
    if problems := wrong_settings(config_class, words, contents):
        raise in_one(problems)


def _shortened(error: Exception) -> str:
    """Return what the parser says of what is no matter of a name or a type, on one line."""
    message = re.sub(r"\s+", " ", str(error)).strip()
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."
