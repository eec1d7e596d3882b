"""Splits by place, by time and by the parts that a data set came in, read from a corpus' own columns."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from skindiff.corpora.split_table import SplitTable
from skindiff.corpora.splits import Split
from skindiff.errors import SplitError
from skindiff.wrong_settings import refuse

_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])([T ].*)?)?)?")
"""A year, a month or a day, as ISO 8601 writes it; a time of the day is not looked at."""


@dataclass
class HeldOutConfig:
    """Test on some sites, or on what came after a date, and train on the rest."""

    sites: list[str] | None = None
    """Test on the images of these sites (the column site), and train on those of all others."""
    after: str | None = None
    """Test on the images that are dated later (the column date), such as 2021 or 2021-05-31, and train on
    those of then and before."""
    validation_fraction: float = 0.1
    """Share of the training groups of each class that is kept for validation, 0 to below 1."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if (self.sites is None) == (self.after is None):
            refuse(f"{path}sites: give either the sites to test on, or a date by {path}after")
        if self.sites is not None and (not self.sites or len(set(self.sites)) < len(self.sites)):
            refuse(f"{path}sites: {self.sites} names no site, or one twice")
        if self.after is not None and not _DATE.fullmatch(self.after):
            refuse(f"{path}after: {self.after!r} is no date; write 2021, 2021-05 or 2021-05-31")
        if not 0 <= self.validation_fraction < 1:
            refuse(
                f"{path}validation_fraction: {self.validation_fraction} is outside 0 to below 1; 0 keeps none"
            )


def make_held_out_split(
    dataset_or_columns: Dataset | Mapping[str, Sequence[Any]], config: HeldOutConfig, seed: int
) -> Split:
    """Test on sites, or on a time, that nothing is trained on.

    A group (a patient) with an image to test on is not trained on at all, and one of its images is tested.
    Whole groups of what is left are kept for validation.

    ``dropped`` counts ``unknown_site`` or ``unknown_date`` rows, ``repeats_in_test`` and
    ``shares_group_with_test``.

    Args:
        dataset_or_columns: a corpus (or a mapping of columns) with ``label``, ``image_id``, ``group_id``, and
            ``site`` or ``date``.
        config: what is held out.
        seed: of the validation groups, and of the image that is tested of each group.

    Raises:
        ConfigError: a setting cannot work.
        SplitError: a column is missing, a site has no image, a date is none, or nothing is left to train or
            to test on.
    """
    config.validate()
    table = SplitTable.read(dataset_or_columns)
    name = "site" if config.sites is not None else "date"
    cells = _column(dataset_or_columns, name, "held_out")
    if config.sites is not None:
        if absent := [site for site in config.sites if site not in cells]:
            known = sorted({cell for cell in cells if cell is not None})
            raise SplitError(
                f"held_out.sites: no image is of {absent[0]!r}; there are {', '.join(known[:20])}"
            )
        held = [None if cell is None else cell in config.sites for cell in cells]
    else:
        held = [_is_after(cell, str(config.after)) for cell in cells]
    order = table.shuffled(range(len(cells)), seed, "held out")
    tested: dict[str, int] = {}
    for row in order:
        if held[row]:
            tested.setdefault(table.group_id[row], row)
    known_rows = [row for row in order if held[row] is False]
    left = [row for row in known_rows if table.group_id[row] not in tested]
    if not tested or not left:
        part = "test" if not tested else "train"
        raise SplitError(f"held_out: no image is left to {part} on by {name}; hold out something else")
    validation = _validation(table, left, config.validation_fraction)
    chosen = set(validation)
    dropped = {
        f"unknown_{name}": held.count(None),
        "repeats_in_test": held.count(True) - len(tested),
        "shares_group_with_test": len(known_rows) - len(left),
    }
    train = [row for row in left if row not in chosen]
    return table.split(seed, train, validation, list(tested.values()), dropped)


def parts_split(dataset_or_columns: Dataset | Mapping[str, Sequence[Any]], seed: int) -> Split:
    """Return the split that a corpus came in, read from its column ``split``; the test set is called
    ``"all"``.

    Nothing is moved: a patient who stands in two parts is counted in ``groups_crossing``, which reports call
    a leak. Rows without a part are dropped as ``unknown_part``.

    Args:
        dataset_or_columns: the corpus (or a mapping of columns).
        seed: noted in the split; nothing is sampled.

    Raises:
        SplitError: a column is missing, or there is nothing to train or to test on.
    """
    table = SplitTable.read(dataset_or_columns)
    cells = _column(dataset_or_columns, "split", "official")
    parts = {
        part: [row for row, cell in enumerate(cells) if cell == part]
        for part in ("train", "validation", "test")
    }
    for part in ("train", "test"):
        if not parts[part]:
            raise SplitError(f"split.protocol: official parts have no image to {part} on; use fractions")
    unknown = len(cells) - sum(map(len, parts.values()))
    return table.split(seed, parts["train"], parts["validation"], parts["test"], {"unknown_part": unknown})


def _column(source: Dataset | Mapping[str, Sequence[Any]], name: str, protocol: str) -> list[str | None]:
    names = source.column_names if isinstance(source, Dataset) else list(source)
    if name not in names:
        raise SplitError(
            f"split.protocol: {protocol} needs the column {name!r}, which this corpus has not; name it by "
            f"--corpus.table.columns.{name}, or use fractions"
        )
    return list(source[name][:])


def _is_after(cell: str | None, date: str) -> bool | None:
    """Return whether a date is later than another, as far as the less exact of both says; None for no
    date."""
    if cell is None:
        return None
    if not _DATE.fullmatch(cell):
        raise SplitError(
            f"held_out.after: {cell!r} in the column date is no date; write dates as 2021, 2021-05 or "
            "2021-05-31"
        )
    if len(cell) < len(date) and date.startswith(cell):
        return None
    return cell[: len(date)] > date


def _validation(table: SplitTable, rows: Sequence[int], fraction: float) -> list[int]:
    """Return whole groups of each class, by the class of the first image of each, at least one if there is
    any."""
    members: dict[str, list[int]] = {}
    for row in rows:
        members.setdefault(table.group_id[row], []).append(row)
    chosen: list[int] = []
    for firsts in table.by_class(group[0] for group in members.values()).values():
        count = min(max(1, round(fraction * len(firsts))), len(firsts) - 1) if fraction else 0
        chosen += [row for first in firsts[: max(count, 0)] for row in members[table.group_id[first]]]
    return chosen
