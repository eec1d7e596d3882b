"""Images to latents, once: all processes share the work, and a killed run goes on from their shards.

A shard is a file, whole or absent, of the same bytes whichever process wrote it. What is in them, and how it
is read, is in :mod:`~skindiff.training.latents`.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate.logging import get_logger
from datasets import Dataset, Image
from PIL import Image as PILImage
from PIL import ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from skindiff.corpora.buckets import BUCKET, BUCKETED, row_sizes
from skindiff.corpora.pixel_reader import as_srgb
from skindiff.errors import GeneratorError
from skindiff.files import replacing
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.peers import Peers
from skindiff.progress import progress
from skindiff.training.latents import BucketedMoments, LatentMoments, MappedRows, Moments
from skindiff.training.single_process import Worker

logger = get_logger(__name__)
Precision = Literal["float32", "float16"]
PRECISIONS: dict[Precision, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}
"""What moments can be kept in."""
MOST_SHARDS = 256
"""Of the images of one shape: a kill costs each process this share of them, or one batch."""
_CACHE_VERSION = 1
_VIEWS = ("image", "mirrored")
_COST = "cost"
"""In the metadata of a shard: squares of what rounding moved its means by, and of its spreads, summed."""


def encode_tables(
    accelerator: Worker,
    pipeline: Any,
    tables: Sequence[Dataset],
    folder: Path,
    *,
    size: int,
    flip: bool = False,
    precision: Precision = "float32",
    batch_size: int | None = None,
) -> list[Moments]:
    """Encode the images of tables, or read what an earlier call has written.

    Every process encodes its share of the shards, and then waits until those of all others are there.

    Args:
        accelerator: knows the processes; all of them call this together.
        pipeline: on the device and in the precision to encode with.
        tables: the first is trained on; of the others, which are only measured on, no mirror image is
            encoded. An ``image`` is resized (to cover it) and cut (centre) to the size; those of a corpus
            with buckets (``corpus.crop`` is ``longest``) are encoded in the shape of their bucket.
        folder: the shards lie in ``latents-<key>`` in it; every process must see it.
        size: height and width in pixels of the square, of which other shapes have about the area.
        flip: encode the mirror images too.
        precision: what the moments are kept in.
        batch_size: images per forward pass; by default as many as hold half a million pixels, since the
            autoencoder takes about 1 GB for each million of them.

    Raises:
        GeneratorError: the autoencoder gave values that are not finite, or does not fit its pipeline.
        LaunchError: another process has died.
    """
    architecture = architecture_of(pipeline)
    architecture.refuse_unfit(pipeline)
    facts = architecture.latent_facts(pipeline)

    def pictures(images: Dataset, shape: tuple[int, int], views: int) -> _Pictures:
        key = _cache_key(facts, images, shape, flip, precision)
        batch = batch_size or max(1, 2**19 // (shape[0] * shape[1]))
        return _Pictures(pipeline, images, folder / f"latents-{key}", shape, views, batch, precision, key)

    step = architecture.size_step(pipeline)
    views = [1 + flip, *[1] * (len(tables) - 1)]
    plans = [_plan(table, size, step, pictures, one) for table, one in zip(tables, views, strict=True)]
    peers = Peers.of(accelerator, folder)  # before the work: they meet in a collective
    _share_out(accelerator, [part for plan in plans for part in plan.parts])
    peers.meet("encoding images")
    return [plan.moments() for plan in plans]


def image_array(image: PILImage.Image, size: int | tuple[int, int]) -> np.ndarray:
    """Return an image as (3, height, width) float32 in [-1, 1]: upright, sRGB, resized and cut to its centre.

    Args:
        image: of any shape.
        size: height and width in pixels, or width and height where they differ.
    """
    image, shape = as_srgb(image), (size, size) if isinstance(size, int) else size
    if image.size != shape:
        image = ImageOps.fit(image, shape, PILImage.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1.0


@dataclass(frozen=True)
class _Pictures:
    """Images of one shape, and the shards that their moments lie in."""

    pipeline: Any
    images: Dataset
    folder: Path
    shape: tuple[int, int]
    views: int
    batch_size: int
    precision: Precision
    key: str

    @property
    def each(self) -> int:
        """Rows of a shard: whole batches, so that none depends on where shards end."""
        batches = math.ceil(len(self.images) / self.batch_size)
        return math.ceil(batches / MOST_SHARDS) * self.batch_size

    def shards(self) -> list[range]:
        """Return the rows of each shard."""
        rows = range(len(self.images))
        return [rows[start : start + self.each] for start in rows[:: self.each]]

    def path(self, view: int, rows: range) -> Path:
        return self.folder / f"{_VIEWS[view]}-{rows.start:08d}-{rows.stop:08d}.safetensors"

    def missing(self, rows: range) -> list[int]:
        """Return the views of a shard that are not there, or damaged."""
        return [view for view in range(self.views) if not _is_whole(self.path(view, rows))]

    def encode(self, rows: range, views: Sequence[int], on_images: Callable[[int], object]) -> None:
        """Write a shard in some views; ``on_images`` is called with the number of images of each batch."""
        architecture = architecture_of(self.pipeline)
        found: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {view: [] for view in views}
        for start in rows[:: self.batch_size]:
            images = self.images[start : min(start + self.batch_size, rows.stop)]["image"]
            pixels = torch.from_numpy(np.stack([image_array(image, self.shape) for image in images]))
            for view, moments in found.items():
                shown = pixels.flip(-1) if view else pixels
                mean, std = architecture.encode_moments(self.pipeline, shown)
                mean = architecture.scale(self.pipeline, mean)
                moments.append((mean, architecture.scale_spread(self.pipeline, std)))
            on_images(len(images))
        for view, moments in found.items():
            means, stds = zip(*moments, strict=True)
            self._write(self.path(view, rows), torch.cat(means), torch.cat(stds))

    def _write(self, path: Path, mean: torch.Tensor, std: torch.Tensor) -> None:
        dtype = PRECISIONS[self.precision]
        kept = {"mean": mean.to(dtype).contiguous(), "std": std.to(dtype).contiguous()}
        if not all(tensor.isfinite().all() for tensor in kept.values()):
            made_in = architecture_of(self.pipeline).latent_facts(self.pipeline)["dtype"]
            raise GeneratorError(
                f"the autoencoder gives latents that are not finite in {made_in}: load the pipeline in "
                "float32 or bfloat16"
            )
        # One entry: safetensors writes several in any order.
        cost = {_COST: json.dumps([_power(kept["mean"].float() - mean), _power(std)])}
        with replacing(path, shared=True) as partial:
            save_file(kept, partial, None if self.precision == "float32" else cost)

    def moments(self) -> LatentMoments:
        """Map all shards into memory."""
        files = [[self.path(view, rows) for rows in self.shards()] for view in range(self.views)]
        read = [[load_file(file) for file in view] for view in files]
        mean, std = (
            MappedRows([[tensors[name] for tensors in view] for view in read], self.each)
            for name in ("mean", "std")
        )
        if self.precision != "float32":
            self._say_what_it_costs([file for view in files for file in view])
        return LatentMoments(mean, std, self.key)

    def _say_what_it_costs(self, files: Sequence[Path]) -> None:
        """Warn where rounding moves latents by more than what the autoencoder itself leaves open."""
        moved = spread = 0.0
        for file in files:
            with safe_open(file, "pt") as shard:
                own_moved, own_spread = json.loads(shard.metadata()[_COST])
            moved, spread = moved + own_moved, spread + own_spread
        if (ratio := math.sqrt(moved / spread)) > 1:
            logger.warning(
                "latent_precision is %s, which moves latents by %.2g times the spread of their posterior: "
                "float32 keeps them as they are",
                self.precision,
                ratio,
            )


@dataclass(frozen=True)
class _Plan:
    """The images of a table by shape; one shape alone has no places."""

    parts: list[_Pictures]
    shapes: torch.Tensor | None = None
    places: torch.Tensor | None = None

    def moments(self) -> Moments:
        found = [part.moments() for part in self.parts]
        if self.shapes is None or self.places is None:
            return found[0]
        return BucketedMoments(found, self.shapes, self.places)


def _plan(
    table: Dataset,
    size: int,
    step: int,
    pictures: Callable[[Dataset, tuple[int, int], int], _Pictures],
    views: int,
) -> _Plan:
    if BUCKET not in table.column_names:
        return _Plan([pictures(table, (size, size), views)])
    sizes = row_sizes(table, size, step)
    known = sorted(set(sizes))
    shapes = torch.tensor([known.index(one) for one in sizes])
    places = torch.empty(len(sizes), dtype=torch.int64)
    images = table.select_columns([BUCKETED]).rename_column(BUCKETED, "image")
    parts = []
    for number, shape in enumerate(known):
        rows = (shapes == number).nonzero()[:, 0]
        places[rows] = torch.arange(len(rows))
        parts.append(pictures(images.select(rows), shape, views))
    return _Plan(parts, shapes, places)


def _share_out(accelerator: Worker, parts: Sequence[_Pictures]) -> None:
    """Encode this process's share of what is missing."""
    shards = [(part, rows) for part in parts for rows in part.shards()]
    own = shards[accelerator.process_index :: accelerator.num_processes]
    work = [(part, rows, views) for part, rows in own if (views := part.missing(rows))]
    total, hidden = sum(len(rows) for _, rows, _ in work), not accelerator.is_main_process
    with progress(desc="encoding", unit="image", total=total, disable=hidden) as bar:
        for part, rows, views in work:
            part.encode(rows, views, bar.update)


def _is_whole(path: Path) -> bool:
    """Whether a shard is there; one that was cut off is made again."""
    if not path.is_file():
        return False
    try:
        with safe_open(path, "pt"):
            return True
    except SafetensorError:
        logger.warning("%s is damaged: its images are encoded again", path, main_process_only=False)
        return False


def _power(values: torch.Tensor) -> float:
    return float(values.double().square().sum())


def _cache_key(
    facts: dict[str, Any], images: Dataset, shape: tuple[int, int], flip: bool, precision: Precision
) -> str:
    digest = hashlib.sha256()
    width, height = shape
    settings = {
        "version": _CACHE_VERSION, "size": width if width == height else shape, "flip": flip, **facts,
        **({"precision": precision} if precision != "float32" else {}),
    }  # fmt: skip
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for image in images.select_columns("image").cast_column("image", Image(decode=False))["image"]:
        content = image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]
