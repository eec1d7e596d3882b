"""The latent cache: what the autoencoder says of every image, computed once.

The posterior's mean and standard deviation are kept, not one sample of it, so that training still takes a
new latent each time an image comes up. Where a corpus has buckets of aspect ratio, each shape has its cache.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Image
from PIL import Image as PILImage
from PIL import ImageOps
from safetensors.torch import load_file, save_file

from skindiff.corpora.buckets import BUCKETED, row_sizes
from skindiff.corpora.pixel_reader import as_srgb
from skindiff.errors import GeneratorError
from skindiff.files import replacing
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.progress import progress

_CACHE_VERSION = 1


@dataclass(frozen=True)
class LatentMoments:
    """Posterior moments of a table's images, already scaled to what the U-Net sees.

    Attributes:
        mean: (rows, variants, channels, height, width) float32 on the CPU; variant 0 is the image, variant 1
            (where flips were asked for) its mirror image.
        std: the same shape.
        key: fingerprint of the image bytes, the transform, the autoencoder and the precision.
    """

    mean: torch.Tensor
    std: torch.Tensor
    key: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of one latent."""
        return tuple(self.mean.shape[2:])

    @property
    def variants(self) -> int:
        """1, or 2 with mirror images."""
        return self.mean.shape[1]

    def of(self, rows: torch.Tensor) -> tuple["LatentMoments", torch.Tensor]:
        """Return the moments that hold ``rows`` (b,) of the table, and which of theirs these are."""
        return self, rows

    def split(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return which of ``rows`` (b,) are of one shape, for each shape."""
        return [torch.arange(len(rows))]

    def sample(self, rows: torch.Tensor, variants: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Sample latents of ``rows`` (b,) in ``variants`` (b,) by normal ``noise`` (b, c, h, w)."""
        return self.mean[rows, variants] + self.std[rows, variants] * noise


@dataclass(frozen=True)
class BucketedMoments:
    """Moments of a table whose images have several shapes.

    Attributes:
        parts: those of each shape.
        shapes: (rows,) which of the parts a row is in.
        places: (rows,) where in it.
    """

    parts: list[LatentMoments]
    shapes: torch.Tensor
    places: torch.Tensor

    @property
    def key(self) -> str:
        """Fingerprint of all that those of the parts are of, and of which row is where."""
        facts = [[part.key for part in self.parts], self.shapes.tolist(), self.places.tolist()]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def of(self, rows: torch.Tensor) -> tuple[LatentMoments, torch.Tensor]:
        """Return the moments that hold ``rows`` (b,) of one shape, and which of theirs these are."""
        (shape,) = self.shapes[rows].unique().tolist()
        return self.parts[shape], self.places[rows]

    def split(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return which of ``rows`` (b,) are of one shape, for each shape."""
        return [(self.shapes[rows] == shape).nonzero()[:, 0] for shape in self.shapes[rows].unique()]


Moments = LatentMoments | BucketedMoments


def encode_buckets(
    pipeline: Any, dataset: Dataset, folder: Path, *, size: int, **settings: Any
) -> BucketedMoments:
    """Encode the pictures of a corpus with buckets, each in the shape of its bucket.

    Args:
        pipeline: see :func:`encode_latents`.
        dataset: with the columns ``bucket`` and ``bucketed``.
        folder: of the caches, one for each shape.
        size: height and width in pixels of the square, of which the others have about the area.
        settings: see :func:`encode_latents`.
    """
    sizes = row_sizes(dataset, size, architecture_of(pipeline).size_step(pipeline))
    known = sorted(set(sizes))
    shapes = torch.tensor([known.index(one) for one in sizes])
    places = torch.empty(len(sizes), dtype=torch.int64)
    pictures = dataset.select_columns([BUCKETED]).rename_column(BUCKETED, "image")
    parts = []
    for number, shape in enumerate(known):
        rows = (shapes == number).nonzero()[:, 0]
        places[rows] = torch.arange(len(rows))
        parts.append(encode_latents(pipeline, pictures.select(rows), folder, size=shape, **settings))
    return BucketedMoments(parts, shapes, places)


def encode_latents(
    pipeline: Any,
    dataset: Dataset,
    folder: Path,
    *,
    size: int | tuple[int, int],
    flip: bool = False,
    batch_size: int | None = None,
    show_progress: bool = False,
) -> LatentMoments:
    """Encode every image of ``dataset``, or read what an earlier call with the same key has written.

    Args:
        pipeline: on the device and in the precision to encode with.
        dataset: its ``image`` column is resized (to cover it) and cut (centre) to the size.
        folder: the cache file ``latents-<key>.safetensors`` is written here, in one piece.
        size: height and width in pixels, or width and height where they differ.
        flip: encode the mirror images too.
        batch_size: images per forward pass; by default as many as hold half a million pixels, since the
            autoencoder takes about 1 GB for each million of them.
        show_progress: show how far it is.

    Raises:
        GeneratorError: the autoencoder gave values that are not finite, or does not fit its
            pipeline.
    """
    architecture = architecture_of(pipeline)
    architecture.refuse_unfit(pipeline)
    facts = architecture.latent_facts(pipeline)
    shape = _shape(size)
    key = _cache_key(facts, dataset, shape, flip)
    path = folder / f"latents-{key}.safetensors"
    if path.is_file():
        tensors = load_file(path)
        return LatentMoments(tensors["mean"], tensors["std"], key)
    batch_size = batch_size or max(1, 2**19 // (shape[0] * shape[1]))
    means, stds = [], []
    with progress(desc="encoding", unit="image", total=len(dataset), disable=not show_progress) as bar:
        for start in range(0, len(dataset), batch_size):
            images = dataset[start : start + batch_size]["image"]
            pixels = torch.from_numpy(np.stack([image_array(image, shape) for image in images]))
            variants = (pixels, pixels.flip(-1)) if flip else (pixels,)
            moments = [architecture.encode_moments(pipeline, variant) for variant in variants]
            means.append(architecture.scale(pipeline, torch.stack([mean for mean, _ in moments], dim=1)))
            stds.append(architecture.scale_spread(pipeline, torch.stack([std for _, std in moments], dim=1)))
            bar.update(len(images))
    tensors = {"mean": torch.cat(means), "std": torch.cat(stds)}
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise GeneratorError(
            f"the autoencoder gives latents that are not finite in {facts['dtype']}: load the pipeline in "
            "float32 or bfloat16"
        )
    with replacing(path, shared=True) as partial:
        save_file(tensors, partial)
    return LatentMoments(tensors["mean"], tensors["std"], key)


def image_array(image: PILImage.Image, size: int | tuple[int, int]) -> np.ndarray:
    """Return an image as (3, height, width) float32 in [-1, 1]: upright, sRGB, resized and cut to its centre.

    Args:
        image: of any shape.
        size: height and width in pixels, or width and height where they differ.
    """
    image, shape = as_srgb(image), _shape(size)
    if image.size != shape:
        image = ImageOps.fit(image, shape, PILImage.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1.0


def _shape(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _cache_key(facts: dict[str, Any], dataset: Dataset, shape: tuple[int, int], flip: bool) -> str:
    digest = hashlib.sha256()
    width, height = shape
    settings = {
        "version": _CACHE_VERSION, "size": width if width == height else shape, "flip": flip, **facts
    }  # fmt: skip
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for image in dataset.select_columns("image").cast_column("image", Image(decode=False))["image"]:
        content = image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]
