"""The command ``skindiff``: it finds the command that was named; heavy imports happen inside the commands.

Exit status: 0 when all went well, 2 after an error that the user can mend (one line), 130 when interrupted
and 143 when ended by SIGTERM (one line), 1 after any other error.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from skindiff import __version__
from skindiff.commands import COMMANDS
from skindiff.commands.signals import Terminated, ending_in_words, status_of
from skindiff.commands.terminal import complain, complain_of_full_disk
from skindiff.errors import SkindiffError
from skindiff.plugins import load_plugins

_WHAT = "Diffusion-based augmentation for skin images. Not for clinical use."
_EXAMPLES = """
each command explains itself: skindiff COMMAND --help
a corpus or generator of your own:  skindiff COMMAND ... --plugin MODULE

for a start, on what is bundled (no network, no GPU, minutes):
  skindiff sample                            generate skin of all types
  skindiff train lora                        teach the bundled pipeline seven conditions
  skindiff run fitz_lora                     the whole study of skin-type transfer
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0].startswith("-"):
        _parser().parse_args(words or ["--help"])
    if words[0] not in COMMANDS:
        complain(f"error: {words[0]!r} is no command; choose from {', '.join(COMMANDS)}")
        return 2
    try:
        with ending_in_words():
            load_plugins(words[1:])  # left in place: the processes that a command starts import them too
            status: int = import_module(f"skindiff.commands.{words[0]}").main(words[1:])
    except SkindiffError as error:
        complain(f"error: {error}")
        return 2
    except ChildProcessError as error:  # its own process has nothing more to say
        complain(f"error: {error}")
        return 1
    except (KeyboardInterrupt, Terminated) as ending:
        return status_of(ending)
    except Exception as error:
        return complain_of_full_disk(error)
    return status


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {says}" for name, says in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="skindiff",
        usage="skindiff COMMAND ...",
        description=f"{_WHAT}\n\ncommands:\n{listed}",
        epilog=_EXAMPLES.strip("\n"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    return parser


if __name__ == "__main__":
    sys.exit(main())
