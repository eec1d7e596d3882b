"""Draw README's picture from a finished study of skin-type transfer on phantom images.

    accelerate launch recipes/fitz_lora.py
    python scripts/draw_readme_picture.py runs/fitz_lora_smoke docs/what-it-does.png

Above: light-skinned sources, one of each class and chosen by chance, and their transfers, each with
the tone of its bare skin. Below: what classifiers gained on dark skin. A run on photographs is refused.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray
from PIL import Image

from recipes.fitz_lora import FitzLoraConfig
from skindiff.config import parse_config
from skindiff.corpora.registry import prepare_corpus
from skindiff.errors import SkindiffError
from skindiff.evaluation.statistics.rows import SummaryRow
from skindiff.measures.skin.tone import image_ita
from skindiff.report.drawing import ARM_COLOURS
from skindiff.report.read import read_report
from skindiff.seeding import numpy_generator
from skindiff.synthesis.writer import load_synthetic

LARGEST_BYTES = 200_000
"""README's picture is in git, and stays small."""
_INK, _FAINT = "#2b3036", "#667080"
_MEANINGS = {
    "real": "images at hand",
    "syn": "synthetic images alone",
    "real+syn": "both",
    "real+duplicates": "at hand and repeats (control)",
    "real+colour": "at hand and recoloured (control)",
}


@dataclass(frozen=True)
class Shown:
    """A source and its transfers: RGB images by skin type, the source's own type first."""

    label: str
    images: dict[str, NDArray[np.uint8]]


def main(run: Path, output: Path, seed: int = 0) -> None:
    """Draw the picture of ``run`` into ``output``; ``seed`` chooses the sources."""
    config = parse_config(FitzLoraConfig, [], default=run / "config.yaml")
    if config.corpus.name != "phantom":
        sys.exit(f"error: {run} is on {config.corpus.name}: README shows no photographs, give a phantom run")
    with tempfile.TemporaryDirectory() as folder:
        corpus = prepare_corpus(config.corpus, Path(folder)).dataset
        stage = sorted(run.glob("stages/synthesis-img2img-ti-lora-*/data"))[0]
        shown = choose(load_synthetic(stage), corpus, seed)
    summary = read_report(run)["summary"]
    first = summary[0]["architecture"]
    rows = [row for row in summary if (row["metric"], row["architecture"]) == ("balanced_accuracy", first)]
    draw(shown, rows, output)
    shrink(output)


def choose(drawn: Dataset, corpus: Dataset, seed: int) -> list[Shown]:
    """Return a light source of each class, by chance among those that were transferred to most types."""
    place = {image_id: row for row, image_id in enumerate(corpus["image_id"][:])}
    by_source: dict[str, dict[str, int]] = {}
    for row, (source, skin_type) in enumerate(zip(drawn["source_id"][:], drawn["skin_type"][:], strict=True)):
        by_source.setdefault(source, {})[skin_type] = row
    names: list[str] = corpus.features["label"].names
    found: dict[str, Shown] = {}
    most = max(map(len, by_source.values()))
    whole = sorted(source for source, rows in by_source.items() if len(rows) == most)
    for source in numpy_generator("readme", seed).permutation(whole):
        row = corpus[place[str(source)]]
        images = {row["skin_type"]: row["image"]}
        images |= {kind: drawn[by_source[source][kind]]["image"] for kind in sorted(by_source[source])}
        pixels = {kind: np.asarray(image.convert("RGB")) for kind, image in images.items()}
        found.setdefault(names[row["label"]], Shown(names[row["label"]], pixels))
    return [found[name] for name in sorted(found)]


def draw(shown: Sequence[Shown], scores: Sequence[SummaryRow], output: Path) -> None:
    """Draw images with their tones above, scores with their intervals below."""
    lines = len(shown[0].images)
    tall = 3.65 + 1.32 * lines
    figure = Figure(figsize=(10.2, tall), dpi=100, facecolor="white")
    heading: dict[str, Any] = {"fontsize": 12, "fontweight": "bold", "color": _INK}
    figure.text(
        0.02,
        1 - 0.25 / tall,
        "1   The lesions at hand, all on light skin, are transferred to dark skin",
        **heading,
    )
    grid = figure.add_gridspec(
        lines,
        len(shown),
        left=0.10,
        right=0.99,
        top=1 - 0.57 / tall,
        bottom=3.08 / tall,
        hspace=0.28,
        wspace=0.08,
    )
    for column, one in enumerate(shown):
        for line, (skin_type, pixels) in enumerate(one.images.items()):
            axes = figure.add_subplot(grid[line, column])
            _image(axes, pixels, skin_type)
            if line == 0:
                axes.set_title(one.label, fontsize=10, color=_INK, pad=4)
            if column == 0:
                axes.set_ylabel(
                    "transfer" if line else "source",
                    rotation=0, ha="right", va="center", fontsize=10, color=_INK, labelpad=6,
                )  # fmt: skip
    figure.text(
        0.02,
        2.39 / tall,
        "2   Classifiers learn with and without them, and are tested on dark skin",
        **heading,
    )
    _scores(figure.add_axes((0.345, 0.65 / tall, 0.62, 1.6 / tall)), scores, len(shown))
    said = "Phantom images: computed, no photographs. ITA: individual typology angle of bare skin, degrees."
    figure.text(0.02, 0.09 / tall, said, fontsize=8.5, color=_FAINT)
    figure.savefig(output, format="png", metadata={"Software": None})


def _image(axes: Axes, pixels: NDArray[np.uint8], skin_type: str) -> None:
    axes.imshow(pixels, interpolation="lanczos")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    angle = image_ita(pixels)
    tone = "not measurable" if angle is None else f"{round(angle):d}°"
    axes.set_xlabel(f"type {skin_type}, ITA {tone}", fontsize=8.5, color=_FAINT, labelpad=2)


def _scores(axes: Axes, scores: Sequence[SummaryRow], classes: int) -> None:
    rows = {row["arm"]: row for row in scores}
    arms = [arm for arm in _MEANINGS if arm in rows]
    for line, arm in enumerate(arms):
        low, mean, high = (100 * rows[arm][name] for name in ("ci_low", "mean", "ci_high"))
        colour = ARM_COLOURS[arm]
        axes.plot([low, high], [line, line], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot([mean], [line], "o", color=colour, markersize=8)
        axes.text(high + 0.5, line, f"{mean:.1f}", va="center", fontsize=9, color=_INK)
    axes.set_yticks(range(len(arms)), [f"{arm}: {_MEANINGS[arm]}" for arm in arms], fontsize=9.5, color=_INK)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.tick_params(length=0, labelsize=9, colors=_INK)
    axes.grid(axis="x", color="#e6e9ed")
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    first, chance = scores[0], 100 / classes
    axes.axvline(chance, color=_FAINT, linewidth=1, linestyle="--")
    axes.text(chance + 0.5, -0.55, f"chance {chance:.0f}", va="top", fontsize=9, color=_FAINT)
    axes.set_xlim(left=chance - 4)
    tested = f"{first['cells']} splits, {first['images']} test images"
    what = f"balanced accuracy in percent, 95% interval ({tested})"
    axes.set_xlabel(what, fontsize=9, color=_FAINT)
    axes.xaxis.set_major_locator(MultipleLocator(10))


def shrink(path: Path) -> None:
    """Write the picture again with 256 colours, which it hardly shows.

    Exits with an error if it is too large for git all the same.
    """
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LARGEST_BYTES:
        sys.exit(f"error: {path} has {path.stat().st_size} bytes, more than {LARGEST_BYTES}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="README's picture from a phantom study.")
    parser.add_argument("run", type=Path, help="output folder of the study, finished")
    parser.add_argument("output", type=Path, help="png file to write")
    arguments = parser.parse_args()
    try:
        main(arguments.run, arguments.output)
    except SkindiffError as error:
        sys.exit(f"error: {error}")
    print(f"wrote {arguments.output}")
