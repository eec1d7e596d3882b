"""Look at the estimated lesion masks: on your own corpus by eye, on phantom also by their truth.

    python scripts/mask_contact_sheet.py ham10000 DIR --output_dir /tmp/masks
    python scripts/mask_contact_sheet.py fitzpatrick17k DIR --output_dir /tmp/masks --seed 2
    python scripts/mask_contact_sheet.py phantom --output_dir /tmp/masks --size 64

Draws images at random, each beside itself with the outlines of lesion (green) and background (blue),
24 to a page; on phantom the true outline is white. The pictures show patients, some of them their faces: the
folder has no default, and one inside a git checkout is refused.

On phantom it prints, per skin type and lesion class, the intersection over union of the mask with the truth,
and per skin type how far the ITA with the estimated mask is from the ITA with the true mask, under the
phantom's own lamps, under a second and much stronger lamp on top, and from the tone under white light (which
the lamp hides from any mask). The population "reported" is not one that anything was tuned on.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from skindiff.corpora.fitzpatrick17k import Fitzpatrick17kConfig, load_fitzpatrick17k
from skindiff.corpora.ham10000 import Ham10000Config, load_ham10000
from skindiff.corpora.phantom import PhantomImage, render_phantom
from skindiff.corpora.phantom_lesions import LESION_CLASSES
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.corpora.table import read_csv
from skindiff.errors import ConfigError, SkindiffError
from skindiff.measures.skin.segmentation import segment
from skindiff.measures.skin.tone import image_ita
from skindiff.seeding import numpy_generator

PER_PAGE, PER_ROW = 24, 4
GREEN, BLUE, WHITE = (0, 255, 0), (0, 0, 255), (255, 255, 255)

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Score(NamedTuple):
    """One phantom image: where it stands in the tables, and how well it was measured (degrees of ITA)."""

    skin_type: str
    lesion: str
    overlap: float
    own_lamp: float
    second_lamp: float
    white_light: float
    white_light_by_truth: float
    seconds: float


def relit(pixels: Pixels, *key: str | int) -> Pixels:
    """Return a picture under one more lamp: to 65% of the light, tinted, 35% off at a side, 25% at corners.

    Args:
        pixels: sRGB, ``(height, width, 3)``.
        key: names the random stream.
    """
    rng = numpy_generator("second lamp", *key)
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in pixels.shape[:2]), indexing="ij")
    angle, tint = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.06)
    light = rng.uniform(0.65, 1.1) * (1 + rng.uniform(0, 0.35) * (np.cos(angle) * x + np.sin(angle) * y))
    light = light * (1 - rng.uniform(0, 0.25) * (x * x + y * y) / 2)
    encoded = pixels / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear * light[..., None] * [1 + tint, 1, 1 - tint], 0, 1)
    again = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(again * 255 + 0.5).astype(np.uint8)


def overlap(found: Mask, truth: Mask) -> float:
    """Return intersection over union; 1 where both are empty."""
    union = (found | truth).sum()
    return float((found & truth).sum() / union) if union else 1.0


def _apart(first: float | None, second: float | None) -> float:
    return float("nan") if first is None or second is None else abs(first - second)


def score(drawn: PhantomImage, skin_type: str, lesion: str, *key: str | int) -> Score:
    """Measure one phantom image against its truth."""
    start = time.process_time()
    found = segment(drawn.pixels).lesion
    seconds = time.process_time() - start
    estimate, known = image_ita(drawn.pixels), image_ita(drawn.pixels, drawn.lesion_mask)
    other = relit(drawn.pixels, *key)
    return Score(
        skin_type,
        lesion,
        overlap(found, drawn.lesion_mask),
        _apart(estimate, known),
        _apart(image_ita(other), image_ita(other, drawn.lesion_mask)),
        _apart(estimate, drawn.true_ita),
        _apart(known, drawn.true_ita),
        seconds,
    )


def population(name: str, size: int, per_cell: int) -> Iterator[tuple[PhantomImage, str, str, int]]:
    """Draw ``per_cell`` images of every skin type and lesion class."""
    for skin_type in SKIN_TYPES:
        for lesion in LESION_CLASSES:
            for number in range(per_cell):
                drawn = render_phantom(skin_type, lesion, size, "masks", name, lesion, skin_type, number)
                yield drawn, skin_type, lesion, number


def tables(scores: Sequence[Score]) -> str:
    """Return the tables in Markdown."""
    cells = {
        (skin, lesion): [row.overlap for row in scores if row[:2] == (skin, lesion)]
        for skin in SKIN_TYPES
        for lesion in LESION_CLASSES
    }
    lines = [f"| IoU | {' | '.join(SKIN_TYPES)} | all |", "|---" * 8 + "|"]
    for lesion in LESION_CLASSES:
        means = [np.mean(cells[skin, lesion]) for skin in SKIN_TYPES]
        lines.append(f"| {lesion} | " + " | ".join(f"{mean:.2f}" for mean in [*means, np.mean(means)]) + " |")
    columns = [np.mean([np.mean(cells[skin, lesion]) for lesion in LESION_CLASSES]) for skin in SKIN_TYPES]
    lines.append("| all | " + " | ".join(f"{mean:.2f}" for mean in [*columns, np.mean(columns)]) + " |")
    worst = min(cells, key=lambda cell: float(np.mean(cells[cell])))
    lines += [f"\nworst cell: {worst[1]} on {worst[0]}, {np.mean(cells[worst]):.2f}", ""]
    lines += ["| degrees of ITA, mean / 95th percentile / unmeasured | " + " | ".join(SKIN_TYPES) + " |"]
    lines += ["|---" * 7 + "|"]
    for name in ("own_lamp", "second_lamp", "white_light", "white_light_by_truth"):
        row = []
        for skin in SKIN_TYPES:
            errors = np.array([getattr(one, name) for one in scores if one.skin_type == skin])
            gone = int(np.isnan(errors).sum())
            row.append(f"{np.nanmean(errors):.2f} / {np.nanpercentile(errors, 95):.2f} / {gone}")
        lines.append(f"| {name} | {' | '.join(row)} |")
    spent = 1000 * np.mean([one.seconds for one in scores])
    return "\n".join([*lines, f"\n{len(scores)} images, {spent:.0f} ms of CPU each for the mask"])


def outlined(pixels: Pixels, mask: Mask, colour: tuple[int, int, int]) -> Pixels:
    """Return a copy with the inner outline of a mask."""
    copy = pixels.copy()
    copy[mask & ~binary_erosion(mask)] = colour
    return copy


def tile(pixels: Pixels, truth: Mask | None = None) -> Pixels:
    """Return an image beside itself with its outlines."""
    found = segment(pixels)
    drawn = outlined(outlined(pixels, found.background, BLUE), found.lesion, GREEN)
    if truth is not None:
        drawn = outlined(drawn, truth, WHITE)
    return np.concatenate([pixels, drawn], 1)


def write_pages(tiles: Sequence[Pixels], folder: Path, name: str) -> list[Path]:
    """Write contact sheets of :data:`PER_PAGE` tiles as PNG files and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for page, first in enumerate(range(0, len(tiles), PER_PAGE)):
        some = list(tiles[first : first + PER_PAGE])
        some += [np.zeros_like(some[0])] * (-len(some) % PER_ROW)
        rows = [np.concatenate(some[row : row + PER_ROW], 1) for row in range(0, len(some), PER_ROW)]
        written.append(folder / f"{name}_{page}.png")
        Image.fromarray(np.concatenate(rows)).save(written[-1])
    return written


def photographs(corpus: str, data_dir: str, count: int, size: int, seed: str) -> list[Pixels]:
    """Return centre squares of ``count`` random images of a corpus."""
    if corpus == "ham10000":
        dataset = load_ham10000(Ham10000Config(data_dir)).dataset
    else:
        table = read_csv(Path(data_dir) / "fitzpatrick17k.csv", "csv", ("label",))
        conditions = sorted({row["label"] for row in table})
        dataset = load_fitzpatrick17k(Fitzpatrick17kConfig(data_dir, conditions=conditions)).dataset
    rows = numpy_generator("contact sheet", corpus, seed).permutation(len(dataset))[:count]
    return [square(row["image"], size) for row in dataset.select(rows)]


def square(image: Image.Image, size: int) -> Pixels:
    """Return the centre square of an image at ``size`` pixels a side."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS, box=box))


def refuse_checkout(folder: Path) -> None:
    """Raise :class:`ConfigError` if a folder lies in a git checkout, where pictures of patients may leak."""
    for place in (folder.resolve(), *folder.resolve().parents):
        if (place / ".git").exists():
            raise ConfigError(
                f"output_dir: {folder} lies in the git checkout {place}; name a folder outside of it"
            )


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", choices=("phantom", "ham10000", "fitzpatrick17k"))
    parser.add_argument("data_dir", nargs="?", help="folder of the corpus; phantom has none")
    parser.add_argument("--output_dir", required=True, help="where the sheets go, outside any git checkout")
    parser.add_argument("--images", type=int, default=48, help="photographs to show")
    parser.add_argument("--per_cell", type=int, default=10, help="phantom images per skin type and lesion")
    parser.add_argument("--size", type=int, default=128, help="side in pixels")
    parser.add_argument("--seed", default="reported", help="names the draw")
    options = parser.parse_args(arguments)
    if options.corpus != "phantom" and options.data_dir is None:
        parser.error(f"{options.corpus} needs the folder that holds it")
    return options


def main(options: argparse.Namespace) -> list[Path]:
    """Draw the sheets, print the tables of phantom, and return the files."""
    folder = Path(options.output_dir)
    if options.corpus != "phantom":
        refuse_checkout(folder)
        pictures = photographs(options.corpus, options.data_dir, options.images, options.size, options.seed)
        return write_pages([tile(pixels) for pixels in pictures], folder, options.corpus)
    scores, tiles = [], []
    for drawn, skin_type, lesion, number in population(options.seed, options.size, options.per_cell):
        scores.append(score(drawn, skin_type, lesion, skin_type, lesion, number))
        if number == 0:
            tiles.append(tile(drawn.pixels, drawn.lesion_mask))
    print(tables(scores))
    return write_pages(tiles, folder, "phantom")


if __name__ == "__main__":
    try:
        for file in main(parsed()):
            print(file)
    except SkindiffError as error:
        sys.exit(f"error: {error}")
