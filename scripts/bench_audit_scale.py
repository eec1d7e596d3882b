"""How do audit, cache, split and transfer plan grow with the corpus? Time, memory, and what is found.

    python scripts/bench_audit_scale.py --images 10000 --photographs DIR --work runs/scale

Makes a corpus of so many images out of a folder of photographs, and takes the time of every stage on it. Of
ten images seven are singles: quadrants of photographs, one photograph of each group that the audit finds
among them. A quadrant gives four singles: itself, and stretched 1.8 times along three directions, which is no
map between two pictures of one thing, so that none of them is to be joined with another. Each is turned a
little and recoloured. The others are made of a single that nothing else is made of: exact copies (3%),
compressed anew (7%), crops of 60 to 85% of the side (12%) and flipped (8%).

A stage that was interrupted goes on where it was; its time is then that of the rest, and ``resumed`` is true.
"""

import json
import logging
import os
import resource
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, disable_progress_bars
from jsonargparse import auto_cli, set_parsing_settings
from PIL import Image, ImageOps

from skindiff.corpora.audit import AuditConfig, AuditRow, audit_images
from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.few_shot import FractionSplitConfig, make_fraction_split
from skindiff.corpora.near_duplicates import NearDuplicateConfig
from skindiff.corpora.schema import SKIN_TYPES, corpus_features
from skindiff.corpora.splits import SplitConfig, make_split
from skindiff.errors import ConfigError
from skindiff.files import write_atomically
from skindiff.seeding import numpy_generator
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.plan import make_plan

SIDE = 160
"""Height and width of the images in pixels; a quadrant of a photograph of 256 has 128."""
SHARES = {"copy": 0.03, "recompressed": 0.07, "crop": 0.12, "flip": 0.08}
STRETCH, DIRECTIONS = 1.8, (None, 0.0, 60.0, 120.0)
CLASSES = [f"class {number}" for number in range(8)]


@dataclass
class Bench:
    """What is measured."""

    photographs: str
    """Folder of photographs."""
    images: int = 2500
    """How many images the corpus has."""
    work: str = "runs/scale"
    """Folder of images, caches and the findings; a run that was interrupted goes on there."""
    workers: int = 1
    """Threads of the audit."""
    keep_images: bool = False
    """Keep images and caches when all is measured."""


class Clock(logging.Handler):
    """Takes the time of stages, and of those that the audit logs; a stage that is done keeps its time."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.INFO)
        self.file = file
        self.stages: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else {}
        self._begun = bool(self.stages)
        logging.getLogger("skindiff.progress").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Note a stage of the audit."""
        if isinstance(record.args, tuple) and len(record.args) == 3:
            name, seconds, used = record.args
            self._note(str(name), float(str(seconds)), float(str(used)))

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Take the time of a stage."""
        began, used = time.perf_counter(), time.process_time()
        yield
        self._note(name, time.perf_counter() - began, time.process_time() - used)

    def _note(self, name: str, seconds: float, used: float) -> None:
        before = self.stages.get(name)
        if before is not None and before["processor"] >= used:
            return  # this time it was only read back
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        self.stages[name] = {
            "seconds": round(seconds, 2),
            "processor": round(used, 2),
            "peak_mib": round(peak),
            "resumed": self._begun,
        }
        write_atomically(self.file, json.dumps(self.stages))


@dataclass
class Made:
    """What an image was made of: names of a photograph, a quadrant with its stretch, and a single."""

    kind: str
    photograph: str
    variant: int
    single: str = ""
    of: str = field(default="")


def one_of_each(folder: Path, config: AuditConfig, work: Path) -> list[Path]:
    """Return one photograph of each group of the audit."""
    paths = {path.stem: path for path in sorted(folder.iterdir())}
    rows = audit_images(paths, config, work / "photographs")
    return [paths[row.image_id] for row in rows if row.image_id == row.group_id]


def make_corpus(images: int, photographs: list[Path], folder: Path) -> dict[str, Made]:
    """Write the images that are not there yet, and return what every one is."""
    random = numpy_generator("audit scale")
    pool = random.permutation(len(photographs) * 4 * len(DIRECTIONS))
    counts = {kind: round(share * images) for kind, share in SHARES.items()}
    singles = images - sum(counts.values())
    if singles > len(pool):
        raise ConfigError(f"images: {images} need {singles} singles, and there are {len(pool)}; take fewer")
    made: dict[str, Made] = {}
    for number, place in enumerate(pool[:singles].tolist()):
        photograph, variant = divmod(place, 4 * len(DIRECTIONS))
        name = f"{number:06}"
        made[name] = Made("single", str(photographs[photograph]), variant, name)
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    for number, (kind, of) in enumerate(zip(kinds, random.permutation(singles).tolist(), strict=False)):
        single = made[f"{of:06}"]
        made[f"{singles + number:06}"] = Made(kind, single.photograph, single.variant, f"{of:06}", f"{of:06}")
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(1) as executor:
        for part in ([n for n, one in made.items() if not one.of], [n for n, one in made.items() if one.of]):
            list(executor.map(partial(_write, made=made, folder=folder), part))
    return made


def _write(name: str, made: dict[str, Made], folder: Path) -> None:
    file, one = folder / f"{name}.jpg", made[name]
    if file.is_file():
        return
    random = numpy_generator("audit scale", name)
    partial_file = folder / f".{name}.partial"
    if one.kind == "copy":
        shutil.copyfile(folder / f"{one.of}.jpg", partial_file)
    elif one.kind == "single":
        _single(one, random).save(partial_file, "JPEG", quality=92)
    else:
        quality = int(random.integers(30, 60)) if one.kind == "recompressed" else 92
        with Image.open(folder / f"{one.of}.jpg") as image:
            _derived(image, one.kind, random).save(partial_file, "JPEG", quality=quality)
    os.replace(partial_file, file)


def _single(one: Made, random: np.random.Generator) -> Image.Image:
    with Image.open(one.photograph) as image:
        whole = image.convert("RGB")
    quadrant, direction = one.variant % 4, DIRECTIONS[one.variant // 4]
    width, height = whole.width // 2, whole.height // 2
    left, top = (quadrant % 2) * width, (quadrant // 2) * height
    part = whole.crop((left, top, left + width, top + height))
    turn = np.deg2rad(random.uniform(-8, 8))
    # Of a place in the result the place in the quadrant: never outside, and less of it along one direction.
    shrink = np.eye(2)
    if direction is not None:
        along = np.array([np.cos(np.deg2rad(direction)), np.sin(np.deg2rad(direction))])
        shrink -= (1 - 1 / STRETCH) * np.outer(along, along)
    turned = shrink @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = turned * (0.88 * min(width, height) / SIDE)
    offset = np.array([width, height]) / 2 - matrix @ np.full(2, SIDE / 2)
    warped = part.transform(
        (SIDE, SIDE), Image.Transform.AFFINE, (*matrix[0], offset[0], *matrix[1], offset[1]),
        Image.Resampling.BICUBIC,
    )  # fmt: skip
    values = np.asarray(warped, np.float32) / 255
    values = values ** random.uniform(0.7, 1.4) * random.uniform(0.75, 1.1, 3).astype(np.float32)
    return Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))


def _derived(image: Image.Image, kind: str, random: np.random.Generator) -> Image.Image:
    if kind == "flip":
        return ImageOps.mirror(image)
    if kind == "crop":
        side = round(SIDE * random.uniform(0.6, 0.85))
        left, top = random.integers(0, SIDE - side + 1, 2).tolist()
        return image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    side = round(SIDE * random.uniform(0.7, 1.0))
    return image.resize((side, side), Image.Resampling.BILINEAR)


def judged(truth: dict[str, Made], rows: list[AuditRow]) -> dict[str, Any]:
    """Return how many of the planted pairs share a group, and which others do."""
    group_of = {row.image_id: row.group_id for row in rows}
    planted, found = Counter[str](), Counter[str]()
    for name, one in truth.items():
        if one.of:
            planted[one.kind] += 1
            found[one.kind] += group_of[name] == group_of[one.of]
    members = defaultdict(list)
    for name, group in group_of.items():
        members[group].append(name)
    within = across = 0
    for names in members.values():
        # Of every group the singles that it should not have joined: one of it is right.
        singles = {truth[name].single for name in names}
        photographs = {truth[name].photograph for name in names}
        across += len(photographs) - 1
        within += len(singles) - len(photographs)
    return {
        "statuses": dict(Counter(row.status for row in rows)),
        "planted": dict(planted),
        "recall": {kind: round(found[kind] / planted[kind], 4) for kind in planted},
        "recall_of_all": round(sum(found.values()) / sum(planted.values()), 4),
        "singles_joined_across_photographs": across,
        "singles_joined_within_a_photograph": within,
        "largest_group": max(map(len, members.values())),
        "groups_by_size": dict(sorted(Counter(map(len, members.values())).items())),
    }


def corpus_of(truth: dict[str, Made], rows: list[AuditRow], folder: Path) -> Dataset:
    """Return the images as a corpus; class and skin type are drawn for every group."""
    features = corpus_features(CLASSES)
    kept = [row for row in rows if row.status in ("ok", "duplicate")]
    draws = [numpy_generator("audit scale facts", row.group_id) for row in kept]
    label = features["label"]
    assert isinstance(label, ClassLabel)
    columns = {
        "image": [str(folder / f"{row.image_id}.jpg") for row in kept],
        "label": [int(draw.integers(len(CLASSES))) for draw in draws],
        "skin_type": [SKIN_TYPES[int(draw.integers(6))] for draw in draws],
        "image_id": [row.image_id for row in kept],
        "group_id": [row.group_id for row in kept],
        "corpus": ["scale"] * len(kept),
    }
    return Dataset.from_dict(columns, features=features)


def main(bench: Bench) -> None:
    """Measure, and write ``scale-<images>.json`` into the folder."""
    if not Path(bench.photographs).is_dir():
        raise ConfigError(f"photographs: {bench.photographs} is no folder; name one of photographs")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    disable_progress_bars()
    work, folder = Path(bench.work), Path(bench.work) / f"corpus-{bench.images}"
    config = AuditConfig(near_duplicates=NearDuplicateConfig(workers=bench.workers))
    truth = make_corpus(bench.images, one_of_each(Path(bench.photographs), config, work), folder)
    clock = Clock(work / f"stages-{bench.images}.json")
    with clock("audit"):
        paths = {name: folder / f"{name}.jpg" for name in truth}
        rows = audit_images(paths, config, folder / "cache")
    found = judged(truth, rows)
    dataset = corpus_of(truth, rows, folder)
    with clock("cache"):
        cached = resize_to_cache(dataset, 64, folder / "cache").dataset
    with clock("splits"):
        scenario = make_split(cached, SplitConfig(), 0)
        fractions = make_fraction_split(cached, FractionSplitConfig(), 0)
    with clock("plan"):
        plan = make_plan(
            cached.select(fractions.train), SynthesisConfig(strategy="lora"), seed=0, generator="none"
        )
    found |= {"stages": clock.stages, "planned": len(plan), "split": scenario.sizes()}
    text = json.dumps({"images": bench.images, "side": SIDE, **found}, indent=1)
    write_atomically(work / f"scale-{bench.images}.json", text)
    logging.getLogger(__name__).info("%s", text)
    if not bench.keep_images:
        shutil.rmtree(folder)


if __name__ == "__main__":
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    main(auto_cli(Bench, as_positional=False))
