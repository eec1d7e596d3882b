"""The table of a detector's scores, beside the printed ones of Bingol et al."""

from collections.abc import Sequence
from typing import Any

from skindiff.report.published.fitzpatrick import Published


def detection_markdown(rows: Sequence[dict[str, Any]], published: Sequence[Published] = ()) -> str:
    """Return rows of :func:`~skindiff.evaluation.detection.detection_rows` as Markdown, in percent."""
    printed = {(row.class_name, row.metric): f"{row.percent:.2f}" for row in published}
    headings = [
        "generator, class", "generated", "detected", "confidence", "held-out recall", "other classes",
        "share of recall", "paper, detected", "paper, confidence",
    ]  # fmt: skip
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1)]
    for row in rows:
        theirs = [printed.get((row["class_name"], metric), "") for metric in ("detection", "confidence")]
        shown = [_interval(row, name) for name in ("detection", "recall", "share")]
        confidence = "n/a" if row["confidence"] is None else f"{100 * row['confidence']:.1f}"
        name = f"{row['generator']}, {row['class_name']}"
        others = "n/a" if row.get("others") is None else f"{100 * row['others']:.1f}"
        lines.append([name, str(row["images"]), shown[0], confidence, shown[1], others, shown[2], *theirs])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _interval(row: dict[str, Any], name: str) -> str:
    values = [row[key] for key in (name, f"{name}_ci_low", f"{name}_ci_high")]
    if None in values:
        return "n/a"
    middle, low, high = (f"{100 * value:.1f}" for value in values)
    return f"{middle} [{low}, {high}]"
