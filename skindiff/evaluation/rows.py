"""The rows of the report's key ``detection``, as they are in JSON."""

from typing import NotRequired, TypedDict


class DetectionRow(TypedDict):
    """A generator and a class; see :func:`~skindiff.evaluation.statistics.detections.detection_rows`."""

    generator: str
    class_name: str
    seeds: int
    images: int
    held_out_images: int
    detection: float | None
    detection_ci_low: float | None
    detection_ci_high: float | None
    recall: float | None
    recall_ci_low: float | None
    recall_ci_high: float | None
    share: float | None
    share_ci_low: float | None
    share_ci_high: float | None
    share_p_corrected: NotRequired[float]
    share_ci_low_corrected: NotRequired[float | None]
    share_ci_high_corrected: NotRequired[float | None]
    corrected_level: NotRequired[float]
    comparisons: NotRequired[int]
    others: NotRequired[float | None]
    confidence: float | None
    recall_confidence: float | None
    mean_probability: float


class DetectorAccuracy(TypedDict):
    """What :func:`~skindiff.evaluation.statistics.detections.detector_accuracy` returns."""

    accuracy: float
    balanced_accuracy: float
    seeds: float
