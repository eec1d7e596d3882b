"""The table of a detector's scores, beside the printed ones of Bingol et al."""

from collections.abc import Sequence

from skindiff.evaluation.rows import DetectionRow
from skindiff.report.published.fitzpatrick import Published
from skindiff.report.study_section import markdown_table


def detection_markdown(rows: Sequence[DetectionRow], published: Sequence[Published] = ()) -> str:
    """Return rows of :mod:`~skindiff.evaluation.statistics.detections` as Markdown, in percent."""
    printed = {(row.class_name, row.metric): f"{row.percent:.2f}" for row in published}
    headings = [
        "generator, class", "generated", "detected", "confidence", "held-out recall", "other classes",
        "share of recall", "p, corrected", "paper, detected", "paper, confidence",
    ]  # fmt: skip
    lines = []
    for row in rows:
        theirs = [printed.get((row["class_name"], metric), "") for metric in ("detection", "confidence")]
        shown = [
            _interval(row["detection"], row["detection_ci_low"], row["detection_ci_high"]),
            _interval(row["recall"], row["recall_ci_low"], row["recall_ci_high"]),
            _interval(row["share"], row["share_ci_low"], row["share_ci_high"]),
        ]
        confidence = "n/a" if row["confidence"] is None else f"{100 * row['confidence']:.1f}"
        name = f"{row['generator']}, {row['class_name']}"
        other = row.get("others")
        others = "n/a" if other is None else f"{100 * other:.1f}"
        p_value = "n/a" if (value := row.get("share_p_corrected")) is None else f"{value:.3f}"
        ours = [str(row["images"]), shown[0], confidence, shown[1], others, shown[2], p_value]
        lines.append([name, *ours, *theirs])
    return markdown_table(headings, lines)


def _interval(*values: float | None) -> str:
    known = [f"{100 * value:.1f}" for value in values if value is not None]
    if len(known) < len(values):
        return "n/a"
    middle, low, high = known
    return f"{middle} [{low}, {high}]"
