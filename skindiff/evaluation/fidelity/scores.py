"""How near generated images come to real ones: FID, KID, precision, recall, density and coverage.

The first four are torch-fidelity's. Density and coverage (Naeem et al. 2020, arXiv 2002.09797) stand in no
library that is kept up; here they are counted on scikit-learn's distances. None of them says whether an image
helps a classifier.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances

from skindiff.errors import ConfigError
from skindiff.evaluation.fidelity.feature_network import FeatureConfig, FeatureNetwork
from skindiff.seeding import derive_seed, numpy_generator
from skindiff.training.classifier_data import ImageTable

logger = logging.getLogger(__name__)

FEW_IMAGES = 2048
"""With fewer images than Inception has features FID's covariances are singular, and its bias is large."""
_INTERVAL = (2.5, 97.5)


@dataclass
class FidelityConfig:
    """How generated images are compared with real ones."""

    features: FeatureConfig = field(default_factory=FeatureConfig)
    """The network in whose features they are compared."""
    kid_subset_size: int = 1000
    """Images of each KID subset; fewer where a set is smaller."""
    kid_subsets: int = 100
    """Subsets that KID is the mean of; one where a subset is all there is."""
    neighbours: int = 5
    """Nearest neighbours that bound a manifold in precision, recall, density and coverage."""
    replicates: int = 1000
    """Bootstrap replicates of KID's interval."""
    per_class: bool = False
    """Score every class for itself too, where both sides have enough images of it."""

    def validate(self, path: str = "") -> None:
        """Raise a :class:`ConfigError` that names the first setting that cannot work."""
        self.features.validate(f"{path}features.")
        for name, least in (
            ("kid_subset_size", 2),
            ("kid_subsets", 1),
            ("neighbours", 1),
            ("replicates", 100),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{path}{name} is {getattr(self, name)}: set it to at least {least}")


@dataclass(frozen=True)
class Fidelity:
    """Scores of generated against real images.

    Attributes:
        features: name of the feature network.
        real: number of real images.
        generated: number of generated images.
        kid_subset_size: images in each KID subset.
        scores: ``fid``, ``kid`` (with ``kid_low`` and ``kid_high``, a 95% bootstrap interval over images),
            ``precision``, ``recall``, ``density``, ``coverage``.
        per_class: the same by class name; classes with too few images are absent.
        warning: what to keep in mind, or None.
    """

    features: str
    real: int
    generated: int
    kid_subset_size: int
    scores: dict[str, float]
    per_class: dict[str, dict[str, float]]
    warning: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for a report."""
        return asdict(self)


def score_fidelity(
    network: FeatureNetwork, real: ImageTable, generated: ImageTable, config: FidelityConfig, *, seed: int = 0
) -> Fidelity:
    """Compare generated with real images.

    Args:
        network: from :func:`~skindiff.evaluation.fidelity.feature_network.load_feature_network`.
        real: images that the generator has never seen, at best.
        generated: of the same classes in the same order; at another size they are resampled by the network.
        config: see :class:`FidelityConfig`.
        seed: of the subsets and the bootstrap.

    Raises:
        ConfigError: a setting cannot work, torch-fidelity is missing, the classes differ, or there are too
            few images.
    """
    config.validate()
    if real.class_names != generated.class_names:
        raise ConfigError(f"classes {real.class_names} cannot be compared with {generated.class_names}")
    least = config.neighbours + 2
    if min(len(real), len(generated)) < least:
        raise ConfigError(
            f"{len(real)} real and {len(generated)} generated images are too few: give {least} of each, or "
            "fewer neighbours"
        )
    features = [network(table.pixels) for table in (real, generated)]
    per_class = {}
    for code, name in enumerate(real.class_names if config.per_class else ()):
        own = [
            found[torch.from_numpy(t.labels == code)]
            for found, t in zip(features, (real, generated), strict=True)
        ]
        if min(len(found) for found in own) >= least:
            per_class[name] = feature_scores(own[0], own[1], config, seed=seed)
    fewest = min(len(real), len(generated))
    warning = None
    if fewest < FEW_IMAGES:
        warning = (
            f"{fewest} images on one side: below {FEW_IMAGES} FID is biased upwards and compares only with "
            "others at the same numbers; KID is unbiased, see its interval"
        )
        logger.warning("fidelity: %s", warning)
    return Fidelity(
        network.name,
        len(real),
        len(generated),
        min(config.kid_subset_size, fewest),
        feature_scores(features[0], features[1], config, seed=seed),
        per_class,
        warning,
    )


def feature_scores(
    real: torch.Tensor, generated: torch.Tensor, config: FidelityConfig, *, seed: int = 0
) -> dict[str, float]:
    """Return the scores of (n, features) and (m, features) float32 features; see :class:`Fidelity`."""
    try:
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
        from torch_fidelity.metric_kid import kid_features_to_metric
        from torch_fidelity.metric_prc import prc_features_to_metric
    except ImportError as error:
        raise ConfigError('fidelity needs torch-fidelity: pip install "skindiff[fidelity]"') from error
    statistics = [fid_features_to_statistics(features.double()) for features in (generated, real)]
    fid = fid_statistics_to_metric(*statistics, verbose=False)
    size = min(config.kid_subset_size, len(real), len(generated))
    kid = kid_features_to_metric(
        generated.double(),
        real.double(),
        kid_subsets=1 if size == len(real) == len(generated) else config.kid_subsets,
        kid_subset_size=size,
        rng_seed=derive_seed("kid", seed) % 2**32,
        verbose=False,
    )
    prc = prc_features_to_metric(generated, real, prc_neighborhood=config.neighbours, verbose=False)
    low, high = np.percentile(
        kid_replicates(real, [generated], config.replicates, seed)[0], _INTERVAL
    ).tolist()
    density, coverage = density_and_coverage(real.numpy(), generated.numpy(), config.neighbours)
    return {
        "fid": float(fid["frechet_inception_distance"]),
        "kid": float(kid["kernel_inception_distance_mean"]),
        "kid_low": low,
        "kid_high": high,
        "precision": float(prc["precision"]),
        "recall": float(prc["recall"]),
        "density": density,
        "coverage": coverage,
    }


def kid_difference(
    real: torch.Tensor, first: torch.Tensor, second: torch.Tensor, *, replicates: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Return KID(first) - KID(second) against the same real images, and its 95% bootstrap interval.

    Replicates draw the real images once for both, so what they have in common cancels. Where ``first`` and
    ``second`` are as many, row by row from the same noise and class, they are drawn together too.

    Args:
        real: (n, features).
        first: (m, features).
        second: (k, features).
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """
    point = kid_replicates(real, [first, second], 0, seed)[:, 0]
    drawn = kid_replicates(real, [first, second], replicates, seed)
    low, high = np.percentile(drawn[0] - drawn[1], _INTERVAL).tolist()
    return float(point[0] - point[1]), low, high


def kid_replicates(
    real: torch.Tensor, generated: Sequence[torch.Tensor], replicates: int, seed: int
) -> NDArray[np.float64]:
    """Return the KID of each generated set in bootstrap replicates over images, (sets, replicates).

    Images are weighted by how often a replicate draws them; pairs of an image with itself stay out, so copies
    do not pull the estimate up. With 0 replicates there is one column: the plain unbiased estimate over all
    images, which torch-fidelity's is too where a subset is everything.
    """
    from torch_fidelity.metric_kid import kernel_poly

    features = [real.double().numpy(), *(one.double().numpy() for one in generated)]
    stream = numpy_generator("kid bootstrap", seed)
    columns = max(replicates, 1)
    drawn: dict[int, NDArray[np.float64]] = {}
    for count in sorted({len(one) for one in features[1:]}):
        drawn[count] = _multiplicities(stream, count, columns, replicates > 0)
    weights = [_multiplicities(stream, len(real), columns, replicates > 0)]
    weights += [drawn[len(one)] for one in features[1:]]
    within = [
        _mean_pair(kernel_poly(one, one), weight) for one, weight in zip(features, weights, strict=True)
    ]
    found = []
    for one, weight, own in zip(features[1:], weights[1:], within[1:], strict=True):
        across = np.einsum("nr,nr->r", weights[0], kernel_poly(features[0], one) @ weight)
        found.append(own + within[0] - 2 * across / (weights[0].sum(0) * weight.sum(0)))
    return np.stack(found)


def density_and_coverage(
    real: NDArray[np.floating], generated: NDArray[np.floating], neighbours: int
) -> tuple[float, float]:
    """Return density and coverage of generated features around real ones (Naeem et al. 2020, equations 4, 5).

    Density is how many real images' balls, each of the radius of its ``neighbours``-th nearest real image, a
    generated image lies in, over ``neighbours``; coverage is the share of those balls with a generated image.
    """
    radii = np.partition(pairwise_distances(real), neighbours, axis=1)[:, neighbours]
    inside = pairwise_distances(real, generated) < radii[:, None]
    return float(inside.sum(axis=0).mean() / neighbours), float(inside.any(axis=1).mean())


def _multiplicities(
    stream: np.random.Generator, count: int, columns: int, resample: bool
) -> NDArray[np.float64]:
    """Return how often each image is drawn, (count, columns)."""
    if not resample:
        return np.ones((count, columns))
    return stream.multinomial(count, np.full(count, 1 / count), size=columns).T.astype(np.float64)


def _mean_pair(kernel: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted mean of a kernel over pairs of different images, by column of ``weights``."""
    off = kernel - np.diag(np.diag(kernel))
    pairs = weights.sum(0) ** 2 - (weights**2).sum(0)
    total: NDArray[np.float64] = np.einsum("nr,nr->r", weights, off @ weights) / pairs
    return total
