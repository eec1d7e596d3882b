"""``skindiff completion SHELL``: a script with which the shell completes commands, methods and settings.

The script is made by shtab once and knows everything by itself, so that pressing Tab starts no Python.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from skindiff.commands import COMMANDS
from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import say
from skindiff.errors import ConfigError
from skindiff.wrong_settings import setting_types


@dataclass
class CompletionCommand:
    """Print a completion script for a shell.

    skindiff completion bash > ~/.local/share/bash-completion/completions/skindiff
    """

    shell: Literal["bash", "zsh", "tcsh"] = "bash"
    """The shell."""

    def validate(self, path: str = "") -> None:
        """Nothing can be wrong beyond the type."""


def main(words: Sequence[str]) -> int:
    """Print the script."""
    config = parse_command(CompletionCommand, words, "completion", positional=["shell"])
    try:
        shtab = import_module("shtab")
    except ImportError as error:
        raise ConfigError("completion: shtab is not installed; pip install shtab") from error
    say(shtab.complete(command_tree(), shell=config.shell))
    return 0


def command_tree() -> argparse.ArgumentParser:
    """Return a parser that knows the words of every command; it is for completion alone."""
    from skindiff.commands.data import WHAT
    from skindiff.commands.run import recipes
    from skindiff.commands.train import methods as known_methods
    from skindiff.corpora.table_corpus.presets import PRESETS

    parser = argparse.ArgumentParser(prog="skindiff")
    parser.add_argument("--version", action="store_true")
    commands = parser.add_subparsers(dest="command")
    configs = _configs()
    for name, says in COMMANDS.items():
        command = commands.add_parser(name, help=says)
        if name == "train":
            methods = command.add_subparsers(dest="method")
            for method, explained in known_methods().items():
                _add_settings(methods.add_parser(method, help=explained), _method_config(method))
        elif name == "data":
            actions = command.add_subparsers(dest="action")
            _add_settings(actions.add_parser("check", help=WHAT["check"]), configs["data check"])
            actions.add_parser("list", help=WHAT["list"]).add_argument(
                "name", nargs="?", choices=list(PRESETS)
            )
        elif name == "run":
            command.add_argument("recipe", choices=list(recipes()))
            for word in ("--config", "--accelerate_config", "--num_processes", "--output_dir", "--resume"):
                command.add_argument(word)
        else:
            _add_settings(command, configs[name])
    return parser


def _add_settings(parser: argparse.ArgumentParser, config_class: type) -> None:
    parser.add_argument("--config")
    for name in setting_types(config_class):
        parser.add_argument(f"--{name}")


def _configs() -> dict[str, type]:
    from skindiff.commands.audit import AuditCommand
    from skindiff.commands.compare import CompareCommand
    from skindiff.commands.data import DataCheck
    from skindiff.commands.demo import DemoCommand
    from skindiff.commands.evaluate import EvaluateCommand
    from skindiff.commands.export import ExportCommand
    from skindiff.commands.push import PushCommand
    from skindiff.commands.report import ReportCommand
    from skindiff.commands.sample import SampleCommand

    return {
        "data check": DataCheck,
        "audit": AuditCommand,
        "sample": SampleCommand,
        "evaluate": EvaluateCommand,
        "report": ReportCommand,
        "compare": CompareCommand,
        "export": ExportCommand,
        "push": PushCommand,
        "demo": DemoCommand,
        "completion": CompletionCommand,
    }


def _method_config(method: str) -> type:
    from skindiff.commands.train import GROUPS
    from skindiff.commands.train_adapter import TrainLoRA, TrainTextualInversion
    from skindiff.commands.train_classifier import CONFIGS
    from skindiff.commands.train_from_scratch import command_config

    own = {"textual-inversion": TrainTextualInversion, "lora": TrainLoRA, **CONFIGS}
    return own.get(method) or command_config(GROUPS.get(method, method).replace("-", "_"))
