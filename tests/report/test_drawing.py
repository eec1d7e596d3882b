"""The pictures as they are drawn: colours, letters, legends, and the versions for dark pages."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from skindiff.measures.copying.near_copies import NearCopies
from skindiff.report.copying import closest_pairs_picture
from skindiff.report.drawing import ARM_COLOURS, DARK, DENSITY, LINES, drawing, series_colours
from skindiff.report.pictures import SampleRow, draw_confusions, draw_curves, draw_samples
from skindiff.report.write import write_report
from tests.evaluation.made_up import make_cells
from tests.report.test_assembly import rows
from tests.report.test_write import small_report

Figures = dict[str, Figure]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Figures:
    """Every figure that is saved, by the name of its file."""
    found: Figures = {}
    save = Figure.savefig

    def keep(self: Figure, path: Path, **settings: Any) -> None:
        found.setdefault(Path(path).name, self)
        save(self, path, **settings)

    monkeypatch.setattr(Figure, "savefig", keep)
    return found


def line_colours(figure: Figure) -> set[str]:
    return {to_hex(line.get_color()) for axes in figure.axes for line in axes.lines}


def bar_colours(figure: Figure) -> set[str]:
    return {to_hex(patch.get_facecolor()) for axes in figure.axes for patch in axes.patches}


def test_an_arm_has_one_colour_in_every_picture(
    figures: Figures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skindiff.report.drawing.DARK", "none")
    arms = ["real", "syn", "real+syn", "real+syn:kept", "real+colour"]
    log = [{"step": float(step), "loss": 1 / step} for step in range(1, 9)]
    curves = {"classifiers, resnet18": {f"{arm} x 5" if "syn" in arm else arm: log for arm in arms}}
    cells = make_cells(dict.fromkeys(arms, 1.0) | {"real+syn": 1.6}, images=60, split_seeds=(0, 1, 2))
    write_report(tmp_path, small_report(cells=cells, curves=curves))
    colours = series_colours(arms)
    assert len({colours[arm] for arm in arms}) == len(arms)
    compared = {colours[arm] for arm in arms if arm != "real"}
    assert compared <= line_colours(figures["differences.png"])
    assert set(colours.values()) <= bar_colours(figures["fairness.png"])
    assert set(colours.values()) == line_colours(figures["training.png"])


def test_series_of_an_arm_are_shades_of_its_colour() -> None:
    colours = series_colours(["real", "real+syn ti", "real+syn lora", "other"])
    assert colours["real+syn"] == ARM_COLOURS["real+syn"]
    assert colours["other"] == LINES[0]
    shades = [colours[name] for name in ("real+syn ti", "real+syn lora")]
    assert len({*shades, *ARM_COLOURS.values()}) == 2 + len(ARM_COLOURS)


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    def luminance(colour: Sequence[float]) -> float:
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
        return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("colour", [*ARM_COLOURS.values(), *LINES])
def test_colours_can_be_seen_on_both_themes(colour: str, tmp_path: Path) -> None:
    (tmp_path / DARK).mkdir()
    with drawing(1, 1, tmp_path / "a.png") as figure:
        axes = figure.subplots()
        axes.axis("off")
        axes.plot([0, 1], [0.5, 0.5], color=colour, linewidth=40)
    for path in (tmp_path / "a.png", tmp_path / DARK / "a.png"):
        shown = pixels(path) / 255
        assert contrast(shown[0, 0], shown[DENSITY // 2, DENSITY // 2]) >= 3


def test_the_dark_version_is_on_the_dark_sheet_and_leaves_photographs(tmp_path: Path) -> None:
    (tmp_path / DARK).mkdir()
    photograph = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    draw_samples([SampleRow("ring", photograph, (photograph,), ("V",))], tmp_path / "a.png")
    light, dark = pixels(tmp_path / "a.png"), pixels(tmp_path / DARK / "a.png")
    assert tuple(light[0, 0]) == (255, 255, 255)
    assert np.abs(dark[0, 0].astype(int) - (0x1D, 0x21, 0x25)).max() <= 2  # --sheet of page.css
    assert (light == dark).all(2).mean() > 0.1  # the two photographs
    assert dark.max() > 200  # letters


def test_legends_lie_beside_curves_and_steps_are_whole(figures: Figures, tmp_path: Path) -> None:
    log = [{"step": step, "loss": 1.0} for step in (1, 2, 3)]
    draw_curves({"LoRA": {f"seed {seed}": log for seed in range(5)}}, tmp_path / "training.png")
    (axes,) = figures["training.png"].axes
    legend = axes.get_legend()
    assert legend is not None
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    low, high = axes.get_xlim()
    assert all(tick == round(tick) for tick in axes.get_xticks() if low <= tick <= high)


@pytest.mark.parametrize("name", ["a name of many words " * 4, "a_name_of_one_word" * 5])
def test_long_names_leave_the_axes_their_room(figures: Figures, tmp_path: Path, name: str) -> None:
    log = [{"step": step, "loss": 1.0} for step in (1, 2, 3)]
    runs = {f"{name}{number}": log for number in range(12)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as "axes sizes collapsed to zero"
        draw_curves({"LoRA": runs, "probe": {"seed 0": log, name: log}}, tmp_path / "training.png")
    for axes in figures["training.png"].axes:
        legend = axes.get_legend()
        assert legend is not None
        assert axes.get_window_extent().width > 300
        assert legend.get_window_extent().height < axes.get_window_extent().height + 90


def test_confusions_are_shown_at_the_size_of_their_letters(figures: Figures, tmp_path: Path) -> None:
    cells = make_cells({"real": 1.0}, images=28, split_seeds=(0,))
    draw_confusions({f"arm {number}": cells for number in range(6)}, tmp_path / "few.png")
    names = ("nodule", "ulcer", "papules", "plaque", "excoriations", "ring", "track")
    wide = [replace(cell, class_names=names, probabilities=np.eye(7)[cell.labels]) for cell in cells]
    draw_confusions({f"arm {number}": wide for number in range(6)}, tmp_path / "many.png")
    for name in ("few.png", "many.png"):
        assert pixels(tmp_path / name).shape[1] <= 9.8 * DENSITY  # what a page shows without scaling
        texts = [text for axes in figures[name].axes for text in axes.texts]
        assert min(text.get_fontsize() for text in texts) >= 9


def test_rows_of_the_closest_pairs_are_named(figures: Figures, tmp_path: Path) -> None:
    images = rows(3, [0, 1])
    pairs = [SimpleNamespace(other_similarity=0.9, other_source=name) for name in images["image_id"]]
    *_, draw = closest_pairs_picture("ddpm", cast(NearCopies, SimpleNamespace(rows=pairs)), images, images)
    draw(tmp_path / "pairs.png")
    labels = [axes.get_ylabel() for axes in figures["pairs.png"].axes]
    assert labels[0] == "synthetic"
    assert "training" in labels
