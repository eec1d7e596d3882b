"""How a recipe starts: its settings from YAML and the command line, errors in one line, the report named."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from skindiff.commands.report import show
from skindiff.commands.terminal import complain, say, suggest
from skindiff.config import ConfigT, parse_config
from skindiff.errors import SkindiffError


def run_recipe(main: Callable[[ConfigT], Path], config_class: type[ConfigT], file: str) -> None:
    """Run a recipe as a program; its settings are those of ``smoke.yaml`` in the folder of its name.

    Args:
        main: takes the settings and returns the path of the report.
        config_class: of the settings.
        file: of the recipe.
    """
    try:
        report = main(parse_config(config_class, default=Path(file).with_suffix("") / "smoke.yaml"))
    except SkindiffError as error:
        complain(f"error: {error}")
        sys.exit(2)
    if int(os.environ.get("RANK", "0")) == 0:
        say()
        show(report.parent)
        say()
        suggest(["skindiff", "push", str(report.parent), "OWNER/NAME", "--licence", "LICENCE"])
