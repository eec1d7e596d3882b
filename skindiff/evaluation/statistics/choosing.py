"""Which use of synthetic images is best: chosen on some groups of test images, confirmed once on the others.

The best of many is partly lucky on the images that it was chosen on, so its gain there is too large. On
groups that had no say in the choice it is not, and there the gain of the chosen one alone is computed.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from skindiff.classification.arm_names import FILTERED, parse_arm
from skindiff.classification.cells import Cell, CellKey
from skindiff.classification.contrasts import ChoiceConfig, PrimaryContrast, references_of
from skindiff.evaluation.statistics.estimates import Estimate
from skindiff.evaluation.statistics.paired_bootstrap import Resampling, Series
from skindiff.evaluation.statistics.rows import TriedRow


def tried_rows(
    cells: Sequence[Cell],
    config: ChoiceConfig,
    primary: PrimaryContrast,
    *,
    replicates: int = 2000,
) -> list[TriedRow]:
    """Return a row for every use of synthetic images: its gain on the groups that the choice is made on.

    Controls, which add something else, are none of them.

    Args:
        cells: predictions of every arm and seed.
        config: which groups choose.
        primary: says the metric, and where it names them the classifier and the test set; the first
            otherwise.
        replicates: of the bootstrap.

    Returns:
        Rows with ``gain`` over the arm without synthetic images, see
        :func:`~skindiff.classification.contrasts.references_of`, and the ends of its 95% interval, shares of
        one; ``chosen`` is true in that of the largest, which also has ``confirmed`` with an interval, of the
        other groups. None where no score could be computed.
    """
    asked = _population(cells, primary)
    if not asked:
        return []
    choosing = choosing_groups(asked, config)
    metric = primary.metric
    first = _series([_cut(cell, choosing) for cell in asked], metric, replicates, "choosing", config.seed)
    arms = list(dict.fromkeys(key.arm for key in first))
    pairs = {key: references_of(key.arm, arms)[:1] for key in first if parse_arm(key.arm).rows in FILTERED}
    bare = {key.arm: key for key in first if key.generator is None}
    gains = {
        key: (bare[names[0]], found)
        for key, names in pairs.items()
        if names and names[0] in bare
        and (found := first[key].difference(first[bare[names[0]]], metric)) is not None
    }  # fmt: skip
    if not gains:
        return []
    best = max(gains, key=lambda key: gains[key][1].value)
    other = gains[best][0]
    rest = [cell for cell in asked if cell.key.series in (best, other)]
    unseen = {group for cell in rest for group in cell.group_ids} - choosing
    second = _series([_cut(cell, unseen) for cell in rest], metric, replicates, "confirming", config.seed)
    confirmed = second[best].difference(second[other], metric)
    return [
        _row(first[key], reference.arm, metric, found, (second[best], confirmed) if key == best else None)
        for key, (reference, found) in gains.items()
    ]


def choosing_groups(cells: Sequence[Cell], config: ChoiceConfig) -> set[str]:
    """Return the groups of test images that the choice is made on: of each class's a share, by a hash.

    A class of two groups or more has one on either side. The share is of the groups that any split tests: a
    further split may move some to the other side, so a choice from some of a study's splits is made anew.

    Args:
        cells: of all splits.
        config: the share, and the seed of the hash.
    """
    classes: dict[str, int] = {}
    for cell in cells:
        for group, label in zip(cell.group_ids, cell.labels.tolist(), strict=True):
            classes[group] = min(label, classes.get(group, label))
    hashes = {name: hashlib.sha256(f"{config.seed} {name}".encode()).digest() for name in classes}
    found: set[str] = set()
    for label in sorted(set(classes.values())):
        own = sorted((name for name, of in classes.items() if of == label), key=hashes.__getitem__)
        found |= set(own[: min(max(round(config.share * len(own)), 1), max(len(own) - 1, 1))])
    return found


def _population(cells: Sequence[Cell], primary: PrimaryContrast) -> list[Cell]:
    """Return the cells of the classifier and the test set that are asked."""
    first = next((cell.key for cell in cells if primary.matches(cell.key)), None)
    return [cell for cell in cells if first is not None and cell.key.population == first.population]


def _cut(cell: Cell, groups: Collection[str]) -> Cell:
    """Return what a cell says of the images of some groups."""
    rows = np.array([row for row, group in enumerate(cell.group_ids) if group in groups], dtype=np.int64)
    return replace(
        cell,
        image_ids=tuple(cell.image_ids[row] for row in rows),
        group_ids=tuple(cell.group_ids[row] for row in rows),
        skin_types=tuple(cell.skin_types[row] for row in rows),
        labels=cell.labels[rows],
        probabilities=cell.probabilities[rows],
        attributes={},
    )


def _series(
    cells: Sequence[Cell], metric: str, replicates: int, stream: str, seed: int
) -> Mapping[CellKey, Series]:
    drawn = Resampling(cells, replicates, stream, seed)
    by_key: dict[CellKey, list[Cell]] = {}
    for cell in cells:
        by_key.setdefault(cell.key.series, []).append(cell)
    return {key: Series(own, drawn, [metric]) for key, own in by_key.items()}


def _row(
    series: Series,
    reference: str,
    metric: str,
    gain: Estimate,
    confirmed: tuple[Series, Estimate | None] | None,
) -> TriedRow:
    low, high = gain.interval()
    again, found = confirmed or (None, None)
    ends = (None, None) if found is None else found.interval()
    return {
        **series.key.series_columns,
        "metric": metric,
        "reference": reference,
        "gain": gain.value,
        "gain_ci_low": low,
        "gain_ci_high": high,
        "runs": gain.units,
        "images": series.images,
        "groups": series.groups,
        "chosen": again is not None,
        "confirmed": None if found is None else found.value,
        "confirmed_ci_low": ends[0],
        "confirmed_ci_high": ends[1],
        "confirming_images": None if again is None else again.images,
        "confirming_groups": None if again is None else again.groups,
    }
