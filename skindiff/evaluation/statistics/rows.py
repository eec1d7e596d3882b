"""The rows of `results`, `summary` and `verdicts`, as they are in ``report.json``."""

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict, cast

from skindiff.classification.rows import CellColumns, Scores, SeriesColumns

PopulationColumn = Literal["scenario", "test_group", "architecture", "preset"]
"""Columns in which the series that are compared agree."""


Role = Literal["primary", "then", "exploratory"]
"""Of a contrast in its study."""


class ResultRow(CellColumns, Scores):
    """A cell and its scores; see :func:`~skindiff.evaluation.statistics.paired_bootstrap.result_row`.

    ``per_group_recall`` is the macro recall by value of each attribute beside the skin type that the corpus
    has, by its column.
    """

    optimiser_steps: int
    test_images: int
    per_group_recall: NotRequired[dict[str, dict[str, float | None]]]


class HalfWidths(TypedDict):
    """Half the width of an interval, and with twice as much of what it comes from."""

    now: float
    twice_splits: float | None
    twice_trainings: float | None
    twice_patients: float | None


class Difference(TypedDict):
    """What is said of two arms; see :func:`~skindiff.evaluation.statistics.comparisons.comparison`."""

    delta: float | None
    delta_ci_low: float | None
    delta_ci_high: float | None
    delta_se: float | None
    delta_df: float | None
    delta_p: float | None
    delta_seed_share: float | None
    delta_parts: dict[str, float] | None
    delta_units: int | None
    minimum_effect: float | None
    power_at_5_points: float | None
    delta_p_corrected: float | None
    delta_ci_low_corrected: float | None
    delta_ci_high_corrected: float | None
    corrected_level: float | None
    minimum_effect_corrected: float | None
    half_widths: HalfWidths | None
    caution: str | None
    comparisons: int
    paired_cells: int


class Mean(TypedDict):
    """The mean of a score over cells with its interval, None where there is none."""

    mean: float | None
    ci_low: float | None
    ci_high: float | None


class SummaryRow(SeriesColumns, Mean, Difference):
    """A series, metric and reference; see :func:`~skindiff.evaluation.statistics.summary.summarise`.

    Reports of earlier versions have None in what was not known then.
    """

    metric: str
    chance: float | None
    above_chance: bool | None
    reference: str | None
    role: Role | None
    reference_above_chance: bool | None
    groups_differing: int | None
    cells: int
    groups: int
    images: int


class Verdict(SeriesColumns):
    """A judgement of a series; see :func:`~skindiff.evaluation.statistics.verdicts.verdicts`."""

    metric: str
    reference: str | None
    role: NotRequired[Role | None]
    verdict: str
    why: NotRequired[str | None]
    minimum_effect: float | None
    sentence: str


class RungRow(TypedDict):
    """A step from a published comparison to a fair one; see :func:`.ladder.ladder_rows`."""

    strategy: str
    rung: str
    cut: str
    arm: str
    reference: str
    metric: str
    optimiser_steps: float
    reference_steps: float
    mean: float
    reference_mean: float
    gain: float
    gain_ci_low: float
    gain_ci_high: float
    change: float | None
    change_ci_low: float | None
    change_ci_high: float | None
    paired: bool | None
    runs: int
    images: int


class TriedRow(SeriesColumns):
    """A use of synthetic images that was tried; see :func:`.choosing.tried_rows`."""

    metric: str
    reference: str
    gain: float
    gain_ci_low: float
    gain_ci_high: float
    runs: int
    images: int
    groups: int
    chosen: bool
    confirmed: float | None
    confirmed_ci_low: float | None
    confirmed_ci_high: float | None
    confirming_images: int | None
    confirming_groups: int | None


class ElsewhereRow(SeriesColumns, Mean):
    """A series and a score on another corpus; see :func:`.elsewhere.elsewhere_rows`.

    ``test_group`` is the study's own test set that ``here`` is of; ``change`` is there minus here.
    """

    test_corpus: str
    metric: str
    chance: float | None
    here: float | None
    here_ci_low: float | None
    here_ci_high: float | None
    change: float | None
    change_ci_low: float | None
    change_ci_high: float | None
    runs: int
    images: int
    groups: int
    here_images: int
    here_groups: int


SERIES = tuple(SeriesColumns.__annotations__)
"""What names a series in `summary` and `verdicts`."""


def series_columns(row: SeriesColumns) -> SeriesColumns:
    """Return the columns of a row that name its series, and no others."""
    return cast(SeriesColumns, dict(zip(SERIES, values_of(row, SERIES), strict=True)))


def values_of(row: Mapping[str, object], columns: Sequence[str]) -> tuple[object, ...]:
    """Return what a row holds in some columns."""
    return tuple(row[name] for name in columns)


def agree(one: Mapping[str, object], other: Mapping[str, object], columns: Sequence[str]) -> bool:
    """Return whether two rows hold the same in some columns."""
    return values_of(one, columns) == values_of(other, columns)
