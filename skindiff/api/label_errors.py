"""Labels that may be wrong, from a notebook."""

from pathlib import Path

import pandas as pd

from skindiff.api.calls import Home
from skindiff.classification.suspects import find_suspects
from skindiff.corpora.registry import Corpus
from skindiff.launch import undisturbed
from skindiff.measures.backbones import LITE0


def find_label_errors(
    corpus: Corpus, cache_dir: str | Path | None = None, backbone: str = LITE0, seed: int = 0
) -> pd.DataFrame:
    """Look for labels that may be wrong, and for images that are off topic, by the features of a network.

    A probe that has seen neither an image nor any of its group, and the nearest images of other groups, judge
    every label (after confident learning, Northcutt et al. 2021). At most one label in twenty is doubted. Of
    5% of the labels of HAM10000 that were swapped 46% are doubted, and 59 to 63% of the doubted ones are
    swapped (``docs/audit.md``): look at an image before you change its label.

    Example:
        >>> suspects = skindiff.find_label_errors(corpus)
        >>> suspects[suspects["doubt"] > 0].sort_values("doubt")[["image_id", "label", "suggested"]]
        >>> suspects[suspects["off_topic"] > 1]

    Args:
        corpus: of :func:`skindiff.load_corpus`.
        cache_dir: folder that keeps the features, so that a second call computes none; none are kept when
            left out.
        backbone: network whose features are looked at: ``lite0`` or a name of timm.
        seed: of the folds.

    Returns:
        A row for each image in its order: ``image_id``, ``label``, ``label_probability`` (0 to 1),
        ``suggested`` (another class, or the label itself where that is not doubted),
        ``suggested_probability``, ``doubt`` (1 for the most doubtful label, then 2 and on; 0 for none) and
        ``off_topic`` (above 1 for an image that is).

    Raises:
        ConfigError: there is no such backbone.
        TrainingError: there are fewer than five groups or two classes.
    """
    home = Home(cache_dir)
    with undisturbed():
        return find_suspects(corpus.dataset, home.path, backbone, seed)
