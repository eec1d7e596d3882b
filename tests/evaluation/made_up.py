"""Made-up cells of predictions with known differences between arms."""

from collections.abc import Sequence

import numpy as np

from skindiff.classification.cells import Cell, CellKey

NAMES = ("alpha", "beta", "gamma", "delta")
SPLIT_SEEDS, TRAIN_SEEDS = (0, 1, 2, 3, 4), (0,)


def make_cells(
    skill: dict[str, float],
    *,
    images: int = 120,
    copies: int = 1,
    split_seeds: Sequence[int] = SPLIT_SEEDS,
    train_seeds: Sequence[int] = TRAIN_SEEDS,
    seed_spread: float = 0.0,
    own_spread: float = 0.3,
    seed: int = 0,
) -> list[Cell]:
    """Return cells whose accuracy is driven by ``skill[arm]`` (added evidence for the true class).

    An image's difficulty is shared by all arms and splits; each cell adds its own noise and a seed effect.
    ``copies`` images share each group, difficulty and noise.
    """
    rng = np.random.default_rng(seed)
    groups = images // copies
    labels = np.repeat(np.arange(groups) % len(NAMES), copies)
    difficulty = np.repeat(rng.normal(0, 1, groups), copies)
    shared = np.repeat(rng.normal(0, 1, (groups, len(NAMES))), copies, axis=0)
    cells = []
    for split in split_seeds:
        for train in train_seeds:
            for arm, extra in skill.items():
                noise = np.repeat(rng.normal(0, own_spread, (groups, len(NAMES))), copies, axis=0)
                logits = shared + noise
                true_class = extra + difficulty + rng.normal(0, seed_spread)
                logits[np.arange(len(labels)), labels] += true_class
                chances = np.exp(logits)
                chances /= chances.sum(1, keepdims=True)
                synthetic = "syn" in arm
                cells.append(
                    Cell(
                        key=CellKey(
                            scenario="iii",
                            test_group="dark",
                            generator="made-up" if synthetic else None,
                            strategy="ti+lora" if synthetic else None,
                            arm=arm,
                            ratio=5.0 if synthetic else None,
                            architecture="resnet18",
                            preset="grouped",
                            split_seed=split,
                            train_seed=train,
                        ),
                        class_names=NAMES,
                        image_ids=tuple(f"image-{row:04d}" for row in range(len(labels))),
                        group_ids=tuple(f"group-{row // copies:04d}" for row in range(len(labels))),
                        skin_types=tuple("V" if row % 3 else "VI" for row in range(len(labels))),
                        labels=labels,
                        probabilities=chances,
                        optimiser_steps=100,
                    )
                )
    return cells
