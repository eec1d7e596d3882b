"""Studies with known answers: predictions drawn from a model, to see whether intervals cover what they say.

Nothing is trained. Every image has a logit for every class; the largest is its prediction::

    shared[image] + arm[arm, image] + run[arm, split, seed, image]       noise, per class
    + bias[arm, split]                                                   per class
    + (evidence + effect[arm] + split[arm, split] + train[arm, split, seed]) for the true class

``shared`` makes an image hard for everyone, ``arm`` hard for one arm in every split (so test patients
matter), ``run`` is particular to one image in one run, ``bias`` and ``split`` are the luck of a split's
training, and ``train`` that of a training seed. Images of a group have one class and share a part of all
their noise. Each split tests a random part of the same groups, so test sets overlap as in the real protocol.
All effects of chance have mean zero and the same spread in every arm: with ``effect`` zero the arms are equal
in distribution, and the true difference in any score is zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skindiff.classification.cells import Cell, CellKey
from skindiff.seeding import numpy_generator

FloatArray = NDArray[np.float64]

HAM_LESIONS = tuple(count / 7470 for count in (5514, 1423, 490, 34, 5, 4))
"""Shares of HAM10000's 7,470 lesions with 1, 2, ... 6 of its 10,015 images (Tschandl et al. 2018)."""

LONG_TAIL = (*(0.5 ** (size + 1) for size in range(11)), 0.5**11)
"""Half of the groups are single images, a quarter pairs, and so on up to twelve: a stress on clustering."""


@dataclass(frozen=True)
class Design:
    """A kind of study; standard deviations are on the scale of logits."""

    name: str
    groups: int = 133
    tested: float = 0.77
    classes: int = 4
    skew: float = 1.0
    """Share of a class relative to the one before it."""
    sizes: tuple[float, ...] = (1.0,)
    """Share of groups with 1, 2, ... images."""
    within: float = 0.7
    """Share of an image's noise variance that it has in common with its group."""
    splits: int = 5
    trainings: int = 1
    arms: int = 2
    evidence: float = 0.8
    shared: float = 1.0
    arm: float = 0.4
    run: float = 0.9
    bias: float = 0.3
    split: float = 0.15
    train: float = 0.0
    overlap: float = 0.0
    """Correlation of the split effects of one arm over splits: what training images in common would do."""
    effect: float = 0.0
    """Added evidence of the last arm."""


CLINICAL = Design("clinical, 5 splits")
"""As four conditions of Fitzpatrick17k at 64 px with a ResNet-18: 102 of 133 groups are tested."""

PHANTOM = Design(
    "phantom, 5 splits", groups=319, tested=0.825, classes=7, evidence=0.4, arm=0.7, run=0.4, split=0.1
)
"""As the phantom study with a ResNet-18: 263 of 319 groups are tested."""

LESIONS = replace(
    CLINICAL, name="lesions as in HAM10000", groups=250, classes=7, skew=0.8, sizes=HAM_LESIONS, evidence=1.5
)

LONG_TAIL_OF_GROUPS = replace(CLINICAL, name="long tail of groups", sizes=LONG_TAIL, within=0.9)

DESIGNS: tuple[Design, ...] = (
    CLINICAL,
    replace(CLINICAL, name="clinical, 3 splits", splits=3),
    replace(CLINICAL, name="clinical, 3 splits x 3 trainings", splits=3, trainings=3, train=0.15),
    replace(CLINICAL, name="clinical, 10 splits", splits=10),
    PHANTOM,
    replace(PHANTOM, name="phantom, 3 splits", splits=3),
    LESIONS,
    LONG_TAIL_OF_GROUPS,
    replace(CLINICAL, name="images dominate, 5 splits", arm=0.8, run=0.3, bias=0.0, split=0.0),
    replace(CLINICAL, name="image x run dominates, 3 splits", splits=3, arm=0.0, bias=0.0, split=0.0),
    replace(CLINICAL, name="image x run dominates, 5 splits", arm=0.0, bias=0.0, split=0.0),
    replace(CLINICAL, name="seeds dominate, 3 splits", splits=3, bias=0.6, split=0.6),
    replace(CLINICAL, name="seeds dominate, 5 splits", bias=0.6, split=0.6),
    replace(CLINICAL, name="one test set, 5 splits", tested=1.0),
    replace(CLINICAL, name="one split x 5 trainings", splits=1, trainings=5, bias=0.0, split=0.0, train=0.15),
    replace(CLINICAL, name="one run, no seed effect", splits=1, bias=0.0, split=0.0),
    replace(CLINICAL, name="seven arms, 5 splits", arms=7),
    replace(CLINICAL, name="two splits", splits=2),
    replace(CLINICAL, name="one run, seed effect", splits=1),
    replace(CLINICAL, name="splits correlated by 0.2", split=0.3, overlap=0.2),
)
"""The last two are what no interval from such data covers; they are listed to say by how much."""

POWERED: tuple[Design, ...] = (
    CLINICAL,
    replace(CLINICAL, name="clinical, 3 splits", splits=3),
    replace(CLINICAL, name="clinical, 10 splits", splits=10),
    PHANTOM,
    LESIONS,
    replace(
        CLINICAL, name="800 groups, 5 splits x 3 trainings", groups=800, trainings=3, bias=0.1, split=0.05
    ),
)
"""Designs in which a planted effect is looked for; the last is large enough to find five points."""

REPEATING: tuple[Design, ...] = (
    LESIONS,
    LONG_TAIL_OF_GROUPS,
    replace(LONG_TAIL_OF_GROUPS, name="long tail, images dominate", arm=0.8, run=0.3, bias=0.0, split=0.0),
    replace(LONG_TAIL_OF_GROUPS, name="long tail, one run", splits=1, bias=0.0, split=0.0),
)
"""Designs whose groups repeat: intervals by image are too narrow there, most where images matter most."""


@dataclass(frozen=True)
class _Images:
    """The images of a corpus: their group and class, and the design's noise for them."""

    design: Design
    group: NDArray[np.int64]
    label: NDArray[np.int64]

    def noise(self, rng: np.random.Generator, deviation: float) -> FloatArray:
        """Return noise for every image and class, ``(n, classes)``, correlated within groups."""
        classes, within = self.design.classes, self.design.within
        if deviation == 0:
            return np.zeros((len(self.group), classes))
        of_group = rng.normal(size=(self.design.groups, classes))[self.group]
        if len(self.design.sizes) == 1:
            return deviation * of_group
        own = rng.normal(size=(len(self.group), classes))
        return deviation * (np.sqrt(within) * of_group + np.sqrt(1 - within) * own)


def _draw_images(design: Design, rng: np.random.Generator) -> _Images:
    sizes = rng.choice(np.arange(1, len(design.sizes) + 1), p=design.sizes, size=design.groups)
    shares = design.skew ** np.arange(design.classes)
    ends = np.cumsum(shares / shares.sum())
    label = np.searchsorted(ends, (rng.permutation(design.groups) + 0.5) / design.groups)
    group = np.repeat(np.arange(design.groups), sizes)
    return _Images(design, group, label[group])


def simulate(design: Design, *key: str | int) -> list[Cell]:
    """Return the cells of one study; arm ``real`` is the reference, the others are ``arm-1``, ``arm-2``, ...

    Args:
        design: the kind of study.
        key: names the random stream.
    """
    rng = numpy_generator("simulated study", design.name, *key)
    images = _draw_images(design, rng)
    shared = images.noise(rng, design.shared)
    of_arm = [shared + images.noise(rng, design.arm) for _ in range(design.arms)]
    everywhere = np.sqrt(design.overlap) * rng.normal(size=design.arms)
    names = _names(images.group)
    cells = []
    for split in range(design.splits):
        drawn = rng.permutation(design.groups)[: round(design.tested * design.groups)]
        tested = np.flatnonzero(np.isin(images.group, drawn))
        for arm in range(design.arms):
            luck = everywhere[arm] + np.sqrt(1 - design.overlap) * rng.normal()
            evidence = design.evidence + design.split * luck
            evidence += design.effect if arm and arm == design.arms - 1 else 0.0
            logits = of_arm[arm] + design.bias * rng.normal(size=design.classes)
            for training in range(design.trainings):
                found = logits + images.noise(rng, design.run)
                found[np.arange(len(found)), images.label] += evidence + design.train * rng.normal()
                cells.append(_cell(images, names, tested, found[tested], (arm, split, training)))
    return cells


def simulate_elsewhere(design: Design, *key: str | int) -> tuple[list[Cell], list[Cell]]:
    """Return the cells of one study on its own test images, and those of the same trainings on other ones.

    Both are of one distribution, so no score truly differs between the places. The other images are as many
    groups as the study has, and the same for all splits.

    Args:
        design: the kind of study.
        key: names the random stream.
    """
    cells = simulate(replace(design, groups=2 * design.groups, tested=1.0), *key)
    rng = numpy_generator("simulated elsewhere", design.name, *key)
    order = rng.permutation(sorted(set(cells[0].group_ids)))
    own, other = order[: design.groups], set(order[design.groups :].tolist())
    tested = {
        split: set(rng.permutation(own)[: round(design.tested * design.groups)].tolist())
        for split in range(design.splits)
    }
    return (
        [_of_groups(cell, tested[cell.key.split_seed or 0]) for cell in cells],
        [_of_groups(cell, other) for cell in cells],
    )


def _of_groups(cell: Cell, groups: set[str]) -> Cell:
    """Return a cell on the images of some groups alone."""
    rows = [row for row, group in enumerate(cell.group_ids) if group in groups]
    return replace(
        cell,
        image_ids=tuple(cell.image_ids[row] for row in rows),
        group_ids=tuple(cell.group_ids[row] for row in rows),
        skin_types=(None,) * len(rows),
        labels=cell.labels[rows],
        probabilities=cell.probabilities[rows],
    )


def _names(group: NDArray[np.int64]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    images = tuple(f"image-{row:04d}" for row in range(len(group)))
    return images, tuple(f"group-{row:04d}" for row in group)


def _cell(
    images: _Images,
    names: tuple[Sequence[str], Sequence[str]],
    rows: NDArray[np.intp],
    logits: FloatArray,
    place: tuple[int, int, int],
) -> Cell:
    chances = np.exp(logits - logits.max(1, keepdims=True))
    arm, split, training = place
    return Cell(
        key=CellKey(
            *("simulated", "all", None, None, f"arm-{arm}" if arm else "real", None, "none", "grouped"),
            split_seed=split,
            train_seed=training,
        ),
        class_names=tuple(f"class {code}" for code in range(images.design.classes)),
        image_ids=tuple(names[0][row] for row in rows),
        group_ids=tuple(names[1][row] for row in rows),
        skin_types=(None,) * len(rows),
        labels=images.label[rows],
        probabilities=chances / chances.sum(1, keepdims=True),
        optimiser_steps=0,
    )
