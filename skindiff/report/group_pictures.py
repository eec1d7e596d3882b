"""Bars by group: recall of every skin type and arm, with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes

from skindiff.corpora.attribute import SKIN_COLUMN, titled
from skindiff.evaluation.fairness.rows import FairnessContent, Population
from skindiff.evaluation.statistics.verdicts import series_name
from skindiff.report.drawing import FAINT, INK, colour_of, drawing, series_colours, wrapped


@dataclass(frozen=True)
class Bar:
    """One bar: a share in [0, 1] and the ends of its interval."""

    height: float
    low: float
    high: float


Bars = Mapping[str, Mapping[str, Bar]]
"""Bars by series and group."""


def group_bars(fairness: FairnessContent) -> dict[str, Bars]:
    """Return recall by group as bars, for every population by series; suppressed groups have none.

    Args:
        fairness: of :func:`skindiff.evaluation.fairness.content.fairness_content`.
    """
    found: dict[str, Bars] = {}
    by = fairness["settings"].get("by", [SKIN_COLUMN]) if fairness else []
    for one in fairness.get("populations", ()):
        bars = {
            series_name(arm, one["arms"]): {
                (titled(by[0], name) if len(by) == 1 else name): Bar(
                    recall["value"], recall["low"], recall["high"]
                )
                for name, group in arm["groups"].items()
                if (recall := group.get("recall"))
            }
            for arm in one["arms"]
        }
        if any(bars.values()):
            found[_title(one)] = bars
    return found


def chance_recalls(fairness: FairnessContent) -> dict[str, float]:
    """Return the macro recall of a guess, for every population by the title of its panel."""
    return {_title(one): 1 / len(one["classes"]) for one in fairness.get("populations", ()) if one["classes"]}


def _title(population: Population) -> str:
    return f"{population['architecture']}, scenario {population['scenario']}, preset {population['preset']}"


def draw_bars(
    populations: Mapping[str, Bars],
    path: Path,
    what: str = "macro recall, percent",
    chances: Mapping[str, float] = MappingProxyType({}),
    colours: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Draw bars, one panel per population: groups along the axis, one bar per series in each.

    Args:
        populations: bars by the title of their panel; at least one bar in each.
        path: the PNG file.
        what: the height of a bar, in words.
        chances: height of a guess, in [0, 1], by the title of a panel; a dashed line.
        colours: of :func:`~skindiff.report.drawing.series_colours`; those of each panel's series alone when
            left out.
    """
    with drawing(9.4, 3.2 * len(populations), path) as figure:
        panels = figure.subplots(len(populations), 1, squeeze=False)[:, 0]
        for panel, (title, bars) in zip(panels, populations.items(), strict=True):
            if title in chances:
                panel.axhline(100 * chances[title], color=FAINT, linewidth=1, linestyle="--", label="chance")
            _draw_panel(panel, bars, colours or series_colours(list(bars)))
            panel.set_title(title)
            panel.set_ylabel(what)


def _draw_panel(axes: Axes, bars: Bars, colours: Mapping[str, str]) -> None:
    groups = list(dict.fromkeys(name for by_group in bars.values() for name in by_group))
    width = 0.84 / len(bars)
    for number, (name, by_group) in enumerate(bars.items()):
        middles = np.array([groups.index(group) for group in by_group]) - 0.42 + width * (number + 0.5)
        heights, lows, highs = (
            100 * np.array([getattr(bar, part) for bar in by_group.values()])
            for part in ("height", "low", "high")
        )
        axes.bar(
            middles, heights, 0.9 * width, color=colour_of(name, colours), alpha=0.75, label=wrapped(name)
        )
        axes.vlines(middles, lows, highs, color=INK, linewidth=1.1)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlim(-0.55, len(groups) - 0.45)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    highest = max(bar.high for by_group in bars.values() for bar in by_group.values())
    axes.set_ylim(0, min(100, 10 * np.ceil(10.5 * highest)))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
