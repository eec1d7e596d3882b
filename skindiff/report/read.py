"""Reading the report of a finished run back: one place that says what is wrong with it."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from skindiff.classification.cells import REAL
from skindiff.classification.rows import METRICS, SeriesColumns, SplitRow
from skindiff.corpora.attribute import recorded_attribute
from skindiff.errors import RunFolderError
from skindiff.evaluation.statistics.rows import Mean, Role
from skindiff.foreign import Malformed, read_json, refuse_unlike
from skindiff.manifest import refuse_damaged
from skindiff.renamed import with_new_names
from skindiff.report.content import CorpusContent, ReportContent

REPORT_FILE = "report.json"
SCHEMA = 2
"""Of report.json: 1 had a row of `summary` for each series, 2 has one for each series and reference."""


class _Result(SeriesColumns):
    """What is read of a row of `results`; of those of older versions too."""

    train_seed: int | None
    optimiser_steps: NotRequired[int | None]
    per_skin_type_recall: NotRequired[dict[str, float | None]]
    per_group_recall: NotRequired[dict[str, dict[str, float | None]]]


class _Verdict(SeriesColumns):
    """What is read of a verdict."""

    metric: str
    reference: str | None
    role: NotRequired[Role | None]
    verdict: str
    sentence: str
    minimum_effect: NotRequired[float | None]


class _Drawn(TypedDict, total=False):
    """What is read of a row of `synthesis`."""

    drawn: int


class _Row(TypedDict, total=False):
    """What is read of a row of `summary` to bring it up to date."""

    against: dict[str, dict[str, Any]]


class _AsItWas(TypedDict, total=False):
    """What is read of a report to bring it up to date."""

    schema: int
    summary: list[_Row]
    synthesis: list[dict[str, Any]]


class _Split(TypedDict, total=False):
    """What is read of the settings of a split: of a scenario, or of all protocols."""

    scenario: str | dict[str, Any]
    majority_types: list[str]
    minority_types: list[str]


class _Settings(TypedDict, total=False):
    """What is read of `config`."""

    corpus: dict[str, Any] | None
    split: _Split | None


class _Summary(SeriesColumns, Mean):
    """What is read of a row of `summary`."""

    metric: str
    reference: str | None
    role: NotRequired[Role | None]
    chance: float | None
    delta: float | None
    delta_ci_low: float | None
    delta_ci_high: float | None
    delta_ci_low_corrected: NotRequired[float | None]
    delta_ci_high_corrected: NotRequired[float | None]
    minimum_effect_corrected: NotRequired[float | None]
    caution: NotRequired[str | None]
    cells: int
    groups: int
    images: int


class _Read(TypedDict, total=False):
    """What readers of a report rely on; everything else is passed on as it is."""

    recipe: str
    title: str
    config: _Settings
    corpus: CorpusContent
    splits: list[SplitRow]
    summary: list[_Summary]
    results: list[_Result]
    verdicts: list[_Verdict]
    notes: list[str]
    reading: list[str]
    synthesis: list[_Drawn]
    attribute: dict[str, Any]


_NEEDED = ("recipe", "title", "config", "corpus", "splits", "summary", "results", "verdicts", "notes")


def read_report(folder: Path) -> ReportContent:
    """Return the content of a run's ``report.json`` under the names of now.

    Raises:
        RunFolderError: there is no report, or what is there is none.
    """
    path = folder / REPORT_FILE
    if not path.is_file():
        begun = (folder / "config.yaml").is_file()
        way_out = "finish the run by --resume" if begun else "give the output_dir of a finished run"
        raise RunFolderError(f"run: {folder} holds no {REPORT_FILE}; {way_out}")
    refuse_damaged(path)
    try:
        content = checked_report(read_json(path), str(path))
        if missing := [name for name in _NEEDED if name not in content]:
            raise Malformed(f"no {missing[0]}")
        return content
    except Malformed as error:
        raise RunFolderError(
            f"run: {path} is no report of a run ({error}); run it again by --resume"
        ) from error


def checked_report(read: Any, where: str) -> ReportContent:
    """Return the content of a report under the names of now.

    Args:
        read: of JSON, bounded as :func:`~skindiff.foreign.read_json` gives it.
        where: what it was read from.

    Raises:
        Malformed: something that readers rely on is missing, or of another kind.
    """
    refuse_unlike(read, _AsItWas, "the report")
    if read.get("schema", 1) not in range(1, SCHEMA + 1):
        raise Malformed(f"its schema is none from 1 to {SCHEMA}; update skindiff")
    content = current(with_new_names(read, where))
    refuse_unlike(content, _Read, "the report")
    recorded_attribute(content.get("attribute"))
    for row in content.get("summary", ()):
        if row["metric"] not in METRICS:
            raise Malformed("a row of the report's summary has a metric that is none")
        if (row["ci_low"] is None) != (row["ci_high"] is None):
            raise Malformed("a row of the report's summary has half an interval")
    return content


def current(content: dict[str, Any]) -> ReportContent:
    """Return the content of an older report with a row of `summary` for each reference, and roles."""
    if content.get("schema", 1) >= SCHEMA:
        return cast(ReportContent, content)
    nothing = dict.fromkeys(("chance", "above_chance", "reference_above_chance", "groups_differing"))
    nothing |= dict.fromkeys(("delta_parts", "delta_units", "half_widths"))
    rows = []
    for old in content.get("summary", ()):
        own = {name: value for name, value in old.items() if name != "against"}
        for reference, found in {REAL: {}, **old.get("against", {})}.items():
            row = {**own, **found, **nothing, "reference": reference}
            judged = row.get("delta_p_corrected") is not None
            row |= {"role": "exploratory" if judged else None}
            rows += [row] if row.get("delta") is not None or reference == REAL else []
    return cast(ReportContent, {**content, "schema": SCHEMA, "summary": rows})
