"""How every picture of a report is drawn: its style, its colours, and its version for dark pages."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection
from matplotlib.colors import ListedColormap, to_hex, to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

DENSITY = 130
"""Pixels of a picture to an inch, 96 of which a page has."""
DARK = "dark"
"""Folder beside a picture that its version for dark pages goes into, where there is one."""
ARM_COLOURS = {
    "real": "#4c5663",
    "syn": "#c2700f",
    "real+syn": "#0b7a75",
    "real+duplicates": "#7f8b99",
    "real+colour": "#a4589c",
}
"""Colours of the arms that most studies have; at least 3:1 on white, as WCAG asks of graphics."""
LINES: tuple[str, ...] = (
    "#3b6fb6",
    "#b5473c",
    "#5a8f3d",
    "#8a6d3b",
    "#6a55a3",
    "#1f8aa5",
    "#c2528b",
    "#76801f",
)
"""Colours of what is no arm, and of arms that have none of their own."""
INK, FAINT, GRID = "#22272d", "#5d6670", "#e6e9ed"
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # names are no formulas
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a929c",
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.06,
}
_PALEST, _DARKEST = 0.5, 0.35
"""How far the shades of an arm's several series go, towards white and towards black."""
_SHEET, _LETTERS, _TINT = 12.3, 91.0, (-0.9, -3.1)
"""Lightness (CIELAB) that white and black have on a dark page, and a* and b* of its sheet, as in page.css."""


@contextmanager
def drawing(width: float, height: float, path: Path) -> Iterator[Figure]:
    """Give a figure in inches and save it without any trace of time or version, dark too where that is shown.

    Args:
        width: of the figure.
        height: of the figure.
        path: the PNG file. Where its folder has one named :data:`DARK`, the dark version goes there, under
            the same name; its photographs are as they are.
    """
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(width, height), dpi=DENSITY, layout="constrained")
        yield figure
        if layout := figure.get_layout_engine():
            layout.execute(figure)
        figure.set_layout_engine(None)  # once, for both versions
        figure.savefig(path, format="png", metadata={"Software": None})
        if (path.parent / DARK).is_dir():
            _darken(figure)
            figure.savefig(path.parent / DARK / path.name, format="png", metadata={"Software": None})


def wrapped(name: str, width: int = 30) -> str:
    """Return a name on lines of at most ``width`` characters: beside axes a longer one would leave them no
    room."""
    return "\n".join(textwrap.wrap(name, width)) or name


def bare(axes: Axes) -> None:
    """Take ticks, grid and frame from axes that hold an image."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def series_colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each series and for its arm, the same in every picture of the same series.

    An arm has its own colour, or one that is left in the order of ``names``; where several series are of one
    arm, each has a shade of it.

    Args:
        names: of series, as :func:`~skindiff.evaluation.statistics.verdicts.series_name` gives them: the arm,
            and after a space what tells it from others of the same arm.
    """
    by_arm: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        by_arm.setdefault(name.partition(" ")[0], []).append(name)
    others = [arm for arm in by_arm if arm not in ARM_COLOURS]
    free = LINES
    if len(others) > len(free):
        free = tuple(to_hex(colormaps["turbo"](place)) for place in np.linspace(0.05, 0.95, len(others)))
    own = {**ARM_COLOURS, **dict(zip(others, free, strict=False))}
    found = {arm: own[arm] for arm in by_arm}
    for arm, several in by_arm.items():
        found |= dict(zip(several, _shades(own[arm], len(several)), strict=True))
    return found


def colour_of(name: str, colours: Mapping[str, str]) -> str | None:
    """Return the colour of a series, or else that of its arm; None where it is no arm.

    Args:
        name: begins with that of an arm.
        colours: of :func:`series_colours`.
    """
    return colours.get(name) or colours.get(name.partition(" ")[0])


def _shades(colour: str, count: int) -> list[str]:
    if count == 1:
        return [colour]
    rgb = np.array(to_rgb(colour))
    steps = np.linspace(_PALEST, -_DARKEST, count)
    return [to_hex(rgb + step * (1 - rgb) if step > 0 else rgb * (1 + step)) for step in steps]


def _dark(colours: Any) -> NDArray[np.float64]:
    """Return colours as RGBA with light and dark changed about, hue and transparency kept."""
    found = to_rgba_array(colours)
    return np.array([_dark_one(tuple(found[0]))]) if len(found) == 1 else _dark_all(found)


@lru_cache(maxsize=1024)
def _dark_one(colour: tuple[float, ...]) -> tuple[float, ...]:
    """Pictures have thousands of parts in few colours."""
    return tuple(_dark_all(np.array([colour]))[0])


def _dark_all(found: NDArray[np.float64]) -> NDArray[np.float64]:
    lab = rgb2lab(found[:, :3])
    light = lab[:, :1] / 100
    lab += light * [0.0, *_TINT]
    lab[:, :1] = _LETTERS - (_LETTERS - _SHEET) * light
    found[:, :3] = np.clip(lab2rgb(lab), 0, 1)
    return np.asarray(found)


def _darken(figure: Figure) -> None:
    """Change the colours of all that is drawn, but for images that have colours of their own."""
    for artist in figure.findobj():
        _recolour(artist)


def _recolour(artist: Artist) -> None:
    if isinstance(artist, Text):
        artist.set_color(_dark(artist.get_color())[0])
    elif isinstance(artist, Line2D):
        colour, face, edge = (
            _dark(one)[0]
            for one in (artist.get_color(), artist.get_markerfacecolor(), artist.get_markeredgecolor())
        )
        artist.set(color=colour, markerfacecolor=face, markeredgecolor=edge)
    elif isinstance(artist, (Patch, Collection)):
        for part in ("facecolor", "edgecolor"):
            colours = to_rgba_array(getattr(artist, f"get_{part}")())
            if colours[:, 3].any():
                artist.set(**{part: _dark(colours) if isinstance(artist, Collection) else _dark(colours)[0]})
    elif isinstance(artist, AxesImage) and _is_mapped(artist):
        colours = artist.get_cmap()(np.linspace(0, 1, 256))
        artist.set_cmap(ListedColormap(_dark(colours)))


def _is_mapped(image: ScalarMappable) -> bool:
    """Whether an image holds numbers that a colour map shows, and not colours."""
    values = image.get_array()
    return values is not None and values.ndim == 2
