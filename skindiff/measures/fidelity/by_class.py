"""Fidelity of what a generator drew by class, against real images that it never saw."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from accelerate import Accelerator
from datasets import Dataset

from skindiff.corpora.image_table import ImageTable
from skindiff.measures.features import load_feature_network
from skindiff.measures.fidelity.scores import FidelityConfig, score_fidelity
from skindiff.runs import RunFolder, write_atomically
from skindiff.seeding import numpy_generator

SCORES_FILE = "fidelity.json"


def class_fidelity(
    run: RunFolder,
    accelerator: Accelerator,
    config: FidelityConfig,
    held_out: Dataset,
    images: Dataset,
    *,
    name: str,
    seed: int,
    corpus_fingerprint: str,
) -> dict[str, Any]:
    """Score images against held-out real ones, as many of each class on both sides; a stage of the run.

    Args:
        run: the scores are kept there.
        accelerator: its device; the main process computes.
        config: features and scores.
        held_out: real images that the generator never saw.
        images: what it drew, or real training images, which is what a perfect copy of them would score.
        name: of the images, for the report.
        seed: of the split, and of the choice among images of a class.
        corpus_fingerprint: fingerprint of the corpus.

    Returns:
        ``images`` (their name), ``seed`` and everything of
        :class:`~skindiff.measures.fidelity.scores.Fidelity`.

    Raises:
        ConfigError: the network cannot be loaded, or there are too few images of the same classes.
    """
    stage = run.stage(
        f"fidelity-{name.replace('_', '-').replace(' ', '-')}",
        config=asdict(config),
        data=corpus_fingerprint,
        held_out=list(held_out["image_id"]),
        images=list(images["image_id"]),
        generators=sorted(set(images["generator"])) if "generator" in images.column_names else [],
        seed=seed,
    )
    if not stage.done:
        if accelerator.is_main_process:
            pairs = same_mix(held_out["label"], images["label"], seed)
            tables = [
                ImageTable.from_dataset(dataset.select(rows))
                for dataset, rows in zip((held_out, images), pairs, strict=True)
            ]
            network = load_feature_network(config.features, accelerator.device)
            found = score_fidelity(network, tables[0], tables[1], config, seed=seed)
            write_atomically(stage.folder / SCORES_FILE, json.dumps(found.to_dict(), sort_keys=True) + "\n")
        stage.finish()
    scores: dict[str, Any] = json.loads((stage.folder / SCORES_FILE).read_text(encoding="utf-8"))
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
