"""The content of the key ``fairness`` of ``report.json``."""

from typing import NotRequired, TypedDict

from skindiff.classification.rows import SeriesColumns
from skindiff.evaluation.statistics.rows import Difference


class GroupScore(TypedDict):
    """A score with its interval."""

    value: float
    low: float
    high: float


class WorstGroup(GroupScore):
    """The least recall, and whose it is."""

    group: str


class GroupRow(TypedDict):
    """A group in one arm; a suppressed one has no scores."""

    patients: float
    suppressed: bool
    recall: NotRequired[GroupScore | None]
    classes: NotRequired[dict[str, GroupScore | None]]
    calibration_error: NotRequired[GroupScore | None]
    calibration_error_by_chance: NotRequired[float]
    overconfidence: NotRequired[GroupScore | None]
    change: NotRequired[Difference | None]


class FairnessArm(SeriesColumns):
    """An arm of a population; ``reference`` is the arm that its changes are against."""

    reference: str | None
    runs: int
    groups: dict[str, GroupRow]
    classes: dict[str, GroupScore | None]
    worst: WorstGroup | None
    gap: GroupScore | None
    gap_change: Difference | None


class StudiedPopulation(TypedDict):
    """The groups, classes and arms of a population."""

    groups: list[str]
    classes: list[str]
    arms: list[FairnessArm]


class Population(StudiedPopulation):
    """What was classified how, and what was found."""

    scenario: str
    architecture: str
    preset: str


class FairnessSettings(TypedDict):
    """:class:`~skindiff.evaluation.fairness.content.FairnessConfig`, and the level of the intervals.

    ``by`` are the columns that the groups are told apart by, where these are not skin types alone.
    """

    smallest: int
    advantaged: list[str]
    disadvantaged: list[str]
    level: float
    by: NotRequired[list[str]]


class FairnessContent(TypedDict, total=False):
    """The whole key; empty without any group."""

    settings: FairnessSettings
    populations: list[Population]
