"""The settings of a command: the recipes' own system, with the defaults of ``defaults/<command>.yaml``."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from skindiff.commands.terminal import say
from skindiff.config import ConfigT, parse_config
from skindiff.errors import ConfigError
from skindiff.renamed import SINCE

DEFAULTS = Path(__file__).parent / "defaults"


def parse_command(
    config_class: type[ConfigT],
    words: Sequence[str],
    command: str,
    *,
    positional: Sequence[str] = (),
    default: Path | None = None,
) -> ConfigT:
    """Read a command's config: YAML of its defaults, or of ``--config``, then dotted settings.

    Args:
        config_class: with help texts as attribute docstrings, and examples in its own docstring.
        words: what was typed after ``command``.
        command: as the user typed it, such as ``"train lora"``.
        positional: settings that may be given without their names, in this order, before all others.
        default: the file that is read without ``--config``; that of the command when left out.

    Raises:
        ConfigError: a setting is unknown, of the wrong type, or cannot work.
        SystemExit: help was asked for (status 0).
    """
    named = _positional(words, positional)
    rest = list(words[len(named) :])
    given = [word for name, value in named for word in (f"--{name}", value)]
    default = default or DEFAULTS / f"{command.replace(' ', '-')}.yaml"
    given += [_shipped(word, before, default) for word, before in zip(rest, ["", *rest], strict=False)]
    if {"-h", "--help"} & set(given):
        _help(config_class, command, positional, default)
    return parse_config(config_class, given, default=default, prog=f"skindiff {command}")


def shipped_settings(default: Path) -> dict[str, Path]:
    """Return the settings files of a command besides its default, by the name that ``--config`` takes."""
    prefix = f"{default.stem}-"
    return {
        path.stem.removeprefix(prefix): path
        for path in sorted(default.parent.glob(f"{prefix}published.yaml"))
    }


def first_comment(path: Path) -> str:
    """Return the comment at the top of a YAML file as one line."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)


def _positional(words: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    if first > len(names):
        raise ConfigError(
            f"{words[len(names)]!r} belongs to no setting; settings are given as --name value, and all are "
            "listed by --help"
        )
    return list(zip(names, words[:first], strict=False))


def _shipped(word: str, before: str, default: Path) -> str:
    """Return the file that the value of ``--config`` names, if it is one of those shipped here."""
    if word.startswith("--config="):
        return f"--config={_shipped(word.removeprefix('--config='), '--config', default)}"
    named = shipped_settings(default)
    if before == "--config" and word == "paper" and "published" in named and not Path(word).is_file():
        raise ConfigError(f"config: 'paper' is called 'published' since skindiff {SINCE}; write published")
    return str(named[word]) if before == "--config" and word in named and not Path(word).is_file() else word


def _help(config_class: type[ConfigT], command: str, positional: Sequence[str], default: Path) -> None:
    """Print usage, examples, the default file and all settings, without the parser's page of brackets."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        parse_config(config_class, ["--help"], default=default, prog=f"skindiff {command}")
    usage = " ".join(["skindiff", command, *(name.upper() for name in positional)])
    say(f"usage: {usage} [--config FILE] [--SETTING VALUE ...]\n")
    # The parser has a terminal step back over a space, where ``say`` spells the step out.
    say(text.getvalue().partition("\n\n")[2].replace(" \b", "").rstrip())
    say("\nWithout --config these settings replace the defaults above:\n")
    say(default.read_text(encoding="utf-8").rstrip())
    for name, path in shipped_settings(default).items():
        say(f"\n--config {name}: {first_comment(path)}")
    raise SystemExit(0)
