"""The sections of a report on class-conditional generators: tables of numbers, no computing beyond means."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np

from skindiff.classification.cells import Cell, CellKey
from skindiff.classification.rows import MeanBestEpochs
from skindiff.evaluation.detection import Detection
from skindiff.evaluation.statistics.detections import detection_rows, detector_accuracy
from skindiff.evaluation.statistics.paired_bootstrap import result_row
from skindiff.evaluation.statistics.rows import SummaryRow, agree
from skindiff.evaluation.statistics.verdicts import points, reference_rows, series_name
from skindiff.report.content import ClassF1Row, ClassMean, DetectionContent
from skindiff.report.detection import detection_markdown
from skindiff.report.published.fitzpatrick import Published, printed_gain
from skindiff.report.study_section import StudySection, markdown_table
from skindiff.report.tables import deciding_interval


def per_class_f1(cells: Sequence[Cell]) -> list[ClassF1Row]:
    """Return F1 by class for every series: its key, ``runs``, and mean and standard deviation by class.

    The deviation is over runs (split and training seeds), with n - 1; ``None`` for a single run or where no
    run has a test image of the class.
    """
    groups: dict[CellKey, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.key.series, []).append(cell)
    found: list[ClassF1Row] = []
    for key, members in groups.items():
        by_class: dict[str, ClassMean] = {}
        scores = [result_row(cell)["per_class_f1"] for cell in members]
        for name in members[0].class_names:
            known = [value for score in scores if (value := score[name]) is not None]
            by_class[name] = {
                "mean": float(np.mean(known)) if known else None,
                "deviation": float(np.std(known, ddof=1)) if len(known) > 1 else None,
            }
        found.append({**key.series_columns, "runs": len(members), "f1": by_class})
    return found


def per_class_section(rows: Sequence[ClassF1Row]) -> StudySection:
    """Return the table of F1 by class and arm, from rows of :func:`per_class_f1`."""
    if not rows:
        return StudySection("F1 by class")
    names = list(rows[0]["f1"])
    several = len({(row["architecture"], row["test_group"]) for row in rows}) > 1
    lines = []
    for row in rows:
        same = [other for other in rows if other["architecture"] == row["architecture"]]
        name = series_name(row, same) + (f" ({row['architecture']}, {row['test_group']})" if several else "")
        lines.append([name, *(_mean_and_deviation(row["f1"][one]) for one in names)])
    runs = rows[0]["runs"]
    about = f"In percent, mean ± standard deviation over {runs} run{'s' * (runs > 1)}."
    table = markdown_table(["arm", *names], lines)
    return StudySection("F1 by class", f"{table}\n\n{about}", after="Scores")


def detection_content(detections: Sequence[Detection], replicates: int) -> DetectionContent:
    """Return ``detector`` (its accuracy on real images) and ``classes`` (rows by class), or nothing."""
    if not detections:
        return {}
    return {
        "detector": detector_accuracy(detections),
        "classes": detection_rows(detections, replicates=replicates),
    }


def detection_section(content: DetectionContent, published: Sequence[Published]) -> StudySection:
    """Return the paper's table of detected images with the detector's own recall beside it."""
    if not content:
        return StudySection("Detection")
    accuracy = {name: f"{100 * content['detector'][name]:.1f}%" for name in ("accuracy", "balanced_accuracy")}
    about = (
        "A detector is trained on real images that the generator never saw. It names the class of synthetic "
        f"images. On real images that neither saw it has {accuracy['accuracy']} accuracy, "
        f"{accuracy['balanced_accuracy']} balanced. Its recall of a class is the most that detection can be "
        "expected to reach. Percent, with 95% intervals, each on its own; the verdicts on the classes are "
        "corrected together. Confidence is over the images that were recognised."
    )
    table = detection_markdown(content["classes"], published)
    return StudySection("Detection", f"{table}\n\n{about}", after="Scores")


def _mean_and_deviation(value: ClassMean) -> str:
    if value["mean"] is None:
        return "n/a"
    deviation = "" if value["deviation"] is None else f" ± {100 * value['deviation']:.1f}"
    return f"{100 * value['mean']:.1f}{deviation}"


class OwnNumbers(TypedDict):
    """Our own score; one of a class has neither interval nor difference."""

    mean: float | None
    ci_low: float | None
    ci_high: float | None
    delta: float | None
    delta_ci_low: NotRequired[float | None]
    delta_ci_high: NotRequired[float | None]


class BesideRow(TypedDict):
    """A row of :func:`beside_rows`."""

    what: str
    printed_in: str
    score: str
    paper: float
    paper_gain: float | None
    ours: OwnNumbers | None
    ours_best_epoch: float | None


def beside_rows(
    published: Sequence[Published],
    summary: Sequence[SummaryRow],
    by_class: Sequence[ClassF1Row] = (),
    best_epochs: Sequence[MeanBestEpochs] = (),
) -> list[BesideRow]:
    """Return the paper's numbers with ours, where there is one of the same generator, arm and score.

    Args:
        published: of one paper.
        summary: rows of `summary`.
        by_class: rows of :func:`per_class_f1`.
        best_epochs: of :func:`~skindiff.classification.best_epoch.mean_best_epochs`, where tests were
            watched.

    Returns:
        One row per published number: ``what``, ``printed_in``, ``score``, ``paper`` and ``paper_gain``
        (percent and points), ``ours`` (mean, ci_low, ci_high, delta, delta_ci_low, delta_ci_high; None where
        it was not run), ``ours_best_epoch`` (mean, or None).
    """
    found: list[BesideRow] = []
    for row in published:
        generator = row.strategy if "syn" in row.arm else ""
        own = {"arm": row.arm, "strategy": generator or None, "test_group": row.test_group}
        series = [one for one in by_class if agree(one, own, list(own))]
        ours = _numbers(summary, own, row.metric) if row.class_name is None else _class_f1(series, row)
        best = [one for one in best_epochs if agree(one, own, list(own))]
        found.append(
            {
                "what": " ".join(part for part in (row.arm, row.strategy) if part),
                "printed_in": row.printed_in,
                "score": f"{row.metric} {row.class_name or ''}".strip(),
                "paper": row.percent,
                "paper_gain": printed_gain(row, published),
                "ours": ours,
                "ours_best_epoch": _best(best, row.metric) if row.class_name is None else None,
            }
        )
    return found


def beside_section(rows: Sequence[BesideRow], about: str) -> StudySection:
    """Return the paper's numbers beside ours.

    Args:
        rows: of :func:`beside_rows`.
        about: whose numbers these are, and what differs.
    """
    if not rows:
        return StudySection("Beside the paper")
    best = any(row["ours_best_epoch"] is not None for row in rows)
    headings = ["arm", "printed in", "score", "paper %", "ours %", "paper, gain", "ours, gain"]
    lines = [
        [
            row["what"],
            row["printed_in"],
            row["score"],
            f"{row['paper']:.2f}",
            _with_interval(row["ours"]),
            "" if row["paper_gain"] is None else f"{row['paper_gain']:+.2f}",
            _gain(row["ours"]),
        ]
        + ([_percent(row["ours_best_epoch"])] if best else [])
        for row in rows
    ]
    table = markdown_table([*headings, *(["ours %, best test epoch"] if best else [])], lines)
    return StudySection("Beside the paper", f"{about}\n\n{table}", after="Beside the paper")


def _best(found: Sequence[MeanBestEpochs], metric: str) -> float | None:
    if found and metric == "accuracy":
        return found[0]["best_accuracy"]
    return found[0]["auroc_at_best_accuracy"] if found and metric == "auroc" else None


def _numbers(summary: Sequence[SummaryRow], own: Mapping[str, object], metric: str) -> OwnNumbers | None:
    same = [row for row in reference_rows(summary) if row["metric"] == metric and agree(row, own, list(own))]
    if not same:
        return None
    first = same[0]
    low, high = deciding_interval(first)
    return {
        "mean": first["mean"],
        "ci_low": first["ci_low"],
        "ci_high": first["ci_high"],
        "delta": first["delta"],
        "delta_ci_low": low,
        "delta_ci_high": high,
    }


def _class_f1(series: Sequence[ClassF1Row], row: Published) -> OwnNumbers | None:
    known = series[0]["f1"].get(row.class_name or "") if series else None
    if known is None or known["mean"] is None:
        return None
    return {"mean": known["mean"], "ci_low": None, "ci_high": None, "delta": None}


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _with_interval(value: OwnNumbers | None) -> str:
    if value is None:
        return "not run"
    interval = (
        f" [{_percent(value['ci_low'])}, {_percent(value['ci_high'])}]" if value["ci_low"] is not None else ""
    )
    return _percent(value["mean"]) + interval


def _gain(value: OwnNumbers | None) -> str:
    if value is None or value["delta"] is None:
        return ""
    return f"{points(value['delta'])} [{points(value['delta_ci_low'])}, {points(value['delta_ci_high'])}]"
