"""Has a generator memorised images? Nearest training image against nearest held-out image.

A copy of a training image is nearer to it than unseen real images come to any training image; so the
threshold is set on those (:mod:`.threshold`), and what it would find is measured on copies planted among the
generated images (:mod:`.planted`). An image that was made from a photograph is near it by design: the
source and its group are set aside, and their similarity is reported apart.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import cast

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray

from skindiff.corpora.crops import pictures_of
from skindiff.errors import ConfigError
from skindiff.measures.copying.near_copies import (
    NearCopies,
    between_groups,
    fingerprint,
    nearest_rows,
    own_groups,
    percentiles,
)
from skindiff.measures.copying.nearest import Found, Known, KnownFeatures, KnownStructures
from skindiff.measures.copying.planted import KINDS, plant
from skindiff.measures.copying.rows import (
    CopyingContent,
    EitherSide,
    NamedPair,
    Percentiles,
    Share,
    ThresholdRow,
)
from skindiff.measures.copying.structure import comparable
from skindiff.measures.copying.threshold import (
    FEATURES_THRESHOLD,
    SAME,
    THRESHOLD,
    Threshold,
    held_out_threshold,
    share_interval,
)
from skindiff.measures.features import FeatureConfig, load_feature_network
from skindiff.measures.fidelity.by_class import same_mix
from skindiff.measures.group_bootstrap import group_means, percentile_interval
from skindiff.seeding import numpy_generator
from skindiff.wrong_settings import refuse

Pixels = NDArray[np.uint8]


@dataclass
class CopyingConfig:
    """How near copies of training images are searched for among synthetic ones."""

    enabled: bool = True
    """Look for copies at all."""
    features: FeatureConfig | None = None
    """The network in whose features images are compared; null compares structures, which needs no weights,
    and finds more (see scripts/plant_copies.py)."""
    false_flags: float = 0.02
    """Share of unseen real images (by group) that may count as near copies; it sets the threshold."""
    confidence: float = 0.95
    """With which it is no more than that."""
    held_out: int = 500
    """Unseen real images that are compared at most; more would give a sharper threshold, and take longer."""
    planted: int = 25
    """Training images of which copies of every kind are planted, to tell what is found; 0 plants none."""
    closest_pairs: int = 24
    """Closest pairs of a generated and a training image to list."""
    replicates: int = 1000
    """Bootstrap replicates of the interval of nearer to training than to held-out images."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        if self.features:
            self.features.validate(f"{path}features.")
        for name in ("false_flags", "confidence"):
            if not 0 < getattr(self, name) < 1:
                refuse(f"{path}{name}: {getattr(self, name)} is no share between 0 and 1")
        for name, least in (("held_out", 1), ("planted", 0), ("closest_pairs", 0), ("replicates", 100)):
            if getattr(self, name) < least:
                refuse(f"{path}{name} is {getattr(self, name)}: set it to at least {least}")


@dataclass(frozen=True)
class Memorisation:
    """What was found of copies among generated images; shares come with 95% intervals.

    Attributes:
        report: every generated image with its nearest training images, for the gate before a push.
        threshold: and where it comes from.
        held_out: number of unseen real images.
        held_out_alike: how many of them are likely a training image of another group, by
            :data:`~skindiff.measures.copying.threshold.SAME`: a leak that no audit saw. They are not unseen
            and do not set the threshold. None where features are compared, as networks differ.
        near_copies: ``share``, ``low``, ``high`` of generated images that are a near copy of a training image
            of another group than their source's (of any, where they have no source).
        of_own_group: the same of near copies of the source or its group, among images that have a source;
            None where none has.
        either_side: against as many training as held-out images, class by class: ``a_side`` (their number),
            ``near_training`` and ``near_held_out`` (shares at or above the threshold), ``nearer_training``
            with its interval (share that is nearer to a training image; one half if nothing was memorised).
            None without held-out images.
        planted: by kind of copy: ``share``, ``low``, ``high`` found, with the right group.
        closest: places of the generated images in the closest pairs, the closest first.
    """

    report: NearCopies
    threshold: Threshold
    held_out: int
    held_out_alike: int | None
    near_copies: Share
    of_own_group: Share | None
    either_side: EitherSide | None
    planted: dict[str, Share] = field(default_factory=dict)
    closest: tuple[int, ...] = ()

    def to_dict(self) -> CopyingContent:
        """Return plain types for a report: no id of an image or group is among them, only numbers of rows.

        A pair has the ``row`` of the generated image in its data set, the ``similarity`` to a training image
        of another group than its source's, that ``group`` (a number, in the order of the pairs) and whether
        it counts as a ``near_copy``; :meth:`pairs` has the ids.
        """
        rows = [self.report.rows[place] for place in self.closest]
        groups = {
            group: number for number, group in enumerate(dict.fromkeys(row.other_group for row in rows))
        }
        own = [row.own_similarity for row in self.report.rows if row.own_similarity is not None]
        return {
            "measure": self.report.measure,
            "generated": len(self.report.rows),
            "training": self.report.sources,
            "held_out": self.held_out,
            "held_out_alike": self.held_out_alike,
            "threshold": cast(ThresholdRow, asdict(self.threshold)),
            "near_copies": self.near_copies,
            "of_own_group": self.of_own_group,
            "copies_of_any": len(self.report.copies),
            "either_side": self.either_side,
            "similarity": {
                "generated": percentiles([row.other_similarity for row in self.report.rows]),
                "own_group": percentiles(own) if own else None,
                "held_out": self.report.between_sources,
            },
            "planted": self.planted,
            "closest_pairs": [
                {
                    "row": place,
                    "similarity": row.other_similarity,
                    "group": groups[row.other_group],
                    "near_copy": row.other_similarity >= self.threshold.value,
                }
                for place, row in zip(self.closest, rows, strict=True)
            ],
        }

    def pairs(self) -> list[NamedPair]:
        """Return the closest pairs with their ids: they name photographs, so they stay with the run."""
        return [
            {
                "image_id": row.image_id,
                "source_id": row.own_source,
                "source_group": row.own_group,
                "training_id": row.other_source,
                "training_group": row.other_group,
                "similarity": row.other_similarity,
            }
            for row in (self.report.rows[place] for place in self.closest)
        ]


def memorisation(
    generated: Dataset,
    training: Dataset,
    held_out: Dataset,
    config: CopyingConfig,
    *,
    seed: int = 0,
    device: torch.device | None = None,
) -> Memorisation:
    """Look for copies of training images among generated ones.

    Args:
        generated: ``image``, ``image_id``, ``source_id`` (null where made from none).
        training: ``image``, ``image_id``, ``group_id``, ``label``: what the generator was trained on or
            transferred.
        held_out: real images of the same columns and classes, of which ``config.held_out`` are compared;
            those of a group that is among the training images are left out, and where none is left the
            threshold is the default one.
        config: see :class:`CopyingConfig`.
        seed: of the choice of planted copies, of held-out images, and of training images where there are more
            than those.
        device: that computes; None is the CPU.

    Raises:
        ConfigError: a setting cannot work, or there are no generated images.
        SynthesisError: there are no training images, or a generated image's source is not among them.
    """
    compared = _Compared.of(generated, training, held_out, config, seed, device)
    known, pixels, owned = compared.known, compared.pixels, compared.owned
    held_out, threshold = compared.held_out, compared.threshold
    sides = _sides(training, held_out, seed)
    a_side = int(sides[1].sum())
    masks = [compared.among, *(sides if len(held_out) else ())]
    found, *either = known.nearest(comparable(pictures_of(generated)), owned, masks)
    clusters = [group or image_id for group, image_id in zip(owned, generated["image_id"][:], strict=True)]
    return Memorisation(
        report=compared.report(generated, training, found),
        threshold=threshold,
        held_out=len(held_out),
        held_out_alike=compared.held_out_alike,
        near_copies=share_interval((found.similarity >= threshold.value).tolist(), clusters),
        of_own_group=_of_own_group(found, clusters, owned, threshold.value),
        either_side=_either_side(either, a_side, threshold.value, config.replicates, seed)
        if either
        else None,
        planted=planted_found(known, pixels, compared.among, threshold.value, config.planted, KINDS, seed),
        closest=tuple(np.argsort(-found.similarity, kind="stable")[: config.closest_pairs].tolist()),
    )


def near_copies(
    generated: Dataset,
    training: Dataset,
    held_out: Dataset | None = None,
    config: CopyingConfig | None = None,
    *,
    seed: int = 0,
    device: torch.device | None = None,
) -> NearCopies:
    """Return the report of :func:`memorisation` alone, which is what the gate before a push asks for.

    Args:
        generated: ``image``, ``image_id``, ``source_id`` (null where made from none).
        training: ``image``, ``image_id``, ``group_id``: what the generator was trained on or transferred.
        held_out: real images of the same columns that it never saw, which set the threshold; None has none.
        config: see :class:`CopyingConfig`; None is the default.
        seed: of the choice of held-out images.
        device: that computes; None is the CPU.

    Raises:
        ConfigError: a setting cannot work, or there are no generated images.
        SynthesisError: there are no training images, or a generated image's source is not among them.
    """
    unseen = training.select([]) if held_out is None else held_out
    compared = _Compared.of(generated, training, unseen, config or CopyingConfig(), seed, device)
    pixels = comparable(pictures_of(generated))
    (found,) = compared.known.nearest(pixels, compared.owned, [compared.among])
    return compared.report(generated, training, found)


def planted_found(
    known: Known,
    pixels: Pixels,
    among: NDArray[np.bool_],
    threshold: float,
    count: int,
    kinds: Iterable[str],
    seed: int,
) -> dict[str, Share]:
    """Plant copies of known images and return the share found, by kind, with its 95% interval.

    A copy is found if it is at the threshold or above of an image of the group that it shows.

    Args:
        known: the images.
        pixels: of the same images, ``(n, SIDE, SIDE, 3)``.
        among: mask ``(n,)`` of those that are copied and searched.
        threshold: similarity from which an image counts as a near copy.
        count: of images of which copies are planted (all, where there are fewer).
        kinds: of copies, see :mod:`.planted`.
        seed: of the choice of images and of their changes.
    """
    if not count:
        return {}
    chosen = numpy_generator("planted", seed).permutation(np.flatnonzero(among))[:count]
    own = [known.groups[row] for row in chosen]
    shares = {}
    for kind in kinds:
        (found,) = known.nearest(plant(pixels[chosen], kind, seed), among=[among])
        right = [known.groups[row] == group for row, group in zip(found.other, own, strict=True)]
        shares[kind] = share_interval((np.asarray(right) & (found.similarity >= threshold)).tolist(), own)
    return shares


@dataclass(frozen=True)
class _Compared:
    """The known images, training before held-out ones, and the threshold that the held-out ones set.

    ``owned`` has the group of each generated image's source, and ``among`` is the mask of training images.
    """

    known: Known
    pixels: Pixels
    owned: list[str | None]
    held_out: Dataset
    threshold: Threshold
    held_out_alike: int | None
    between: Percentiles
    among: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        generated: Dataset,
        training: Dataset,
        held_out: Dataset,
        config: CopyingConfig,
        seed: int,
        device: torch.device | None,
    ) -> "_Compared":
        config.validate()
        if not len(generated):
            raise ConfigError("generated: there are no images; generate some first")
        owned = own_groups(generated, training)
        held_out = _unseen(held_out, training, config.held_out, seed)
        groups = [*training["group_id"][:], *held_out["group_id"][:]]
        pixels = np.concatenate([comparable(pictures_of(one)) for one in (training, held_out)])
        known = _known(config, pixels, groups, device)
        among = np.arange(len(pixels)) < len(training)
        (of_unseen,) = known.nearest(pixels[len(training) :], among=[among])
        threshold, alike = _threshold(of_unseen, held_out["group_id"][:], config)
        between = percentiles(of_unseen.similarity) if len(held_out) else between_groups(known, pixels)
        return cls(known, pixels, owned, held_out, threshold, alike, between, among)

    def report(self, generated: Dataset, training: Dataset, found: Found) -> NearCopies:
        """Return what was found of the generated images among the training images."""
        return NearCopies(
            fingerprint=fingerprint(generated),
            measure=self.known.name,
            threshold=self.threshold.value,
            sources=len(training),
            between_sources=self.between,
            rows=nearest_rows(generated, training, self.owned, found),
            threshold_source=self.threshold.source,
            held_out_groups=self.threshold.groups,
        )


def _sides(training: Dataset, held_out: Dataset, seed: int) -> list[NDArray[np.bool_]]:
    """Return masks of as many training as held-out images of every class."""
    both = np.arange(len(training) + len(held_out))
    rows = same_mix(training["label"][:], held_out["label"][:], seed)
    return [np.isin(both, rows[0]), np.isin(both, len(training) + np.asarray(rows[1], np.int64))]


def _known(
    config: CopyingConfig, pixels: Pixels, groups: Sequence[str], device: torch.device | None
) -> Known:
    if config.features is None:
        return KnownStructures(pixels, groups, device)
    return KnownFeatures(pixels, groups, load_feature_network(config.features, device or torch.device("cpu")))


def _unseen(held_out: Dataset, training: Dataset, most: int, seed: int) -> Dataset:
    """Return held-out images whose group the generator has not seen: all, or that many at random."""
    seen = set(training["group_id"][:])
    rows = np.array([row for row, group in enumerate(held_out["group_id"][:]) if group not in seen], np.int64)
    chosen = numpy_generator("unseen", seed).permutation(rows)[:most]
    return held_out.select(np.sort(chosen))


def _threshold(
    of_unseen: Found, groups: Sequence[str], config: CopyingConfig
) -> tuple[Threshold, int | None]:
    """Set the threshold; return also how many held-out images are set aside as likely training images."""
    by_structure = config.features is None
    unseen = of_unseen.similarity < (SAME if by_structure else np.inf)
    threshold = held_out_threshold(
        of_unseen.similarity[unseen],
        np.asarray(groups)[unseen].tolist(),
        false_flags=config.false_flags,
        confidence=config.confidence,
        default=THRESHOLD if by_structure else FEATURES_THRESHOLD,
    )
    return threshold, int((~unseen).sum()) if by_structure else None


def _of_own_group(
    found: Found, clusters: Sequence[str], owned: Sequence[str | None], threshold: float
) -> Share | None:
    places = [place for place, group in enumerate(owned) if group is not None]
    if not places:
        return None
    flags = (found.own_similarity[places] >= threshold).tolist()
    return share_interval(flags, [clusters[place] for place in places])


def _either_side(
    sides: Sequence[Found], a_side: int, threshold: float, replicates: int, seed: int
) -> EitherSide:
    """Compare with as many training as held-out images.

    Generated images whose nearest real image is the same are sampled together in the bootstrap: on whichever
    side that image had fallen, all of them would be nearer to it.
    """
    training, held_out = sides
    nearer = np.sign(training.similarity - held_out.similarity) / 2 + 0.5
    nearest = np.where(nearer >= 0.5, training.other, held_out.other)
    means = group_means(nearer[None], nearest.astype(str).tolist(), replicates, "nearer training", seed)[:, 0]
    share, low, high = percentile_interval(means)
    return {
        "a_side": a_side,
        "near_training": float(np.mean(training.similarity >= threshold)),
        "near_held_out": float(np.mean(held_out.similarity >= threshold)),
        "nearer_training": share,
        "nearer_training_low": low,
        "nearer_training_high": high,
    }
