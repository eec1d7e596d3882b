"""A closer look at the images of a corpus: features of a frozen network, doubted labels, off-topic images."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from numpy.typing import NDArray

from skindiff.classification.feature_store import FeatureStore
from skindiff.classification.label_errors import doubt_labels, off_topic
from skindiff.corpora.image_table import ImageTable
from skindiff.measures.backbones import LITE0, load_backbone
from skindiff.progress import progress, stage

logger = logging.getLogger(__name__)

IMAGE_SIZE = 128
"""Height and width in pixels that the network sees, as probes have it."""

_BLOCK = 512
"""Images whose pixels are in memory at a time."""

LABEL, OFF_TOPIC = "label", "off_topic"
"""What an image is flagged with."""


def find_suspects(images: Dataset, folder: Path, backbone: str = LITE0, seed: int = 0) -> pd.DataFrame:
    """Look for labels that may be wrong and for images that are off topic.

    Args:
        images: a corpus, all images of one size (see :func:`~skindiff.corpora.cache.resize_to_cache`).
        folder: that keeps the features, so that a second call computes none.
        backbone: network whose features are looked at.
        seed: of the folds.

    Returns:
        A row for each image in its order: ``image_id``, ``label``, ``label_probability``, ``suggested``
        (another class, or the label itself where that is not doubted), ``suggested_probability``, ``doubt``
        (1 for the most doubtful label, 0 for none) and ``off_topic`` (above 1 for an image that is).

    Raises:
        ConfigError: there is no such backbone.
        TrainingError: there are too few groups or classes to judge labels.
    """
    store = FeatureStore(folder, load_backbone(backbone, image_size=IMAGE_SIZE), quiet=True)
    parts: list[NDArray[np.float32]] = []
    with (
        stage("audit: features of the network"),
        progress(total=len(images), desc="features", unit="image") as bar,
    ):
        for start in range(0, len(images), _BLOCK):
            part = images.select(range(start, min(start + _BLOCK, len(images))))
            parts.append(store(ImageTable.from_dataset(part))[:, 0])
            bar.update(len(part))
    features = np.concatenate(parts)
    names, labels = images.features["label"].names, np.asarray(images["label"][:], dtype=np.int64)
    groups = images["group_id"][:]
    doubts = doubt_labels(features, labels, groups, len(names), seed)
    doubt, rows = np.zeros(len(labels), dtype=np.int64), np.arange(len(labels))
    doubt[doubts.order] = rows[: len(doubts.order)] + 1
    return pd.DataFrame(
        {
            "image_id": images["image_id"][:],
            "label": [names[code] for code in labels],
            "label_probability": doubts.probabilities[rows, labels],
            "suggested": [names[code] for code in doubts.suggested],
            "suggested_probability": doubts.probabilities[rows, doubts.suggested],
            "doubt": doubt,
            "off_topic": off_topic(features, groups),
        }
    )


def suspect_flags(suspects: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return the flags of images, each with its reason, by image id, the most doubtful label first.

    Args:
        suspects: of :func:`find_suspects`.
    """
    found: dict[str, dict[str, str]] = {}
    for row in suspects.sort_values("doubt").to_dict("records"):
        flags = {}
        if row["doubt"]:
            flags[LABEL] = (
                f"labelled {row['label']} ({row['label_probability']:.0%}), looks like {row['suggested']} "
                f"({row['suggested_probability']:.0%})"
            )
        if row["off_topic"] > 1:
            flags[OFF_TOPIC] = f"unlike the other images ({row['off_topic']:.2f}, from 1 on)"
        if flags:
            found[str(row["image_id"])] = flags
    return found
