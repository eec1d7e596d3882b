"""How a recipe starts: its settings from YAML and the command line, errors in one line, the report named."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from skindiff.commands.report import show
from skindiff.commands.signals import Terminated, ending_in_words, status_of
from skindiff.commands.terminal import complain, complain_of_full_disk, say, suggest
from skindiff.config import ConfigT, parse_config
from skindiff.corpora.registry import shows_patients
from skindiff.errors import SkindiffError
from skindiff.report.read import read_report


def run_recipe(main: Callable[[ConfigT], Path], config_class: type[ConfigT], file: str) -> None:
    """Run a recipe as a program; its settings are those of ``smoke.yaml`` in the folder of its name.

    Args:
        main: takes the settings and returns the path of the report.
        config_class: of the settings.
        file: of the recipe.
    """
    try:
        with ending_in_words():
            report = main(parse_config(config_class, default=Path(file).with_suffix("") / "smoke.yaml"))
    except SkindiffError as error:
        complain(f"error: {error}")
        sys.exit(2)
    except (KeyboardInterrupt, Terminated) as ending:
        sys.exit(status_of(ending))
    except Exception as error:
        sys.exit(complain_of_full_disk(error))
    if int(os.environ.get("RANK", "0")) == 0:
        say()
        show(report.parent)
        say()
        push = ["skindiff", "push", str(report.parent), "OWNER/NAME", "--licence", "LICENCE"]
        own = ["skindiff", "data", "check", "DIR"]  # images of one's own
        corpus = read_report(report.parent)["corpus"].get("name")
        suggest(*([] if shows_patients(corpus) else [own]), push)
