"""The rows of the report's key ``copying`` and their parts, as they are in JSON."""

from typing import Literal, TypedDict


class Share(TypedDict):
    """A share with its interval."""

    share: float
    low: float
    high: float


class Percentiles(TypedDict):
    """Percentiles 50, 95 and 100 of similarities."""

    p50: float
    p95: float
    p100: float


class NearCopiesSummary(TypedDict):
    """What :meth:`~skindiff.measures.copying.near_copies.NearCopies.summary` returns."""

    measure: str
    threshold: float
    threshold_source: Literal["held-out", "default"]
    held_out_groups: int | None
    images: int
    sources: int
    near_copies: int
    near_copies_of_own_group: int
    groups_copied: int
    nearest_similarity: Percentiles
    own_similarity: Percentiles | None
    between_sources: Percentiles


class ThresholdRow(TypedDict):
    """The fields of :class:`~skindiff.measures.copying.threshold.Threshold`."""

    value: float
    source: Literal["held-out", "default"]
    groups: int
    flagged_groups: int
    false_flags: float
    bound: float


class EitherSide(TypedDict):
    """Synthetic images against as many training as held-out images."""

    a_side: int
    near_training: float
    near_held_out: float
    nearer_training: float
    nearer_training_low: float
    nearer_training_high: float


class Similarities(TypedDict):
    """How near synthetic images come to training images, and held-out ones to them."""

    generated: Percentiles
    own_group: Percentiles | None
    held_out: Percentiles


class ClosestPair(TypedDict):
    """A synthetic image and the training image next to it, by numbers."""

    row: int
    similarity: float
    group: int
    near_copy: bool


class NamedPair(TypedDict):
    """The same by ids."""

    image_id: str
    source_id: str | None
    source_group: str | None
    training_id: str | None
    training_group: str | None
    similarity: float


class CopiedElsewhere(TypedDict):
    """Synthetic images that show an image of another corpus that is tested on.

    ``images`` names them and ``seed`` is theirs, None where it is not known; ``test_corpus`` is the other
    corpus, ``near_copies`` how many of the ``generated`` ones reach the threshold, ``copied`` how many of its
    images they show, ``nearest`` the largest similarity, and ``planted_found`` the share of planted copies
    that such a search finds, by kind.
    """

    images: str
    seed: int | None
    test_corpus: str
    generated: int
    threshold: float
    near_copies: int
    copied: int
    nearest: float
    planted_found: dict[str, float]


class CopyingContent(TypedDict):
    """What :meth:`~skindiff.measures.copying.memorisation.Memorisation.to_dict` returns."""

    measure: str
    generated: int
    training: int
    held_out: int
    held_out_alike: int | None
    threshold: ThresholdRow
    near_copies: Share
    of_own_group: Share | None
    copies_of_any: int
    either_side: EitherSide | None
    similarity: Similarities
    planted: dict[str, Share]
    closest_pairs: list[ClosestPair]


class CopyingRow(CopyingContent):
    """A row of ``copying``: the name of the images, their seed, and what was found."""

    images: str
    seed: int
