"""The pictures of a report: the same bytes for the same content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from skindiff.classification.cells import Cell
from skindiff.classification.rows import METRICS
from skindiff.evaluation.statistics.paired_bootstrap import find_row
from skindiff.evaluation.statistics.rows import SERIES, Difference, PopulationColumn, SummaryRow, values_of
from skindiff.evaluation.statistics.verdicts import series_name
from skindiff.measures.skin.tone import ToneShift
from skindiff.report.confusions import confusion_counts
from skindiff.report.drawing import FAINT, LINES, bare, colour_of, drawing, series_colours, wrapped
from skindiff.report.tables import deciding_interval
from skindiff.seeding import numpy_generator

Log = Sequence[Mapping[str, float]]

_SOURCE, _SYNTHETIC, _TARGET = "#c98a45", "#0b7a75", "#5b3a1e"
_ACROSS = 7
"""Images that can stand side by side."""
_DEEP = 74
"""Percent from which on a cell of a confusion matrix is dark, and its number white."""
_WIDE = 9.4
"""Inches that a picture may be wide; a page then shows its letters at their size."""


@dataclass(frozen=True)
class SampleRow:
    """One line of the sample grid: a source (or None for text-to-image) and its synthetic images.

    Images are RGB uint8, ``(height, width, 3)``; ``title`` says what they show, ``captions`` what was asked.
    """

    title: str
    source: NDArray[np.uint8] | None
    synthetic: tuple[NDArray[np.uint8], ...]
    captions: tuple[str, ...] = ()


def draw_samples(rows: Sequence[SampleRow], path: Path) -> None:
    """Draw a grid, one line per :class:`SampleRow`: the source, then its synthetic images.

    Where there are more lines than images in one, and not too many, each is a column.
    """
    images = 1 + max(len(row.synthetic) for row in rows)
    turned = images < len(rows) <= _ACROSS
    shape = (images, len(rows)) if turned else (len(rows), images)
    size = (1.35 * shape[1] + 1.2, 1.45 * shape[0] + 0.4)
    with drawing(*size, path) as figure:
        grid = figure.subplots(*shape, squeeze=False)
        for number, row in enumerate(rows):
            for place, axes in enumerate(grid[:, number] if turned else grid[number]):
                _draw_sample(axes, row, place)
            first = grid[0, number] if turned else grid[number, 0]
            (_above if turned else _beside)(first, row.title, "bold")
        for place in range(images):
            first = grid[place, 0] if turned else grid[0, place]
            (_beside if turned else _above)(first, "synthetic" if place else "source", "normal")


def _draw_sample(axes: Axes, row: SampleRow, place: int) -> None:
    bare(axes)
    shown = (row.source, *row.synthetic)
    image = shown[place] if place < len(shown) else None
    if 0 < place <= len(row.captions):
        axes.set_xlabel(row.captions[place - 1], fontsize=8, labelpad=2)
    if image is not None:
        axes.imshow(image, interpolation="nearest" if image.shape[0] < 128 else "auto")
    elif place == 0:
        axes.text(0.5, 0.5, "text\nonly", ha="center", va="center", color=FAINT)


def _beside(axes: Axes, text: str, weight: str) -> None:
    label = axes.set_ylabel(text, rotation=0, ha="right", va="center", labelpad=8)
    label.set_fontweight(weight)


def _above(axes: Axes, text: str, weight: str) -> None:
    axes.set_title(text, loc="center", fontweight=weight, fontsize=9)


def draw_confusions(groups: Mapping[str, Sequence[Cell]], path: Path) -> None:
    """Draw one confusion matrix per name in ``groups``, in percent of the true class, cells pooled.

    As many stand side by side as can be read.
    """
    names = next(iter(groups.values()))[0].class_names
    labels = 0.35 + 0.085 * max(map(len, names))  # inches, at 9 points
    side = 0.42 * len(names) + 0.2
    columns = max(1, min(3, len(groups), int((_WIDE - labels) // side)))
    lines = -(-len(groups) // columns)
    with drawing(columns * side + labels + 0.3, lines * (side + 0.35 + 0.55 * labels) + 0.4, path) as figure:
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes in grid[len(groups) :]:
            axes.set_visible(False)
        for axes, (title, cells) in zip(grid, groups.items(), strict=False):
            counts = confusion_counts(cells)
            percent = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
            axes.imshow(percent, cmap="BuGn", vmin=0, vmax=100)
            axes.grid(visible=False)
            axes.set_title(title)
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(len(names)), names)
            axes.tick_params(length=0, labelbottom=True)
            for true, said in np.ndindex(percent.shape):
                colour = "white" if percent[true, said] > _DEEP else "black"
                text = f"{percent[true, said]:.0f}"
                axes.text(said, true, text, ha="center", va="center", fontsize=9, color=colour)
        figure.supxlabel("called", fontsize=9)
        figure.supylabel("true class (percent of its images)", fontsize=9)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a running mean over about a twentieth of the run, looking back only."""
    window = max(1, len(values) // 20)
    summed = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return np.asarray((summed[ends] - summed[starts]) / (ends - starts))


def _draw_log(axes: Axes, log: Log, key: str, colour: str, label: str | None) -> None:
    points = np.array([(row["step"], row[key]) for row in log if row.get(key) is not None], dtype=float)
    if not len(points):
        return
    steps, values = points.T
    if key == "loss":
        axes.plot(steps, values, color=colour, alpha=0.18, linewidth=0.6)
        axes.plot(steps, _smooth(values), color=colour, linewidth=1.3, label=label)
    else:
        style = "--" if key == "validation_loss" else "-"
        marker = "." if len(points) < 40 else ""
        axes.plot(steps, values, style, marker=marker, color=colour, linewidth=1.2, markersize=4, label=label)


def draw_curves(
    curves: Mapping[str, Mapping[str, Log]], path: Path, colours: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Draw training curves.

    Args:
        curves: for each training its runs by name. A row of a log holds ``step``, ``loss`` and, where it was
            validated, ``validation_loss`` (dashed) and ``validation_balanced_accuracy``, which gets a
            panel of its own.
        path: the PNG file.
        colours: of :func:`~skindiff.report.drawing.series_colours`, for runs that are arms.
    """
    score = "validation_balanced_accuracy"
    panels: list[tuple[str, Mapping[str, Log], tuple[str, ...]]] = []
    for title, runs in curves.items():
        panels.append((f"{title}: loss", runs, ("validation_loss", "loss")))
        if any(score in row for log in runs.values() for row in log):
            panels.append((f"{title}: validation balanced accuracy", runs, (score,)))
    heights = [max(2.4, _LEGEND_LINE * _legend_lines(runs) + 0.9) for _, runs, _ in panels]
    with drawing(_WIDE, sum(heights) + 0.3, path) as figure:
        grid = figure.subplots(len(panels), squeeze=False, height_ratios=heights).ravel()
        for axes, (title, runs, keys) in zip(grid, panels, strict=True):
            for number, (label, log) in enumerate(runs.items()):
                colour = colour_of(label, colours) or LINES[number % len(LINES)]
                for key in keys:
                    _draw_log(axes, log, key, colour, wrapped(label) if key == keys[-1] else None)
            axes.set_title(title)
            axes.set_xlabel("optimiser step")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if _legend_lines(runs):
                axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        note = "losses: pale at each step, full smoothed, dashed or dots on validation images"
        figure.supxlabel(note, fontsize=9, color=FAINT)


_LEGEND_LINE = 0.19
"""Height of a line of a legend in inches."""


def _legend_lines(runs: Mapping[str, Log]) -> int:
    """Return how many lines a legend beside a panel has; none where one would say nothing, or too much."""
    named = 1 < len(runs) <= 2 * len(LINES)
    return sum(wrapped(label).count("\n") + 1 for label in runs) if named else 0


def draw_tone(tones: Mapping[str, ToneShift], path: Path) -> None:
    """Draw, for each transfer, the pairs source -> synthetic beside the target group's angles."""
    with drawing(7.6, 3.1 * len(tones), path) as figure:
        grid = figure.subplots(len(tones), 2, squeeze=False, width_ratios=(3, 2), sharey="row")
        for (title, tone), (pairs, spread) in zip(tones.items(), grid, strict=True):
            _draw_pairs(pairs, tone)
            _draw_spread(spread, tone)
            share, low, high = (100 * value for value in tone.share)
            pairs.set_title(f"{title}: {share:.0f}% of the gap closed [{low:.0f}, {high:.0f}]")
            pairs.set_ylabel("ITA of bare skin (degrees)\ndark  \u2190      \u2192  light")


def _draw_pairs(axes: Axes, tone: ToneShift) -> None:
    count = len(tone.source)
    shown = numpy_generator("tone picture").permutation(count)[:150]
    for row in shown.tolist():
        axes.plot([0, 1], [tone.source[row], tone.synthetic[row]], color="#9aa5b1", alpha=0.35, linewidth=0.7)
    jitter = numpy_generator("tone jitter").uniform(-0.12, 0.12, len(tone.target))
    axes.scatter(2 + jitter, tone.target, s=9, color=_TARGET, alpha=0.5, linewidths=0)
    columns = ((0, tone.source, _SOURCE), (1, tone.synthetic, _SYNTHETIC), (2, tone.target, _TARGET))
    for place, angles, colour in columns:
        middle = float(np.median(angles))
        axes.plot(
            [place - 0.22, place + 0.22], [middle, middle], color=colour, linewidth=3, solid_capstyle="butt"
        )
        side, aligned = (-0.25, "right") if place == 0 else (0.25, "left")
        axes.text(
            place + side, middle, f"{middle:.0f}", color=colour, va="center", ha=aligned, fontweight="bold"
        )
    axes.set_xticks(
        [0, 1, 2], [f"source\n({count} pairs)", "synthetic", f"real target\n({len(tone.target)})"]
    )
    axes.set_xlim(-0.55, 2.6)


def _draw_spread(axes: Axes, tone: ToneShift) -> None:
    edges = np.linspace(-90, 90, 37)
    groups = (
        ("source", tone.source, _SOURCE),
        ("synthetic", tone.synthetic, _SYNTHETIC),
        ("real target", tone.target, _TARGET),
    )
    for label, angles, colour in groups:
        share = np.histogram(angles, edges)[0] / len(angles) * 100
        axes.stairs(share, edges, orientation="horizontal", color=colour, fill=True, alpha=0.28)
        axes.stairs(share, edges, orientation="horizontal", color=colour, linewidth=1.4, label=label)
    axes.set_xlabel("percent of images")
    axes.set_title("distributions")
    axes.legend()


_FOREST_NAME = 48
"""Characters of a line beside a panel of differences."""


def draw_forest(
    rows: Sequence[SummaryRow], metrics: Sequence[str], path: Path, colours: Mapping[str, str]
) -> None:
    """Draw judged differences in points with the intervals that decide.

    Args:
        rows: rows of `summary`; full markers are primary contrasts, hollow ones all others.
        metrics: a panel for each.
        path: the PNG file.
        colours: of :func:`~skindiff.report.drawing.series_colours`.
    """
    lines = [row for row in rows if row["metric"] == metrics[0] and row["role"] is not None]
    names = [wrapped(f"{_forest_name(row, rows)} - {row['reference']}", _FOREST_NAME) for row in lines]
    height = sum(0.2 + 0.14 * (name.count("\n") + 1) for name in names)
    asked = {(*_contrast(row), row["metric"]) for row in rows if row["role"] == "primary"}
    with drawing(3.1 * len(metrics) + 1.8, height + 1.3, path) as figure:
        panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
        for panel, metric in zip(panels, metrics, strict=True):
            panel.axvline(0, color="#4c5663", linewidth=1)
            for place, line in enumerate(lines):
                row = find_row(rows, metric=metric, **dict(zip(_CONTRAST, _contrast(line), strict=True)))
                colour = colour_of(_series(line, rows), colours) or LINES[0]
                _draw_difference(panel, -place, row, colour, full=(*_contrast(line), metric) in asked)
            panel.set_title(METRICS[metric])
            panel.set_xlabel("points more than the reference")
            panel.grid(visible=False, axis="y")
        panels[0].set_yticks([-place for place in range(len(lines))], names)
        panels[0].set_ylim(-len(lines) + 0.2, 0.5)
        panels[0].tick_params(axis="y", length=0)
        if asked:
            figure.supxlabel(
                "full circle: the primary contrast; hollow: the others, exploratory ones corrected together",
                fontsize=9,
                color=FAINT,
            )


_CONTRAST = (*SERIES, "reference")


def _contrast(row: SummaryRow) -> tuple[object, ...]:
    return values_of(row, _CONTRAST)


def study_colours(summary: Sequence[SummaryRow]) -> dict[str, str]:
    """Return the colours of all series of `summary`, for every picture of a report."""
    return series_colours([_series(row, summary) for row in summary])


def _series(row: SummaryRow, rows: Sequence[SummaryRow]) -> str:
    same = [other for other in rows if other["scenario"] == row["scenario"]]
    return series_name(row, [other for other in same if other["test_group"] == row["test_group"]])


def _forest_name(row: SummaryRow, rows: Sequence[SummaryRow]) -> str:
    name = _series(row, rows)
    columns: tuple[PopulationColumn, ...] = ("scenario", "test_group", "architecture", "preset")
    for field in columns:
        if len({other[field] for other in rows}) > 1:
            name += f", {row[field]}"
    return name


def _draw_difference(axes: Axes, place: float, row: Difference, colour: str, *, full: bool) -> None:
    if row["delta"] is None:
        return
    low, high = deciding_interval(row)
    if low is not None and high is not None:
        axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=2.6 if full else 1.6)
    face = colour if full else "white"
    axes.plot(
        100 * row["delta"], place, "o", color=colour, markerfacecolor=face, markersize=6 if full else 4.5
    )
