"""How many planted copies are found, and how many unseen real images are falsely flagged, on your own corpus?

    python scripts/plant_copies.py ham10000 DIR
    python scripts/plant_copies.py fitzpatrick17k DIR --image_size 32
    python scripts/plant_copies.py ham10000 DIR --network lite0

Groups of images (lesions, clusters of duplicates from the audit) are cut by a hash of their names: 40% are
for tuning (--part tune: on these the measure was chosen), 60% for the report. Within a part 60% of groups are
training images, 20% set the threshold, 20% tell how many unseen images it flags falsely, and copies are made
of training images. Several draws of these roles are pooled; intervals are 95%, over groups. What is found of
copies does not depend on the images that they lie among, so no generator is needed.
"""

import argparse
import csv
import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from skindiff.corpora.fitzpatrick17k import Fitzpatrick17kConfig
from skindiff.corpora.ham10000 import Ham10000Config
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.measures.copying.nearest import Known, KnownFeatures, KnownStructures
from skindiff.measures.copying.planted import HARDER, KINDS, plant
from skindiff.measures.copying.structure import comparable
from skindiff.measures.copying.threshold import THRESHOLD, held_out_threshold, share_interval
from skindiff.measures.features import FeatureConfig, load_feature_network
from skindiff.seeding import numpy_generator

TUNING, TRAINING, SETTING = 0.4, 0.6, 0.8
"""Share of groups for tuning; within a part, where training images and those that set the threshold end."""
SHOWN = 12


@dataclass
class Images:
    """A corpus at the size at which generated images would be."""

    pixels: NDArray[np.uint8]
    names: list[str]
    groups: list[str]

    def select(self, rows: NDArray[np.int64]) -> "Images":
        """Return some rows."""
        names, groups = ([of[row] for row in rows] for of in (self.names, self.groups))
        return Images(self.pixels[rows], names, groups)

    @property
    def known(self) -> NDArray[np.uint8]:
        """The pixels as they are compared."""
        return comparable(Image.fromarray(image) for image in self.pixels)


@dataclass
class Tally:
    """Flags and groups over all repeats."""

    flags: list[bool] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    shown: list[tuple[float, NDArray[np.uint8]]] = field(default_factory=list)

    def add(self, flags: NDArray[np.bool_], groups: Sequence[str]) -> None:
        """Add the images of one repeat."""
        self.flags += flags.tolist()
        self.groups += groups

    def text(self) -> str:
        """Return share and interval in percent."""
        found = share_interval(self.flags, self.groups)
        return f"{100 * found['share']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def load(options: argparse.Namespace) -> Images:
    """Read, audit and resize the corpus, and return the part that was asked for."""
    config = CorpusConfig(name=options.corpus, image_size=options.image_size, cache_dir=options.cache_dir)
    if options.corpus == "ham10000":
        config.ham10000 = Ham10000Config(options.data_dir, audit_csv=options.audit_csv)
    else:
        with (Path(options.data_dir) / "fitzpatrick17k.csv").open(newline="", encoding="utf-8") as file:
            labels = sorted({row["label"] for row in csv.DictReader(file)})
        config.fitzpatrick17k = Fitzpatrick17kConfig(
            options.data_dir, conditions=labels, audit_csv=options.audit_csv
        )
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepare_corpus(config, Path(folder)).dataset
        pixels = np.stack([np.asarray(image.convert("RGB")) for image in dataset["image"]])
        images = Images(pixels, dataset["image_id"][:], dataset["group_id"][:])
    tuning = np.array([_place("half", group) < TUNING for group in images.groups])
    return images.select(np.flatnonzero(tuning if options.part == "tune" else ~tuning))


def repeat(
    images: Images, options: argparse.Namespace, number: int, tallies: dict[str, Tally]
) -> tuple[float, int, str]:
    """Cut roles anew, set the threshold, plant and count; return threshold, its groups, measure."""
    role = np.array([_place(f"role {number}", group) for group in images.groups])
    training = images.select(np.flatnonzero(role < TRAINING))
    setting = images.select(np.flatnonzero((role >= TRAINING) & (role < SETTING)))
    unseen = images.select(np.flatnonzero(role >= SETTING))
    known = make(training, options)
    (found,) = known.nearest(setting.known)
    limit = held_out_threshold(
        found.similarity,
        setting.groups,
        false_flags=options.false_flags,
        confidence=0.95,
        default=THRESHOLD if options.network is None else 1.0,
    )
    (found,) = known.nearest(unseen.known)
    flagged = found.similarity >= limit.value
    tallies["unseen real"].add(flagged, unseen.groups)
    show(tallies["unseen real"], -found.similarity, flagged, (unseen.pixels, training.pixels[found.other]))
    some = numpy_generator("copied", number).permutation(len(training.groups))[: options.copies]
    copied = training.select(some)
    for kind in (*KINDS, *HARDER):
        copies = Images(plant(copied.pixels, kind, number), copied.names, copied.groups)
        (found,) = known.nearest(copies.known)
        right = np.array([training.groups[row] for row in found.other]) == np.array(copied.groups)
        hits = right & (found.similarity >= limit.value)
        tallies[kind].add(hits, copied.groups)
        views = (copied.pixels, copies.pixels, training.pixels[found.other])
        show(tallies[kind], found.similarity, ~hits, views)
    return limit.value, limit.groups, known.name


def _place(what: str, group: str) -> float:
    """Return a number in [0, 1) that depends on the words alone."""
    return int.from_bytes(hashlib.sha256(f"{what}/{group}".encode()).digest()[:8], "big") / 2**64


def make(training: Images, options: argparse.Namespace) -> Known:
    """Return the training images among which copies are searched for."""
    if options.network is None:
        return KnownStructures(training.known, training.groups)
    features = FeatureConfig(network=options.network, weights=options.weights)
    return KnownFeatures(training.known, training.groups, load_feature_network(features, torch.device("cpu")))


def show(
    tally: Tally,
    order: NDArray[np.float64],
    flags: NDArray[np.bool_],
    views: Sequence[NDArray[np.uint8]],
) -> None:
    """Remember the worst ``SHOWN`` of the flagged images, as columns of views."""
    rows = [row for row in np.argsort(order) if flags[row]]
    columns = [np.concatenate([view[row] for view in views]) for row in rows]
    tally.shown += [(float(order[row]), column) for row, column in zip(rows, columns, strict=True)]
    tally.shown = sorted(tally.shown, key=lambda one: one[0])[:SHOWN]


def main(options: argparse.Namespace) -> None:
    """Print the table, and plot what went wrong if asked to."""
    torch.set_num_threads(1)
    images = load(options)
    tallies = {name: Tally() for name in ("unseen real", *KINDS, *HARDER)}
    started = time.process_time()
    limits = [repeat(images, options, number, tallies) for number in range(options.repeats)]
    print(f"{options.corpus}, {options.image_size} px, part {options.part}, by {limits[0][2]}:")
    print(f"{len(images.groups)} images of {len(set(images.groups))} groups,", end=" ")
    print(", ".join(f"threshold {value:.4f} on {groups} groups" for value, groups, _ in limits), end="; ")
    print(f"{time.process_time() - started:.0f} s of CPU\n")
    print("| images | number | flagged, % | aim |\n| --- | ---: | ---: | ---: |")
    for name, tally in tallies.items():
        aim = {"unseen real": f"at most {100 * options.false_flags:g}"} | dict.fromkeys(KINDS, "at least 95")
        print(f"| {name} | {len(tally.flags)} | {tally.text()} | {aim.get(name, 'none')} |")
    if options.pictures:
        folder = Path(options.pictures)
        folder.mkdir(parents=True, exist_ok=True)
        for name, tally in tallies.items():
            if tally.shown:
                strip = np.concatenate([column for _, column in tally.shown], axis=1)
                Image.fromarray(strip).save(folder / f"{options.corpus}-{name.replace(', ', '-')}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus", choices=("ham10000", "fitzpatrick17k"))
    parser.add_argument("data_dir", help="folder of the corpus, as its loader wants it")
    parser.add_argument("--image_size", type=int, default=64, help="side of generated images in pixels")
    parser.add_argument("--part", choices=("report", "tune"), default="report")
    parser.add_argument("--repeats", type=int, default=3, help="draws of roles")
    parser.add_argument("--copies", type=int, default=200, help="copies of a kind in each draw of roles")
    parser.add_argument("--false_flags", type=float, default=0.02, help="share that the threshold is set for")
    parser.add_argument("--network", help="backbone in whose features to compare, instead of structures")
    parser.add_argument("--weights", help="safetensors file of a timm network, or random")
    parser.add_argument("--audit_csv", help="of skindiff audit, so that it is not done again")
    parser.add_argument("--cache_dir", help="folder to keep the resized images in")
    parser.add_argument("--pictures", help="folder for pictures of false flags and misses (real patients)")
    main(parser.parse_args())
