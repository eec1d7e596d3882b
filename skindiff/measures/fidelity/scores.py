"""How near generated images come to real ones: FID, KID, precision, recall, density and coverage.

FID, KID, precision and recall are torch-fidelity's; density, coverage and all intervals over images are of
:mod:`skindiff.measures.fidelity.manifold`. None of them says whether an image helps a classifier.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError
from skindiff.measures.features import FeatureConfig, FeatureNetwork
from skindiff.measures.fidelity.manifold import manifold_intervals, manifold_shares
from skindiff.measures.fidelity.rows import FidelityContent, FidelityGroup, Grouping
from skindiff.seeding import derive_seed, numpy_generator
from skindiff.wrong_settings import refuse

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
    by: list[Grouping] = field(default_factory=list)
    """Score each class, and each value of corpus.attribute (such as a skin type), for itself too, where both
    sides have enough images of it."""
    fid_replicates: int = 0
    """Bootstrap replicates of FID's interval, each of which costs as much as the score; 0 gives none."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        self.features.validate(f"{path}features.")
        for name, least in (
            ("kid_subset_size", 2),
            ("kid_subsets", 1),
            ("neighbours", 1),
            ("replicates", 100),
            ("fid_replicates", 0),
        ):
            if getattr(self, name) < least:
                refuse(f"{path}{name} is {getattr(self, name)}: set it to at least {least}")
        if len(set(self.by)) < len(self.by):
            refuse(f"{path}by: {self.by} names a grouping twice")


@dataclass(frozen=True)
class Fidelity:
    """Scores of generated against real images.

    Attributes:
        features: name of the feature network.
        real: number of real images.
        generated: number of generated images.
        kid_subset_size: images in each KID subset.
        scores: ``fid``, ``kid``, ``precision``, ``recall``, ``density``, ``coverage``, each with ``_low`` and
            ``_high``, a 95% bootstrap interval over images; FID's only where it was asked for.
        groups: the same for each class or value of what is scarce: ``by``, ``name``, ``real``, ``generated``,
            ``scores``; those with too few images on a side are absent.
        warning: what to keep in mind, or None.
    """

    features: str
    real: int
    generated: int
    kid_subset_size: int
    scores: dict[str, float]
    groups: list[FidelityGroup]
    warning: str | None

    def to_dict(self) -> FidelityContent:
        """Return plain types for a report."""
        return cast(FidelityContent, asdict(self))


def score_fidelity(
    network: FeatureNetwork,
    real: ImageTable,
    generated: ImageTable,
    config: FidelityConfig,
    *,
    seed: int = 0,
    attribute: Attribute = SKIN_TYPE,
) -> Fidelity:
    """Compare generated with real images.

    Args:
        network: from :func:`~skindiff.measures.features.load_feature_network`.
        real: images that the generator has never seen, at best.
        generated: of the same classes in the same order; at another size they are resampled by the network.
        config: see :class:`FidelityConfig`.
        seed: of the subsets and the bootstrap.
        attribute: what the values of both tables are of.

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
    features = (network(real.pixels), network(generated.pixels))
    groups = [
        row
        for by in config.by
        for row in _group_scores(_groups(by, real, generated, attribute), features, config, least, seed)
    ]
    fewest = min(len(real), len(generated))
    warnings = []
    if fewest < FEW_IMAGES:
        warnings.append(
            f"{fewest} images on one side: below {FEW_IMAGES} FID is biased upwards and compares only with "
            "others at the same numbers; KID is unbiased, see its interval"
        )
    for side, table in (("real", real), ("synthetic", generated)) if "attribute" in config.by else ():
        if not any(table.values):
            warnings.append(f"the {attribute.name} of the {side} images is not known: no score by it")
    for warning in warnings:
        logger.warning("fidelity: %s", warning)
    return Fidelity(
        network.name,
        len(real),
        len(generated),
        min(config.kid_subset_size, fewest),
        feature_scores(features[0], features[1], config, seed=seed),
        groups,
        "; ".join(warnings) or None,
    )


class _Groups(NamedTuple):
    """What images are told apart by, the names of the groups in order, and that of every image by side."""

    by: str
    names: Sequence[str]
    columns: Sequence[Sequence[str | None]]


def _groups(by: Grouping, real: ImageTable, generated: ImageTable, attribute: Attribute) -> _Groups:
    if by == "class":
        own = [[table.class_names[code] for code in table.labels] for table in (real, generated)]
        return _Groups(by, real.class_names, own)
    seen = {value for value in (*real.values, *generated.values) if value is not None}
    names = list(dict.fromkeys([*attribute.known, *sorted(seen)]))
    return _Groups(attribute.column, names, [real.values, generated.values])


def _group_scores(
    groups: _Groups,
    features: tuple[torch.Tensor, torch.Tensor],
    config: FidelityConfig,
    least: int,
    seed: int,
) -> list[FidelityGroup]:
    """Return a row for each group of which both sides have ``least`` images."""
    by, names, columns = groups
    rows: list[FidelityGroup] = []
    for name in names:
        own = [
            found[torch.tensor([value == name for value in column], dtype=torch.bool)]
            for found, column in zip(features, columns, strict=True)
        ]
        if min(len(found) for found in own) >= least:
            scores = feature_scores(own[0], own[1], config, seed=seed)
            rows.append(
                {"by": by, "name": name, "real": len(own[0]), "generated": len(own[1]), "scores": scores}
            )
    return rows


def feature_scores(
    real: torch.Tensor, generated: torch.Tensor, config: FidelityConfig, *, seed: int = 0
) -> dict[str, float]:
    """Return the scores of (n, features) and (m, features) float32 features; see :class:`Fidelity`."""
    try:
        from torch_fidelity.metric_kid import kid_features_to_metric
        from torch_fidelity.metric_prc import prc_features_to_metric
    except ImportError as error:
        raise ConfigError('fidelity needs torch-fidelity: pip install "skindiff[fidelity]"') from error
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
    shares = manifold_shares(real.double().numpy(), generated.double().numpy(), config.neighbours)
    intervals = manifold_intervals(shares, config.replicates, seed)
    replicates = kid_replicates(real, [generated], config.replicates, seed)[0]
    intervals["kid"] = tuple(np.nanpercentile(replicates, _INTERVAL).tolist())
    scores = {
        "fid": frechet_distance(real, generated),
        "kid": float(kid["kernel_inception_distance_mean"]),
        "precision": float(prc["precision"]),
        "recall": float(prc["recall"]),
        "density": float(shares["density"].mean()),
        "coverage": float(shares["coverage"].mean()),
    }
    if config.fid_replicates:
        intervals["fid"] = _fid_interval(real, generated, config.fid_replicates, seed)
    for name, (low, high) in intervals.items():
        scores |= {f"{name}_low": low, f"{name}_high": high}
    return scores


def frechet_distance(real: torch.Tensor, generated: torch.Tensor) -> float:
    """Return torch-fidelity's Frechet distance of (n, features) and (m, features) features."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(features.double()) for features in (generated, real)]
    found = fid_statistics_to_metric(*statistics, verbose=False)
    return float(found["frechet_inception_distance"])


def _fid_interval(
    real: torch.Tensor, generated: torch.Tensor, replicates: int, seed: int
) -> tuple[float, float]:
    """Return the 95% basic bootstrap interval of FID over images, at least 0.

    Repeated images shrink a sample's spread, so replicates of this biased distance lie above it; reflecting
    them at the observed value takes that out (Davison & Hinkley 1997, section 5.2).
    """
    stream = numpy_generator("fid bootstrap", seed)
    drawn = [
        frechet_distance(*(one[torch.from_numpy(stream.integers(len(one), size=len(one)))] for one in sides))
        for sides in [(real, generated)] * replicates
    ]
    observed = frechet_distance(real, generated)
    low, high = np.percentile(drawn, _INTERVAL)
    return max(0.0, float(2 * observed - high)), max(0.0, float(2 * observed - low))


def kid_difference(
    real: torch.Tensor, first: torch.Tensor, second: torch.Tensor, *, replicates: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Return KID(first) - KID(second) against the same real images, and its 95% bootstrap interval.

    Replicates sample the real images once for both, so what they have in common cancels. Where ``first`` and
    ``second`` are as many, row by row from the same noise and class, they are sampled together too.

    Args:
        real: (n, features).
        first: (m, features).
        second: (k, features).
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """
    point = kid_replicates(real, [first, second], 0, seed)[:, 0]
    drawn = kid_replicates(real, [first, second], replicates, seed)
    low, high = np.nanpercentile(drawn[0] - drawn[1], _INTERVAL).tolist()
    return float(point[0] - point[1]), low, high


def kid_replicates(
    real: torch.Tensor, generated: Sequence[torch.Tensor], replicates: int, seed: int
) -> NDArray[np.float64]:
    """Return the KID of each generated set in bootstrap replicates over images, (sets, replicates).

    Images are weighted by how often a replicate has them; pairs of an image with itself stay out, so copies
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


def _multiplicities(
    stream: np.random.Generator, count: int, columns: int, resample: bool
) -> NDArray[np.float64]:
    """Return how often each image is sampled, (count, columns)."""
    if not resample:
        return np.ones((count, columns))
    return stream.multinomial(count, np.full(count, 1 / count), size=columns).T.astype(np.float64)


def _mean_pair(kernel: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted mean of a kernel over pairs of different images, by column of ``weights``.

    NaN where a resample of few images holds no two different ones.
    """
    off = kernel - np.diag(np.diag(kernel))
    pairs = weights.sum(0) ** 2 - (weights**2).sum(0)
    total = np.einsum("nr,nr->r", weights, off @ weights)
    return np.divide(total, pairs, out=np.full_like(total, np.nan), where=pairs > 0)
