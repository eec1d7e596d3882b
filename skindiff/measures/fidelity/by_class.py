"""Fidelity of synthetic images by class, against real images that it never saw."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from datasets import Dataset

from skindiff.corpora.image_table import ImageTable
from skindiff.files import write_atomically
from skindiff.measures.copying.near_copies import fingerprint
from skindiff.measures.features import load_feature_network
from skindiff.measures.fidelity.rows import FidelityContent, FidelityRow
from skindiff.measures.fidelity.scores import FidelityConfig, score_fidelity
from skindiff.seeding import numpy_generator
from skindiff.study import Study

SCORES_FILE = "fidelity.json"


def class_fidelity(
    study: Study, config: FidelityConfig, images: Dataset, *, name: str, held_out: Dataset
) -> FidelityRow:
    """Score images against held-out real ones, as many of each class on both sides; a stage of the run.

    Args:
        study: the scores are a stage of it, the main process computes, and its seed also decides the choice
            among images of a class.
        config: features and scores.
        images: synthetic ones, or real training images, which is what a perfect copy of them would
            score.
        name: of the images, for the report.
        held_out: real images that the generator never saw.

    Returns:
        ``images`` (their name), ``seed`` and everything of
        :class:`~skindiff.measures.fidelity.scores.Fidelity`.

    Raises:
        ConfigError: the network cannot be loaded, or there are too few images of the same classes.
    """
    accelerator, seed, attribute = study.accelerator, study.seed, study.corpus.attribute
    is_synthetic = "generator" in images.column_names
    stage = study.stage(
        f"fidelity-{name.replace('_', '-').replace(' ', '-')}",
        says=f"fidelity of {name}",
        config=asdict(config),
        held_out=held_out["image_id"][:],
        # Ids of synthetic images do not change with how they are drawn.
        images=fingerprint(images) if is_synthetic else images["image_id"][:],
        generators=sorted(set(images["generator"][:])) if is_synthetic else [],
        seed=seed,
        **({"attribute": attribute.column} if "attribute" in config.by else {}),
    )
    if not stage.done:
        if accelerator.is_main_process:
            pairs = same_mix(held_out["label"][:], images["label"][:], seed)
            real, own = (
                ImageTable.from_dataset(dataset.select(rows), attribute.column)
                for dataset, rows in zip((held_out, images), pairs, strict=True)
            )
            network = load_feature_network(config.features, accelerator.device)
            found = score_fidelity(network, real, own, config, seed=seed, attribute=attribute)
            write_atomically(stage.folder / SCORES_FILE, json.dumps(found.to_dict(), sort_keys=True) + "\n")
        stage.finish()
    scores: FidelityContent = json.loads((stage.folder / SCORES_FILE).read_text(encoding="utf-8"))
    return {"images": name, "seed": seed, **scores}


def same_mix(first: Sequence[int], second: Sequence[int], seed: int) -> tuple[list[int], list[int]]:
    """Return rows of two tables with as many of each class: all of the smaller side, some of the larger.

    Args:
        first: class codes.
        second: class codes.
        seed: decides which rows of the larger side.
    """
    sides = [np.asarray(labels) for labels in (first, second)]
    chosen: tuple[list[int], list[int]] = ([], [])
    for code in np.unique(np.concatenate(sides)).tolist():
        rows = [np.flatnonzero(labels == code) for labels in sides]
        count = min(len(own) for own in rows)
        for side, own in enumerate(rows):
            order = numpy_generator("same mix", seed, side, code).permutation(len(own))
            chosen[side].extend(sorted(own[order[:count]].tolist()))
    return chosen
