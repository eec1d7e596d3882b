"""The score of each filter for each synthetic image: higher is kept first.

Whether any of them helps is the paper's open question (Wang et al. 2024, discussion), so each is an arm that
is compared with ``random``: as many images of each class, no filter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from accelerate import Accelerator
from datasets import Dataset
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError
from skindiff.measures.copying.memorisation import near_copies
from skindiff.measures.features import FeatureConfig, load_feature_network
from skindiff.measures.skin.transfer import measure_ita
from skindiff.seeding import numpy_generator
from skindiff.wrong_settings import refuse

FloatArray = NDArray[np.float64]

ITA_RANGES = {
    "I": (55, 90),
    "II": (41, 55),
    "III": (28, 41),
    "IV": (10, 28),
    "V": (-30, 10),
    "VI": (-90, -30),
}
"""Degrees, from the lightest: the classes of Del Bino & Bernerd 2013, one for each Fitzpatrick type."""


@dataclass
class FilterConfig:
    """How many synthetic images a filter keeps, and what typicality is measured in."""

    share: float = 0.5
    """Share of the synthetic images of each class that is kept, above 0 and below 1."""
    features: FeatureConfig = field(default_factory=FeatureConfig)
    """The network in whose features typicality is measured."""
    neighbours: int = 5
    """Real training images of the class whose mean distance says how typical an image is."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        self.features.validate(f"{path}features.")
        if not 0 < self.share < 1:
            refuse(f"{path}share: {self.share} is outside above 0 to below 1; 0.5 keeps half")
        if self.neighbours < 1:
            refuse(f"{path}neighbours: {self.neighbours} is below 1; 5 is usual")


def random_scores(synthetic: Dataset, seed: int) -> FloatArray:
    """Return a random order: what a filter that knows nothing keeps."""
    return numpy_generator("filter", "random", seed).random(len(synthetic))


def agreement_scores(probabilities: FloatArray, labels: Sequence[int]) -> FloatArray:
    """Return the probability of each image's own class, from a classifier of real training rows alone."""
    return np.asarray(probabilities[np.arange(len(labels)), np.asarray(labels)])


def typicality_scores(
    synthetic: Dataset, real: Dataset, config: FilterConfig, accelerator: Accelerator
) -> FloatArray:
    """Return minus the mean feature distance to the nearest real training images of the same class."""
    network = load_feature_network(config.features, accelerator.device)
    tables = [ImageTable.from_dataset(dataset) for dataset in (synthetic, real)]
    drawn, known = (network(table.pixels).numpy() for table in tables)
    scores = np.empty(len(drawn))
    for code in np.unique(tables[0].labels):
        own, others = tables[0].labels == code, known[tables[1].labels == code]
        neighbours = NearestNeighbors(n_neighbors=min(config.neighbours, len(others))).fit(others)
        scores[own] = -neighbours.kneighbors(drawn[own])[0].mean(axis=1)
    return scores


def novelty_scores(synthetic: Dataset, real: Dataset) -> FloatArray:
    """Return minus the similarity to the nearest real training image, an image's own source among them."""
    return -np.asarray([row.similarity for row in near_copies(synthetic, real).rows])


def tone_scores(synthetic: Dataset) -> FloatArray:
    """Return minus the degrees by which the measured ITA misses the range of the skin type asked for.

    Images of which no skin can be measured come last.

    Raises:
        ConfigError: rows have no skin type.
    """
    types: list[Any] = synthetic["skin_type"][:]
    if None in types:
        raise ConfigError(
            "arms: the filter 'tone' needs rows with a skin type; drop its arms for this corpus"
        )
    scores = []
    for skin_type, angle in zip(types, measure_ita(synthetic), strict=True):
        low, high = ITA_RANGES[skin_type]
        missed = np.inf if angle is None else max(low - angle, angle - high, 0.0)
        scores.append(-missed)
    return np.asarray(scores)


def kept_rows(scores: FloatArray, labels: Sequence[int], share: float) -> list[int]:
    """Return the rows of the highest scores, the same share of every class, in their own order.

    At least one row of every class is kept; equal scores go by row.
    """
    codes = np.asarray(labels)
    kept: list[int] = []
    for code in np.unique(codes):
        own = np.flatnonzero(codes == code)
        best = own[np.argsort(-scores[own], kind="stable")]
        kept.extend(best[: max(1, round(share * len(own)))].tolist())
    return sorted(kept)
