"""What commands say: on the standard output, and what went wrong on the standard error, beside the logs."""

import os
import shlex
import signal
import sys
from collections.abc import Sequence

from skindiff.escaping import visible
from skindiff.files import disk_is_full


def say(text: str = "") -> None:
    """Print a line, from the main process alone; control characters in names are spelled out.

    Raises:
        SystemExit: nobody reads on, as in ``skindiff demo --help | head``.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    try:
        sys.stdout.write(f"{visible(text)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is written at the end
        raise SystemExit(128 + signal.SIGPIPE) from None


def complain(text: str) -> None:
    """Print a line on the standard error, as :func:`say` does."""
    sys.stderr.write(f"{visible(text)}\n")


def complain_of_full_disk(error: Exception) -> int:
    """Say in one line that the disk is full and return the exit status; any other error is raised again."""
    if not disk_is_full(error):
        raise error
    complain("error: output_dir: the disk is full; free some space and go on by --resume, nothing is lost")
    return 2


def suggest(*commands: Sequence[str]) -> None:
    """Print commands that are useful now, ready to be copied.

    Args:
        commands: each as the words of its line, which are quoted where a shell would cut them.
    """
    for number, words in enumerate(commands):
        say(f"{'next:' if number == 0 else '  or:'} {shlex.join(words)}")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column flush left, all others flush right."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (headings, ["-" * width for width in widths], *rows)
    ]
