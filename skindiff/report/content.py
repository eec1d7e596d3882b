"""The content of ``report.json``, by key."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from skindiff.classification.rows import ExternalCounts, MeanBestEpochs, SeriesColumns, SplitRow
from skindiff.corpora.rows import CorpusCounts
from skindiff.evaluation.fairness.rows import FairnessContent
from skindiff.evaluation.rows import DetectionRow, DetectorAccuracy
from skindiff.evaluation.statistics.rows import (
    ElsewhereRow,
    ResultRow,
    RungRow,
    SummaryRow,
    TriedRow,
    Verdict,
)
from skindiff.measures.copying.rows import CopiedElsewhere, CopyingRow
from skindiff.measures.fidelity.rows import FidelityRow
from skindiff.measures.skin.rows import LesionRow, ToneRow
from skindiff.synthesis.rows import SynthesisCounts
from skindiff.training.rows import Diversity

Timings = Mapping[str, float | Mapping[str, float] | None]
"""Seconds by stage, or by stage and part."""


class CorpusContent(CorpusCounts, total=False):
    """What was read of a corpus."""

    name: str


class SynthesisOrigin(TypedDict):
    """Which generator made a synthetic data set, and how."""

    strategy: str
    seed: int
    generator: str
    name: NotRequired[str]
    diversity: NotRequired[Diversity | None]


class SynthesisRow(SynthesisOrigin, SynthesisCounts):
    """One synthetic data set: its origin, and its summary without times."""


class ClassMean(TypedDict):
    """F1 of a class over runs."""

    mean: float | None
    deviation: float | None


class ClassF1Row(SeriesColumns):
    """A row of :func:`~skindiff.report.class_sections.per_class_f1`."""

    runs: int
    f1: dict[str, ClassMean]


class DetectionContent(TypedDict, total=False):
    """What a detector says; empty where there was none."""

    detector: DetectorAccuracy
    classes: list[DetectionRow]


class ToneContent(ToneRow):
    """The study's own transfer, and every transfer by name."""

    transfer: str
    by_transfer: dict[str, ToneRow]


class PublishedRow(TypedDict):
    """The fields of :class:`~skindiff.report.published.fitzpatrick.Published`."""

    table: int
    scenario: str
    test_group: str
    architecture: str
    strategy: str
    arm: str
    train_size: int | None
    metric: str
    percent: float
    plus_minus: float | None
    paper: str
    class_name: str | None
    place: str | None


class PrimaryContent(TypedDict):
    """The fields of :class:`~skindiff.classification.contrasts.PrimaryContrast`."""

    arm: str
    reference: str
    metric: str
    then: str | None
    strategy: str | None
    architecture: str | None
    test_group: str | None


class ConfusionRow(TypedDict):
    """A row of :func:`~skindiff.report.confusions.largest_confusions`."""

    population: str
    series: str
    true: str
    predicted: str
    share: float


class SettingsName(TypedDict):
    """Which of a recipe's own settings files a run started from, and whether its command line changed any."""

    name: str
    changed: bool


class Surroundings(TypedDict):
    """What :func:`~skindiff.report.write.environment` returns."""

    python: str
    platform: str
    device: str
    processes: int
    threads_per_process: int
    versions: dict[str, str]


class MeasuredContent(TypedDict, total=False):
    """The keys that :class:`~skindiff.report.measurements.Measurements` adds."""

    fidelity: list[FidelityRow]
    copying: list[CopyingRow]


class ExternalContent(TypedDict):
    """What is said of other corpora: which, every cell, intervals, verdicts, and what is lost on the way.

    The rows of ``results``, ``summary`` and ``verdicts`` are as those of the study's own test images, and
    their ``test_group`` names the corpus; ``beside`` sets it beside the study's own test images, ``fairness``
    has the chapters on the groups of each corpus by its name, none where none are known, and ``copies``
    are of synthetic images that show its images.
    """

    sets: list[ExternalCounts]
    results: list[ResultRow]
    summary: list[SummaryRow]
    verdicts: list[Verdict]
    beside: list[ElsewhereRow]
    fairness: NotRequired[dict[str, list[FairnessContent]]]
    copies: NotRequired[list[CopiedElsewhere]]


class ExtraContent(MeasuredContent, total=False):
    """The keys that only some reports have."""

    synthesis: list[SynthesisRow]
    per_class_f1: list[ClassF1Row]
    best_test_epoch: list[MeanBestEpochs]
    detection: DetectionContent
    ladder: list[RungRow]
    tried: list[TriedRow]
    external: ExternalContent


class ReportContent(ExtraContent, total=False):
    """The whole; reports of earlier versions have fewer keys."""

    schema: int
    recipe: str
    title: str
    settings: NotRequired[SettingsName]
    config: dict[str, Any]
    corpus: CorpusContent
    splits: Sequence[SplitRow]
    summary: list[SummaryRow]
    results: list[ResultRow]
    verdicts: list[Verdict]
    primary: PrimaryContent | None
    confusions: list[ConfusionRow]
    notes: list[str]
    reading: list[str]
    flags: list[str]
    fairness: FairnessContent
    fairness_by: list[FairnessContent]
    attribute: dict[str, Any]
    skin_tone: ToneContent | None
    lesion: dict[str, LesionRow] | None
    published: list[PublishedRow]
    cost: dict[str, int]
    environment: Surroundings
    timings: Timings
