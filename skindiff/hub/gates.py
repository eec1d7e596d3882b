"""Checks that do not depend on the Hub: reasons to override, and names of the corpus' files."""

import re
from collections.abc import Sequence
from pathlib import Path

from skindiff.errors import HubError

_LISTS = ("audit.csv", "quarantined.csv", "missing.txt")
"""What a run writes about the files of its corpus; the first cell of each line is a name."""


def in_words(override: str | None) -> str | None:
    """Return the reason for which a gate is passed, None where none is given.

    Raises:
        HubError: it is less than three words: a reason is asked for, not a yes.
    """
    if override is None:
        return None
    reason = " ".join(override.split())
    if len(reason.split()) < 3:
        raise HubError(f"override: {override!r} gives no reason; write one for the card")
    return reason


def refuse_file_names(run: Path, texts: Sequence[str]) -> None:
    """See that no text names a file of the corpus that a run has listed.

    Raises:
        HubError: one does.
    """
    names: set[str] = set()
    for listing in _LISTS:
        path = run / listing
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            listed = {re.split(r"[,\t]", line)[0].strip('"') for line in lines}
            names |= listed | {name.removeprefix("'") for name in listed}  # before what looks like a formula
    words = {word for text in texts for word in re.split(r"[\s\"'`|,()\[\]]+", text)}
    told = sorted((names & words) - {"", "image_id"})
    if told:
        raise HubError(
            f"folder: the report names the file {told[0]!r} of the corpus; make the report without it"
        )
