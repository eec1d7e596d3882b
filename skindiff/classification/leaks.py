"""What makes a comparison unfair: training on what is tested, and arms that differ in more than images."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from datasets import Dataset, Image

from skindiff.classification.cells import Cell, is_probe
from skindiff.classification.contrasts import lost_references
from skindiff.classification.rows import SplitRow
from skindiff.corpora.registry import patients_unknown
from skindiff.corpora.rows import CorpusCounts
from skindiff.corpora.splits import Split
from skindiff.errors import SplitError


def refuse_leaks(corpus: Dataset, split: Split, synthetic: Dataset) -> None:
    """Refuse synthetic rows made from tested or validated images, or with another label than their source.

    Where a split is known to have groups on both sides, as published ones do, all its training images may be
    sources: the report says that of the split.

    Args:
        corpus: the whole table that ``split`` indexes.
        split: of that table.
        synthetic: rows with ``image_id``, ``label`` and, where they were made from images, ``source_id``;
            sources outside of the corpus are not checked.

    Raises:
        SplitError: a source's group is among the tested or validated ones, or a row has another label than
            its source.
    """
    if "source_id" not in synthetic.column_names:
        return
    groups, labels = corpus["group_id"][:], corpus["label"][:]
    place = {image_id: row for row, image_id in enumerate(corpus["image_id"][:])}
    parts = {"validated": split.validation, "tested": [row for rows in split.test.values() for row in rows]}
    held_out = {groups[row]: part for part, rows in parts.items() for row in rows}
    names, crossing = corpus.features["label"].names, set(split.train) if split.groups_crossing else set()
    columns = (synthetic["image_id"][:], synthetic["source_id"][:], synthetic["label"][:])
    for image_id, source, label in zip(*columns, strict=True):
        row = place.get(source)
        if row is None:
            continue
        if groups[row] in held_out and row not in crossing:
            raise SplitError(
                f"synthetic image {image_id} is made from {source}, whose group {groups[row]} is "
                f"{held_out[groups[row]]} in split {split.seed}: use its training rows as sources"
            )
        if labels[row] != label:
            raise SplitError(
                f"synthetic image {image_id} is labelled {synthetic.features['label'].names[label]}, its "
                f"source {source} {names[labels[row]]}: build both tables from one list of classes"
            )


def copies_crossing(corpus: Dataset, split: Split) -> int:
    """Return how many held-out images are byte for byte a training image.

    Args:
        corpus: images as the run's cache keeps them: the same pixels are the same bytes.
        split: of that table.
    """
    stored = corpus.select_columns(["image"]).cast_column("image", Image(decode=False))
    known = {_bytes(row) for row in stored.select(split.train)}
    held_out = [*split.validation, *(row for rows in split.test.values() for row in rows)]
    return sum(_bytes(row) in known for row in stored.select(held_out))


def _bytes(row: Mapping[str, Any]) -> Any:
    return row["image"]["bytes"] or row["image"]["path"]


def comparison_flags(cells: Sequence[Cell], splits: Sequence[SplitRow], corpus: CorpusCounts) -> list[str]:
    """Return sentences on what makes a difference between arms unreliable.

    Args:
        cells: all of a study.
        splits: rows of the report's ``splits``, with ``seed``, ``groups_crossing`` and, where it was counted,
            ``copies_crossing``.
        corpus: the report's ``corpus``.
    """
    flags = patients_unknown(corpus)
    crossings: tuple[tuple[Literal["groups_crossing", "copies_crossing"], str], ...] = (
        ("groups_crossing", "groups (patients, lesions, duplicates) are in both training and test"),
        ("copies_crossing", "held-out images are byte for byte a training image, under another group"),
    )
    for name, what in crossings:
        found = {str(row["seed"]): row[name] for row in splits if row.get(name)}
        if found:
            counts = ", ".join(f"{count} in split {seed}" for seed, count in found.items())
            flags.append(
                f"Leak: {what} ({counts}). Scores are too high, and arms that repeat images gain most."
            )
    return [*flags, *_unequal_steps(cells), *_mixed_factors(cells), *_collapsed(cells)]


_COLLAPSED, _MORE = 0.5, 0.25
"""A classifier gives one class to at least this share of all images, and to so many more than are of it."""


def _mixed_factors(cells: Sequence[Cell]) -> list[str]:
    """Name arms whose difference with `real` is that of several factors together."""
    lost = lost_references(list(dict.fromkeys(cell.key.arm for cell in cells)))
    return [
        f"Two factors at once: {arm} is compared with real, as {own} is no arm of this study: its "
        f"gain may not be the synthetic images'. Add {own} to the arms."
        for arm, own in lost.items()
    ]


def _collapsed(cells: Sequence[Cell]) -> list[str]:
    """Name classifiers that call most images by one class, more than are of it."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for cell in cells:
        classes = len(cell.class_names)
        said = np.bincount(cell.probabilities.argmax(1), minlength=classes) / len(cell.labels)
        there = np.bincount(cell.labels, minlength=classes) / len(cell.labels)
        code = int(said.argmax())
        fell = said[code] >= _COLLAPSED and said[code] - there[code] >= _MORE
        place = (cell.key.architecture, cell.key.arm, cell.class_names[code] if fell else "")
        found.setdefault(place, []).append(1)
    return [
        f"Collapsed: {len(runs)} classifier{'s call' if len(runs) > 1 else ' calls'} most images {name}, of "
        f"{arm} ({architecture}). Train {'' if is_probe(architecture) else 'longer, or '}on more images."
        for (architecture, arm, name), runs in found.items()
        if name
    ]


def _unequal_steps(cells: Sequence[Cell]) -> list[str]:
    flags = []
    populations: dict[tuple[str, ...], dict[str, set[int]]] = {}
    for cell in cells:
        steps = populations.setdefault((cell.key.scenario, cell.key.architecture, cell.key.preset), {})
        steps.setdefault(cell.key.arm, set()).add(cell.optimiser_steps)
    for (scenario, architecture, _), by_arm in populations.items():
        if len({step for steps in by_arm.values() for step in steps}) > 1:
            counts = ", ".join(
                f"{arm} {'/'.join(str(step) for step in sorted(steps))}" for arm, steps in by_arm.items()
            )
            flags.append(
                f"Unequal training: the arms of {architecture} ({scenario}) differ in optimiser steps "
                f"({counts}), so a difference may be due to longer training. Set classifier.loop.steps "
                "instead of epochs to compare at equal length."
            )
    return flags
