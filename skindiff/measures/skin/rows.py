"""What a report says of skin tones and lesions, as it is in JSON."""

from typing import TypedDict


class Angles(TypedDict):
    """How angles are distributed, in degrees."""

    n: int
    mean: float
    sd: float
    p10: float
    median: float
    p90: float


class MedianInterval(TypedDict):
    """A median with its interval."""

    median: float
    ci_low: float
    ci_high: float


class ToneRow(TypedDict):
    """What :meth:`~skindiff.measures.skin.tone.ToneShift.summary` returns."""

    unit: str
    source: Angles
    synthetic: Angles
    target: Angles
    paired_shift: MedianInterval
    gap: MedianInterval
    share_of_gap: MedianInterval
    wasserstein_source_to_target: float
    wasserstein_synthetic_to_target: float
    pairs: int
    unmeasured: dict[str, int]


class MeanInterval(TypedDict):
    """A mean with its interval."""

    mean: float
    ci_low: float
    ci_high: float


class LesionRow(TypedDict):
    """What :meth:`~skindiff.measures.skin.lesion_structure.LesionPreservation.summary` returns."""

    measure: str
    own_similarity: MeanInterval
    kept: MeanInterval
    rank_of_own_source: MeanInterval
    mismatched_similarity: float
    pairs: int
