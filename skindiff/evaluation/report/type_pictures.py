"""Bars by group: recall of every skin type and arm, with its interval or with every run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from skindiff.corpora.schema import SKIN_TYPES
from skindiff.evaluation.report.pictures import drawing, series_colours
from skindiff.evaluation.report.tables import populations
from skindiff.evaluation.statistics.verdicts import series_name


@dataclass(frozen=True)
class Bar:
    """One bar: a share in [0, 1], the ends of its interval (None where there is none), and single runs."""

    height: float
    low: float | None = None
    high: float | None = None
    runs: tuple[float, ...] = ()


_ORDER = tuple(f"type {name}" for name in SKIN_TYPES)

Bars = Mapping[str, Mapping[str, Bar]]
"""Bars by series and group."""


def group_bars(content: Mapping[str, Any]) -> tuple[dict[str, dict[str, dict[str, Bar]]], str]:
    """Return recall by group as bars, for every population by series, and a caption.

    Args:
        content: of ``report.json``. Where it has ``fairness``, groups, intervals and what is suppressed are
            those of :func:`skindiff.evaluation.fairness.content.fairness_content`; else the bars are means
            over the runs in ``results``, by skin type.
    """
    if content.get("fairness"):
        return _fairness_bars(content["fairness"]), "Recall by group, with 95% intervals."
    return _recall_bars(content["results"]), "Recall by skin type; dots are single runs."


def _fairness_bars(fairness: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Bar]]]:
    found = {}
    for one in fairness["populations"]:
        title = f"{one['architecture']}, scenario {one['scenario']}, preset {one['preset']}"
        found[title] = {
            series_name(arm, one["arms"]): {
                _group_name(name): Bar(
                    group["recall"]["value"], group["recall"]["low"], group["recall"]["high"]
                )
                for name, group in arm["groups"].items()
                if group.get("recall")
            }
            for arm in one["arms"]
        }
    return {title: bars for title, bars in found.items() if any(bars.values())}


def _recall_bars(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Bar]]]:
    found: dict[str, dict[str, dict[str, Bar]]] = {}
    for (scenario, group, architecture, preset), rows in populations(results).items():
        runs: dict[str, dict[str, list[float]]] = {}
        for row in rows:
            for skin_type, recall in row["per_skin_type_recall"].items():
                if recall is not None:
                    by_type = runs.setdefault(series_name(row, rows), {})
                    by_type.setdefault(_group_name(skin_type), []).append(recall)
        if runs:
            title = f"{architecture}, scenario {scenario}, {group} test images, preset {preset}"
            found[title] = {
                name: {kind: Bar(float(np.mean(each)), runs=tuple(each)) for kind, each in by_type.items()}
                for name, by_type in runs.items()
            }
    return found


def _group_name(name: str) -> str:
    return f"type {name}" if name in SKIN_TYPES else name


def draw_bars(populations_of: Mapping[str, Bars], path: Path, what: str = "macro recall, percent") -> None:
    """Draw bars, one panel per population: groups along the axis, one bar per series in each.

    Args:
        populations_of: bars by the title of their panel.
        path: the PNG file.
        what: the height of a bar, in words.
    """
    with drawing(9.4, 3.2 * len(populations_of), path) as figure:
        panels = figure.subplots(len(populations_of), 1, squeeze=False)[:, 0]
        for panel, (title, bars) in zip(panels, populations_of.items(), strict=True):
            _draw_panel(panel, bars)
            panel.set_title(title)
            panel.set_ylabel(what)


def _draw_panel(axes: Axes, bars: Bars) -> None:
    present = {name for by_group in bars.values() for name in by_group}
    groups = [*(name for name in _ORDER if name in present), *sorted(present - set(_ORDER))]
    width, colours = 0.84 / len(bars), series_colours(list(bars))
    for number, (name, by_group) in enumerate(bars.items()):
        for place, group in enumerate(groups):
            if group in by_group:
                middle = place - 0.42 + width * (number + 0.5)
                label = name if group == next(group for group in groups if group in by_group) else None
                _draw_bar(axes, middle, 0.9 * width, by_group[group], colours[name], label)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlim(-0.55, len(groups) - 0.45)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    highest = max(max(bar.height, bar.high or 0, *bar.runs) for one in bars.values() for bar in one.values())
    axes.set_ylim(0, min(100, 10 * np.ceil(10.5 * highest)))
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_bar(axes: Axes, middle: float, width: float, bar: Bar, colour: str, label: str | None) -> None:
    axes.bar(middle, 100 * bar.height, width, color=colour, alpha=0.75, label=label)
    if bar.low is not None and bar.high is not None:
        axes.plot([middle, middle], [100 * bar.low, 100 * bar.high], color="#22272d", linewidth=1.1)
    if len(bar.runs) > 1:
        spread = np.linspace(-0.25, 0.25, len(bar.runs)) * width
        axes.scatter(middle + spread, 100 * np.array(bar.runs), s=7, color="#22272d", alpha=0.6, linewidths=0)
