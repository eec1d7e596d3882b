"""The three scenarios of Wang et al. (2024): the training and the test images.

Of every condition, ``flexible_per_condition`` images of the minority (dark) and as many of the majority
(light) skin types form the *flexible subset*. The scenarios differ in what becomes of it:

========  ===================================  ==========================================
scenario  training                             test
========  ===================================  ==========================================
i         non-flexible dark and light          flexible dark (``"dark"``), flexible light
ii        flexible dark, non-flexible light    non-flexible dark
iii       non-flexible light                   non-flexible dark
========  ===================================  ==========================================

What is sampled is a function of the seed and the image ids alone, not of the order of the rows, and one
seed samples the same flexible subset in every scenario: (ii) and (iii) are tested on the same images.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from datasets import ClassLabel, Dataset

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.errors import SplitError
from skindiff.seeding import derive_seed
from skindiff.wrong_settings import refuse

COLUMNS = ("label", "image_id", "group_id")
"""What a split reads of a table, beside the column of the attribute."""


@dataclass
class SplitConfig:
    """How a corpus is cut into training, validation and test rows."""

    scenario: Literal["i", "ii", "iii"] = "iii"
    """The paper's scenario: (i) some, (ii) a few, (iii) no images of the minority of corpus.attribute (by
    default of dark skin) are trained on."""
    preset: Literal["grouped", "published"] = "grouped"
    """grouped: no group_id stands on both sides of a cut; published: image-level, leaks and all."""
    flexible_per_condition: int = 8
    """Images per condition and side (majority, minority) in the flexible subset."""
    validation_fraction: float = 0.1
    """Share of the training rows that is kept for validation, 0 to 0.5 (preset published has none)."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError if a setting cannot work; ``path`` (``"split."``) goes before its name."""
        if self.scenario not in ("i", "ii", "iii"):
            refuse(f'{path}scenario: {self.scenario!r} is unknown; use "i", "ii" or "iii"')
        if self.preset not in ("grouped", "published"):
            refuse(f'{path}preset: {self.preset!r} is unknown; use "grouped" or "published"')
        if self.flexible_per_condition < 1:
            refuse(f"{path}flexible_per_condition: {self.flexible_per_condition} is below 1")
        if not 0 <= self.validation_fraction <= 0.5:
            refuse(
                f"{path}validation_fraction: {self.validation_fraction} is outside 0 to 0.5; the paper has 0"
            )


@dataclass(frozen=True)
class Split:
    """Row numbers (ascending) of the table that was split, and an account of every other row.

    ``train``, ``validation``, all of ``test`` and the counts in ``dropped`` add up to the table. The
    reasons in ``dropped``:

    - ``other_skin_type`` (or ``other_`` and the column of the attribute): neither majority nor minority, or
      not recorded;
    - ``set_aside``: flexible images that the scenario does not use;
    - ``shares_group_with_test``: would have been trained on, were its group not tested;
    - ``repeats_in_test``: would have been tested, but its group already has a test row;
    - ``repeats_in_flexible``: a further minority image of a group in the flexible subset;
    - ``twin_of_a_training_image``: would have been tested or selected on, but is the same picture as one
      that is trained on.
    """

    seed: int
    train: list[int]
    validation: list[int]
    test: dict[str, list[int]]
    """``"dark"``: minority rows; in scenario (i) also ``"light"``: majority rows. Of other attributes than
    the skin type they are called ``"minority"`` and ``"majority"``."""
    dropped: dict[str, int]
    groups_crossing: int
    """Number of group ids that stand in more than one of train, validation and test."""
    protocol: str = "split"
    """What the rows were cut by, as reports call it."""

    @property
    def tested(self) -> list[int]:
        """The tested rows of all groups together, each once."""
        return sorted({row for rows in self.test.values() for row in rows})

    def sizes(self) -> dict[str, int]:
        """Return the number of rows as ``train``, ``validation``, ``test_dark`` (and ``test_light``), by
        the names in ``test``."""
        sizes = {"train": len(self.train), "validation": len(self.validation)}
        return sizes | {f"test_{name}": len(rows) for name, rows in self.test.items()}


@dataclass(frozen=True)
class _Table:
    """The columns that a split uses; ``side`` is a group of the attribute or None."""

    label: list[Any]
    side: list[str | None]
    image_id: list[str]
    group_id: list[str]
    conditions: dict[Any, str]
    attribute: Attribute

    def rows(self, side: str) -> list[int]:
        return [row for row, value in enumerate(self.side) if value == side]

    def groups(self, rows: Iterable[int]) -> set[str]:
        return {self.group_id[row] for row in rows}

    def shuffled(self, rows: Iterable[int], *key: str | int) -> list[int]:
        """Return the rows in a random order that depends on the key and their image ids alone."""
        return sorted(rows, key=lambda row: derive_seed("split", *key, self.image_id[row]))


def make_split(
    dataset_or_columns: Dataset | Mapping[str, Sequence[Any]],
    config: SplitConfig,
    seed: int,
    attribute: Attribute = SKIN_TYPE,
) -> Split:
    """Cut a corpus into training, validation and test rows; no image is decoded.

    Preset ``published`` samples single images. Preset ``grouped`` splits by groups (``group_id``): of every
    group one minority image, drawn at random, can be flexible or tested, so that a group has at most one test
    row; then every row that shares a group with the test set is dropped from training and counted, whatever
    its side; last, whole groups are moved from training to validation, stratified by condition and side as
    far as whole groups allow.

    Args:
        dataset_or_columns: a corpus (or a mapping of columns) with ``label``, ``image_id``, ``group_id`` and
            the column of the attribute (``skin_type``: "I" to "VI" or None); further columns are ignored.
        config: the scenario and its numbers.
        seed: of the split; the paper has five.
        attribute: of the corpus, whose majority and minority are the two sides.

    Raises:
        ConfigError: a setting cannot work.
        SplitError: a column is missing, or a condition has too few images for the scenario.
    """
    config.validate()
    table = _read_table(dataset_or_columns, attribute)
    if config.preset == "published":
        train, test, dropped = _paper(table, config, seed)
        validation: list[int] = []
    else:
        train, test, dropped = _clean(table, config, seed)
        train, validation = _carve_validation(table, train, config.validation_fraction, seed)
    dropped = {f"other_{attribute.column}": table.side.count(None)} | dropped
    _refuse_absent_conditions(table, config, {"training": train} | {f"{k} test": v for k, v in test.items()})
    crossing = Counter(
        group
        for rows in (train, validation, [row for part in test.values() for row in part])
        for group in table.groups(rows)
    )
    return Split(
        seed=seed,
        train=sorted(train),
        validation=sorted(validation),
        test={name: sorted(rows) for name, rows in test.items()},
        dropped={reason: count for reason, count in dropped.items() if count},
        groups_crossing=sum(count > 1 for count in crossing.values()),
    )


def _read_table(source: Dataset | Mapping[str, Sequence[Any]], attribute: Attribute) -> _Table:
    names = source.column_names if isinstance(source, Dataset) else list(source)
    needed = (*COLUMNS, attribute.column)
    if absent := [name for name in needed if name not in names]:
        raise SplitError(
            f"column {absent[0]!r} is missing (there are {', '.join(names)}); add it to the corpus"
        )
    columns = {name: list(source[name][:]) for name in needed}
    if None in columns["group_id"]:
        row = columns["group_id"].index(None)
        raise SplitError(
            f"group_id: image {columns['image_id'][row]!r} has none; use its image_id if it is alone"
        )
    label_feature = source.features["label"] if isinstance(source, Dataset) else None
    if isinstance(label_feature, ClassLabel):
        conditions = dict(enumerate(label_feature.names))
    else:
        conditions = {label: str(label) for label in sorted(set(columns["label"]))}
    return _Table(
        label=columns["label"],
        side=[attribute.group_of(value) for value in columns[attribute.column]],
        image_id=columns["image_id"],
        group_id=columns["group_id"],
        conditions=conditions,
        attribute=attribute,
    )


def _paper(
    table: _Table, config: SplitConfig, seed: int
) -> tuple[list[int], dict[str, list[int]], dict[str, int]]:
    """Return training rows, test rows by name and dropped counts of the published, image-level split."""
    scarce_name, common_name = table.attribute.minority_group, table.attribute.majority_group
    scarce, common = table.rows(scarce_name), table.rows(common_name)
    scarce_flexible = _draw_flexible(table, scarce, scarce_name, config, seed)
    common_flexible = _draw_flexible(table, common, common_name, config, seed)
    other_scarce = _without(scarce, scarce_flexible)
    other_common = _without(common, common_flexible)
    if config.scenario == "i":
        return other_scarce + other_common, {scarce_name: scarce_flexible, common_name: common_flexible}, {}
    if config.scenario == "ii":
        return (
            scarce_flexible + other_common,
            {scarce_name: other_scarce},
            {"set_aside": len(common_flexible)},
        )
    return (
        other_common,
        {scarce_name: other_scarce},
        {"set_aside": len(scarce_flexible) + len(common_flexible)},
    )


def _clean(
    table: _Table, config: SplitConfig, seed: int
) -> tuple[list[int], dict[str, list[int]], dict[str, int]]:
    """Return training rows (validation not yet carved), test rows by name and dropped counts."""
    scarce_name, common_name = table.attribute.minority_group, table.attribute.majority_group
    scarce, common = table.rows(scarce_name), table.rows(common_name)
    scarce_single = _one_per_group(table, scarce, seed)
    scarce_flexible = _draw_flexible(table, scarce_single, scarce_name, config, seed)
    flexible_groups = table.groups(scarce_flexible)
    common_single = _one_per_group(
        table, [row for row in common if table.group_id[row] not in flexible_groups], seed
    )
    common_flexible = _draw_flexible(table, common_single, common_name, config, seed)
    dropped: Counter[str] = Counter()
    if config.scenario == "i":
        test = {scarce_name: scarce_flexible, common_name: common_flexible}
        candidates = _without(scarce, scarce_flexible) + _without(common, common_flexible)
    else:
        test = {scarce_name: _without(scarce_single, scarce_flexible)}
        candidates = _without(common, common_flexible)
        dropped["set_aside"] = len(common_flexible)
        for row in _without(scarce, scarce_single):
            flexible = table.group_id[row] in flexible_groups
            dropped["repeats_in_flexible" if flexible else "repeats_in_test"] += 1
        if config.scenario == "ii":
            candidates = scarce_flexible + candidates
        else:
            dropped["set_aside"] += len(scarce_flexible)
    tested = table.groups(row for rows in test.values() for row in rows)
    train = [row for row in candidates if table.group_id[row] not in tested]
    dropped["shares_group_with_test"] = len(candidates) - len(train)
    return train, test, dict(dropped)


def _without(rows: Iterable[int], taken: Collection[int]) -> list[int]:
    gone = set(taken)
    return [row for row in rows if row not in gone]


def _one_per_group(table: _Table, rows: Iterable[int], seed: int) -> list[int]:
    """Return one row of each group; its key differs from that of the flexible subset, or groups of many
    images would be flexible more often than others."""
    chosen: dict[str, int] = {}
    for row in table.shuffled(rows, seed, "representative"):
        chosen.setdefault(table.group_id[row], row)
    return list(chosen.values())


def _draw_flexible(table: _Table, rows: list[int], side: str, config: SplitConfig, seed: int) -> list[int]:
    by_condition: defaultdict[Any, list[int]] = defaultdict(list)
    for row in table.shuffled(rows, seed, "flexible"):
        by_condition[table.label[row]].append(row)
    wanted = config.flexible_per_condition
    for label, condition in table.conditions.items():
        if (found := len(by_condition[label])) < wanted:
            what = "images" if config.preset == "published" else "groups of images"
            raise SplitError(
                f"flexible_per_condition: condition {condition!r} has {found} {what} of "
                f"{table.attribute.said(side)}, but {wanted} are needed; lower flexible_per_condition or "
                "leave the condition out"
            )
    return [row for label in table.conditions for row in by_condition[label][:wanted]]


def _carve_validation(
    table: _Table, train: list[int], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Move about ``fraction`` of each condition and side to validation, by whole groups."""
    strata = Counter((table.label[row], table.side[row]) for row in train)
    quota = {stratum: round(fraction * count) for stratum, count in strata.items()}
    if fraction > 0:
        for label in table.conditions:
            # A condition too small to round to one image is still validated, if it has one to spare.
            (largest, count) = max(
                ((s, n) for s, n in strata.items() if s[0] == label), key=lambda s: s[1], default=(None, 0)
            )
            if (
                largest is not None
                and count > 1
                and not any(quota.get((label, side)) for side in set(table.side))
            ):
                quota[largest] = 1
    members: defaultdict[str, list[int]] = defaultdict(list)
    for row in table.shuffled(train, seed, "validation"):
        members[table.group_id[row]].append(row)
    validation: list[int] = []
    for rows in members.values():
        needed = Counter((table.label[row], table.side[row]) for row in rows)
        if all(quota[stratum] >= count for stratum, count in needed.items()):
            validation += rows
            for stratum, count in needed.items():
                quota[stratum] -= count
    return _without(train, validation), validation


def _refuse_absent_conditions(table: _Table, config: SplitConfig, parts: Mapping[str, list[int]]) -> None:
    for part, rows in parts.items():
        present = {table.label[row] for row in rows}
        for label, condition in table.conditions.items():
            if label not in present:
                raise SplitError(
                    f"flexible_per_condition: condition {condition!r} has no image left for the {part} set "
                    f"of scenario ({config.scenario}) after {config.flexible_per_condition} went to the "
                    "flexible subset; lower flexible_per_condition or leave the condition out"
                )
