"""Probes of a study: fitted on rows of it and asked about others, by features that the whole run shares."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from skindiff.classification.blending import Blending
from skindiff.classification.cells import backbone_name
from skindiff.classification.feature_store import FeatureStore
from skindiff.classification.probe import FloatArray, Probe, ProbeConfig, ProbeRows, fit_probe
from skindiff.classification.synthetic_use import ALIKE, SyntheticUse, downweighted
from skindiff.corpora.image_table import ImageTable
from skindiff.measures.backbones import LITE0, load_backbone
from skindiff.study import Study
from skindiff.training.balancing import balanced_groups, drawing_rates

FEATURES = "features"
"""Folder in the cache of the corpus."""
BLENDS = 4
"""Blended images of each row in +mixup and +cutmix arms, each with a partner of its own."""
LITE0_SIZE = 128
"""Pixels that lite0 sees unless told otherwise."""


def feature_store(study: Study, architecture: str, config: ProbeConfig) -> FeatureStore:
    """Return the features of a probe's backbone; loaded once, whatever study of a run asks.

    Raises:
        ConfigError: the backbone's weights are not to be had, or it cannot take the image size.
    """
    place = study.corpus.config and study.corpus.config.cache_dir
    folder = (Path(place) if place else study.run.path / "cache") / FEATURES

    name = backbone_name(architecture)
    size = config.image_size or (LITE0_SIZE if name == LITE0 else None)

    def load() -> FeatureStore:
        backbone = load_backbone(name, device=study.accelerator.device, image_size=size)
        return FeatureStore(folder, backbone, quiet=not study.accelerator.is_main_process)

    store: FeatureStore = study.run.once((FEATURES, str(folder), name, size), load)
    return store


def probe_inputs(study: Study, architecture: str, config: ProbeConfig) -> dict[str, Any]:
    """Return everything that decides a probe but its rows and its seed, to key stages by."""
    digest = feature_store(study, architecture, config).backbone.digest
    return {"architecture": architecture, "backbone": digest, **asdict(config)}


def train_probe(
    study: Study,
    architecture: str,
    config: ProbeConfig,
    rows: Dataset,
    seed: int,
    *,
    real: int,
    use: SyntheticUse = ALIKE,
) -> Probe:
    """Fit a probe on rows, which weigh as much together as the real training rows of the study.

    Args:
        study: whose run keeps the features.
        architecture: the probe's name.
        config: see :class:`ProbeConfig`.
        rows: images with labels and groups.
        seed: of the folds.
        real: how many of the rows, the first ones, judge strengths; where there are none, all do.
        use: what is done with synthetic rows: they take over a share of the weight of real ones, or have a
            weight of their own, or together that of the real ones beside them.

    Raises:
        ConfigError: see :func:`feature_store`.
        TrainingError: the rows are of one class.
        ConfigError: no weight gives synthetic rows their share of the loss.
    """
    table = ImageTable.from_dataset(rows)
    views = 0 if config.augment == "none" else config.views
    count = len(table)
    weights = np.ones(count) if use.mixing is None else use.mixing.weights(count)
    if use.share is not None:
        drawn, groups = (drawing_rates(table, config.balance, seed), balanced_groups(table, config.balance))
        weights = downweighted(drawn, groups, use.real, use.share)
    judges = np.where(np.arange(count) < (real or count), 1.0, 0.0)
    store = feature_store(study, architecture, config)
    exposure, groups = float(len(study.train)), rows["group_id"][:]
    part = (np.arange(count) >= use.real).astype(np.int64) if use.equal_exposure else None
    features = store(table, config.augment, views)
    problem = ProbeRows(features, table.labels, groups, weights, judges, exposure, part=part)
    if use.blending is not None:
        problem = _blended(store, table, problem, use.blending, seed)
    return fit_probe(config, problem, len(table.class_names), seed)


def _blended(
    store: FeatureStore, table: ImageTable, plain: ProbeRows, blending: Blending, seed: int
) -> ProbeRows:
    """Return rows of blended images, each with both of its labels, and the plain ones as judges alone."""
    rows = np.tile(np.arange(len(table)), BLENDS)
    drawn = blending.draw(rows, np.arange(len(rows)), "probe", seed)
    pixels = torch.from_numpy(table.pixels).permute(0, 3, 1, 2).float()
    mixed, shares = blending.blend(pixels[rows], pixels[drawn.rows], drawn)
    values = tuple(table.values[row] for row in rows)
    seen = ImageTable(
        mixed.round().byte().permute(0, 2, 3, 1).numpy(), table.labels[rows], values, table.class_names
    )
    features, share = store(seen), shares.double().numpy() / BLENDS
    first, second = ([plain.groups[row] for row in part] for part in (rows.tolist(), drawn.rows.tolist()))
    return ProbeRows(
        np.concatenate([plain.features, features, features]),
        np.concatenate([plain.labels, table.labels[rows], table.labels[drawn.rows]]),
        [*plain.groups, *first, *first],
        np.concatenate([np.zeros(len(table)), share, 1 / BLENDS - share]),
        np.concatenate([plain.judges, np.zeros(2 * len(rows))]),
        plain.exposure,
        [*plain.groups, *second, *second],
    )


def predict_probe(
    study: Study, architecture: str, config: ProbeConfig, probe: Probe, images: Dataset
) -> FloatArray:
    """Return class probabilities ``(n, classes)`` of images by a probe of :func:`train_probe`."""
    features = feature_store(study, architecture, config)(ImageTable.from_dataset(images))
    return probe.predict(features[:, 0])
