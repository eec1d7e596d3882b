"""The picture of a comparison of runs: differences to `real` by arm, a colour for every run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.lines import Line2D

from skindiff.evaluation.statistics.rows import Difference
from skindiff.report.drawing import FAINT, LINES, drawing, wrapped
from skindiff.report.tables import deciding_interval

_STEP = 0.22
"""Distance of two runs' lines, where arms are one apart."""


@dataclass(frozen=True)
class RunDifference:
    """A run's name, and the row of its `summary` with the difference of one arm to its own `real`."""

    run: str
    row: Difference


def draw_runs(
    differences: Mapping[str, Sequence[RunDifference]], runs: Sequence[str], what: str, path: Path
) -> None:
    """Draw differences in points with their intervals.

    Args:
        differences: by arm, in the order from the top.
        runs: names in the order of their colours.
        what: the score, in words.
        path: the PNG file.
    """
    colours = {name: LINES[place % len(LINES)] for place, name in enumerate(runs)}
    height = 1 + _STEP * (len(runs) - 1)
    with drawing(8.2, 0.5 * height * len(differences) + 1.4, path) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=FAINT, linewidth=1)
        for place, found in enumerate(differences.values()):
            for one in found:
                level = -place * height - _STEP * list(runs).index(one.run)
                low, high = deciding_interval(one.row)
                if low is not None and high is not None:
                    axes.plot([100 * low, 100 * high], [level, level], color=colours[one.run], linewidth=2)
                assert one.row["delta"] is not None
                axes.plot(100 * one.row["delta"], level, "o", color=colours[one.run], markersize=5)
        middles = [-place * height - _STEP * (len(runs) - 1) / 2 for place in range(len(differences))]
        axes.set_yticks(middles, list(differences))
        axes.set_ylim(-len(differences) * height + 0.3, 0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_title(what)
        axes.set_xlabel("points more than the run's own real arm")
        marks = [Line2D([], [], color=colour, marker="o", linewidth=2) for colour in colours.values()]
        axes.legend(marks, list(map(wrapped, colours)), loc="center left", bbox_to_anchor=(1.0, 0.5))
