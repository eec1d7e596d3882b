"""Splits by class: a few shots of each (Ravani et al., section III-B), or fractions of each (Bingol et al.).

Both have the presets of :mod:`skindiff.corpora.splits`: ``grouped`` never cuts a group (a lesion) and tests
each at most once, ``published`` samples single images as published. The test set is called ``"all"``. What is
sampled is a function of the seed and the image ids alone, not of the order of the rows.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from datasets import Dataset

from skindiff.corpora.split_table import SplitTable
from skindiff.corpora.splits import Split
from skindiff.errors import SplitError
from skindiff.wrong_settings import refuse

Preset = Literal["grouped", "published"]
GeneratorRows = Literal["few-shot", "pool", "everything"]


@dataclass
class FewShotConfig:
    """A few training images per class, and fractions of the rest to select and to test on.

    The paper's 15% of the 9,665 images that 50 shots leave is 1,450 test images, though it writes of several
    thousand; a test_fraction of 0.85 would hold all that validation leaves.
    """

    shots: int = 50
    """Training images per class; the paper has 50."""
    validation_fraction: float = 0.15
    """Share of the images of each class beyond the shots that is kept for validation, 0 to below 1."""
    test_fraction: float = 0.15
    """Share of the images of each class beyond the shots that is tested, above 0; what neither share takes
    stays unused."""
    preset: Preset = "grouped"
    """grouped: one image per group_id (lesion) in all parts; published: single images, as in the paper."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError if a setting cannot work; ``path`` (``"split."``) goes before its name."""
        if self.shots < 1:
            refuse(f"{path}shots: {self.shots} is below 1")
        _validate_fractions(path, self.preset, self.validation_fraction, self.test_fraction)
        if self.validation_fraction + self.test_fraction > 1 + 1e-9:
            refuse(
                f"{path}test_fraction: {self.test_fraction} and validation_fraction "
                f"{self.validation_fraction} are over 1 together; lower one of them"
            )


@dataclass
class FractionSplitConfig:
    """Every class cut by the same fractions; training has what is left."""

    validation_fraction: float = 0.1
    """Share of the groups of each class that is kept for validation, 0 to below 1."""
    test_fraction: float = 0.2
    """Share of the groups of each class that is tested, above 0 and below 1."""
    set_aside_fraction: float = 0.0
    """Share of the groups of each class that is in no part, for a generator that the classifier's images must
    not have taught (see unused_rows), 0 to below 1."""
    preset: Preset = "grouped"
    """grouped: whole groups, one tested image of each; published: every image is a group of its own."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError if a setting cannot work; ``path`` (``"split."``) goes before its name."""
        _validate_fractions(path, self.preset, self.validation_fraction, self.test_fraction)
        if not 0 <= self.set_aside_fraction < 1:
            refuse(f"{path}set_aside_fraction: {self.set_aside_fraction} is outside 0 to below 1; 0 is none")
        if (taken := self.validation_fraction + self.test_fraction + self.set_aside_fraction) >= 1:
            refuse(
                f"{path}test_fraction: the fractions for validation, test and set aside add up to {taken:g}, "
                "which leaves nothing to train on; lower one of them"
            )


def _validate_fractions(path: str, preset: str, validation: float, test: float) -> None:
    if preset not in ("grouped", "published"):
        refuse(f'{path}preset: {preset!r} is unknown; use "grouped" or "published"')
    if not 0 <= validation < 1:
        refuse(f"{path}validation_fraction: {validation} is outside 0 to below 1; 0 keeps none")
    if not 0 < test <= 1:
        refuse(f"{path}test_fraction: {test} is outside above 0 to 1; something must be tested")


def make_few_shot_split(
    dataset_or_columns: Dataset | Mapping[str, Sequence[Any]], config: FewShotConfig, seed: int
) -> Split:
    """Sample ``shots`` training rows of each class, and validation and test rows from the rest of it.

    Preset ``grouped`` first samples one image of every group, and all parts from these: the shots show as
    many lesions as there are shots, and no lesion is tested twice. Validation and test have the sizes that
    preset ``published`` gives them; where a class has too few groups for both, they share what is left in
    proportion.

    ``dropped`` counts ``unused`` rows (neither share took them) and, in preset ``grouped``,
    ``shares_group_with_test`` and ``shares_group_with_validation``, which no ``"pool"`` of a generator holds.

    Args:
        dataset_or_columns: a corpus (or a mapping of columns) with ``label``, ``image_id`` and ``group_id``.
        config: the shots and the fractions.
        seed: of the split.

    Raises:
        ConfigError: a setting cannot work.
        SplitError: a column is missing, or a class has too few images or groups.
    """
    config.validate()
    table = SplitTable.read(dataset_or_columns)
    everything = range(len(table.label))
    order = table.shuffled(everything, seed, "few shot")
    candidates = table.by_class(_one_per_group(table, order) if config.preset == "grouped" else order)
    images = table.by_class(everything)
    share = config.validation_fraction / (config.validation_fraction + config.test_fraction)
    needed = 2 if config.validation_fraction else 1
    train: list[int] = []
    validation: list[int] = []
    test: list[int] = []
    for label, rows in candidates.items():
        free = len(rows) - config.shots
        if free < needed:
            raise SplitError(
                f"shots: class {table.class_names[label]!r} has {len(rows)} {_units(config.preset)}, but "
                f"{config.shots} to train on and {needed} to select and test on are needed; lower shots or "
                "leave the class out"
            )
        wanted = (config.validation_fraction + config.test_fraction) * (len(images[label]) - config.shots)
        both = min(max(round(wanted), needed), free)
        selected = min(max(round(share * both), needed - 1), both - 1)
        test += rows[: both - selected]
        validation += rows[both - selected : both]
        train += rows[both : both + config.shots]
    others = [table.group_id[row] for row in set(everything) - {*train, *validation, *test}]
    dropped: dict[str, int] = {}
    if config.preset == "grouped":
        tested, selecting = table.groups(test), table.groups(validation)
        dropped["shares_group_with_test"] = sum(group in tested for group in others)
        dropped["shares_group_with_validation"] = sum(group in selecting for group in others)
    dropped["unused"] = len(others) - sum(dropped.values())
    return table.split(seed, train, validation, test, dropped)


def make_fraction_split(
    dataset_or_columns: Dataset | Mapping[str, Sequence[Any]], config: FractionSplitConfig, seed: int
) -> Split:
    """Cut every class by the same fractions of its groups; each part has at least one group of each class.

    A group counts for the class of one of its images, drawn at random; that image is the one tested if the
    group is tested. ``dropped`` counts ``set_aside`` and ``repeats_in_test`` (other images of tested groups).

    Args:
        dataset_or_columns: a corpus (or a mapping of columns) with ``label``, ``image_id`` and ``group_id``.
        config: the fractions.
        seed: of the split.

    Raises:
        ConfigError: a setting cannot work.
        SplitError: a column is missing, or a class has too few images or groups for all parts.
    """
    config.validate()
    table = SplitTable.read(dataset_or_columns)
    order = table.shuffled(range(len(table.label)), seed, "fractions")
    members: defaultdict[str | int, list[int]] = defaultdict(list)
    for row in order:
        members[row if config.preset == "published" else table.group_id[row]].append(row)
    fractions = (config.test_fraction, config.validation_fraction, config.set_aside_fraction)
    test: list[int] = []
    other: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label, rows in table.by_class(group[0] for group in members.values()).items():
        sizes = [max(1, round(fraction * len(rows))) if fraction else 0 for fraction in fractions]
        if len(rows) <= sum(sizes):
            raise SplitError(
                f"test_fraction: class {table.class_names[label]!r} has {len(rows)} {_units(config.preset)}, "
                "too few to train, select and test on; lower the fractions or leave the class out"
            )
        test += rows[: sizes[0]]
        cuts = (sizes[0], sizes[0] + sizes[1], sum(sizes), len(rows))
        for part, start, end in zip(other, cuts, cuts[1:], strict=False):
            for row in rows[start:end]:
                part += members[row if config.preset == "published" else table.group_id[row]]
    validation, aside, train = other
    repeats = len(order) - sum(map(len, (test, validation, aside, train)))
    return table.split(seed, train, validation, test, {"set_aside": len(aside), "repeats_in_test": repeats})


def unused_rows(dataset_or_columns: Dataset | Mapping[str, Sequence[Any]], split: Split) -> list[int]:
    """Return the rows (ascending) in no part of a split that share no group with its validation or test rows.

    Of a few-shot split these are the images beyond the shots; of a fraction split those set aside, which in
    preset ``grouped`` share no group with the training rows either.
    """
    table = SplitTable.read(dataset_or_columns)
    held_out = [*split.validation, *(row for rows in split.test.values() for row in rows)]
    parts, groups = {*split.train, *held_out}, table.groups(held_out)
    return [row for row, group in enumerate(table.group_id) if row not in parts and group not in groups]


def generator_rows(
    dataset_or_columns: Dataset | Mapping[str, Sequence[Any]],
    split: Split,
    source: GeneratorRows = "few-shot",
) -> list[int]:
    """Return the rows (ascending) that a generator learns from.

    Args:
        dataset_or_columns: the corpus that was split.
        split: of the classifier that the generator's images will train.
        source: ``"few-shot"``: the training rows alone; ``"pool"``: also all rows that share no group with
            validation or test; ``"everything"``: every row, tested ones too: the leak of the paper's CVAE,
            which "is pre-trained on the full training data" (section IV-B).
    """
    if source == "everything":
        return list(range(len(SplitTable.read(dataset_or_columns).label)))
    return sorted([*split.train, *(unused_rows(dataset_or_columns, split) if source == "pool" else ())])


def _units(preset: str) -> str:
    return "images" if preset == "published" else "groups of images"


def _one_per_group(table: SplitTable, order: Sequence[int]) -> list[int]:
    chosen: dict[str, int] = {}
    for row in order:
        chosen.setdefault(table.group_id[row], row)
    return list(chosen.values())
