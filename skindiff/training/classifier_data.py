"""What a classifier learns from: pixels in memory, balanced rows, and augmentations that a key decides.

A whole batch is augmented by one affine resampling on the device. The parameters of a row are drawn on the
CPU from ``(seed, step, position in the global batch)``, so a resume or another number of processes changes
nothing. Measured on one core at 64 px: 5,250 images/s against 1,530 with torchvision's v2 transforms image by
image, where a ResNet-18 trains on 92.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from datasets import Dataset
from torch.nn import functional
from torchvision.transforms.v2 import RandAugment
from torchvision.transforms.v2 import functional as views

from skindiff.corpora.cache import pixels
from skindiff.errors import TrainingError
from skindiff.seeding import derive_seed, numpy_generator

Augment = Literal["geometric", "paper", "medmnist", "randaugment", "flip", "none"]
Balance = Literal["class", "class_and_skin_type", "oversample", "none"]

CROP_AREA = (0.8, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10
ROTATION = 15.0
"""Degrees to either side. These four are those of the paper's code (torchvision's RandomResizedCrop and
RandomRotation), which took them from Fitzpatrick17k's."""
PAPER_MARGIN = 16 / 224
"""The paper crops 256 pixels at random and keeps the central 224: this much of the kept width is lost on each
side, in training and in testing."""
SHARPNESS = 2.0
HUE = 0.05
"""Of Le Roux 2022, section 2.3: sharpness, contrast and mirroring by torchvision's defaults (each with
probability one half), then a hue jitter of 0.05. The sharpness factor has no default; 2 is torchvision's
example."""
RAND_AUGMENT_OPS, RAND_AUGMENT_MAGNITUDE = 2, 9
"""torchvision's defaults of RandAugment (Cubuk et al. 2020, arXiv 1909.13719)."""


@dataclass(frozen=True)
class ImageTable:
    """Images and labels in memory, so that many trainings share one decoding."""

    pixels: np.ndarray
    """(n, height, width, 3) uint8."""
    labels: np.ndarray
    """(n,) int64, codes into ``class_names``."""
    skin_types: tuple[str | None, ...]
    """One per row, ``"I"`` to ``"VI"`` or None."""
    class_names: tuple[str, ...]

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> "ImageTable":
        """Decode ``image``, ``label`` and, where there is one, ``skin_type`` of a data set.

        Raises:
            CorpusError: the images differ in size (``resize_to_cache`` mends that).
        """
        known = "skin_type" in dataset.column_names
        return cls(
            pixels=pixels(dataset),
            labels=np.asarray(dataset["label"], dtype=np.int64),
            skin_types=tuple(dataset["skin_type"]) if known else (None,) * len(dataset),
            class_names=tuple(dataset.features["label"].names),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def grey(self) -> bool:
        """Whether the three channels of every image are equal."""
        return bool((self.pixels == self.pixels[..., :1]).all())

    def select(self, rows: Sequence[int] | np.ndarray) -> "ImageTable":
        """Return ``rows`` in the order given, repeats allowed."""
        chosen = np.asarray(rows, dtype=np.int64)
        skin_types = tuple(self.skin_types[row] for row in chosen)
        return ImageTable(self.pixels[chosen], self.labels[chosen], skin_types, self.class_names)

    def resized(self, size: int) -> "ImageTable":
        """Return the table at ``size`` x ``size``, resampled with antialiasing where the size differs."""
        if len(self) == 0 or self.pixels.shape[1:3] == (size, size):
            return self
        resized = np.empty((len(self), size, size, 3), dtype=np.uint8)
        for start in range(0, len(self), 256):
            images = torch.from_numpy(self.pixels[start : start + 256]).permute(0, 3, 1, 2).float()
            images = functional.interpolate(images, (size, size), mode="bicubic", antialias=True)
            resized[start : start + 256] = images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        return ImageTable(resized, self.labels, self.skin_types, self.class_names)


def join_tables(tables: Sequence[ImageTable]) -> ImageTable:
    """Return the rows of all ``tables``, which must share classes and image size.

    Raises:
        TrainingError: they do not.
    """
    first = tables[0]
    for table in tables[1:]:
        if table.class_names != first.class_names or table.pixels.shape[1:] != first.pixels.shape[1:]:
            raise TrainingError(
                f"tables of {table.class_names} at {table.pixels.shape[1:]} and {first.class_names} at "
                f"{first.pixels.shape[1:]} cannot be joined: build both from the same classes and size"
            )
    return ImageTable(
        np.concatenate([table.pixels for table in tables]),
        np.concatenate([table.labels for table in tables]),
        tuple(skin_type for table in tables for skin_type in table.skin_types),
        first.class_names,
    )


def balancing_weights(table: ImageTable, balance: Balance) -> np.ndarray | None:
    """Return (n,) weights that make every group as likely as any other, or None for no balancing.

    A group is a class, or a class within a skin type; rows whose type is not recorded form groups too.
    :func:`oversampled_rows` is no matter of weights.
    """
    if balance in ("none", "oversample"):
        return None
    groups: list[object] = [int(label) for label in table.labels]
    if balance == "class_and_skin_type":
        groups = list(zip(groups, table.skin_types, strict=True))
    counts = Counter(groups)
    return np.asarray([1.0 / counts[group] for group in groups])


def oversampled_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return rows that hold every class as often as the largest, each row of a class equally often up to one.

    Args:
        labels: (n,) class codes.
        seed: decides which rows of a class are taken once more than the others.
    """
    largest = np.bincount(labels).max()
    order = numpy_generator("oversampling", seed).permutation(len(labels))
    by_class = [order[labels[order] == code] for code in np.unique(labels)]
    return np.concatenate([np.resize(rows, largest) for rows in by_class])


def working_size(image_size: int, augment: Augment) -> int:
    """Return the width in pixels at which images are held: with the paper's margin where it is cut off."""
    return image_size + 2 * _margin(image_size, augment)


def centre_images(images: torch.Tensor, image_size: int, augment: Augment) -> torch.Tensor:
    """Cut what the network sees in testing out of (b, 3, w, w) images of the working size."""
    margin = _margin(image_size, augment)
    return images[..., margin : margin + image_size, margin : margin + image_size]


@dataclass(frozen=True)
class Augmenter:
    """Random views of a batch, decided by ``(seed, step, position)`` alone.

    Attributes:
        augment: ``geometric`` crops, rotates and flips and mirrors what lies outside; ``paper`` does the same
            in the paper's order, black outside the crop, and keeps the centre; ``medmnist`` sharpens,
            stretches the contrast, mirrors left-right and turns the hue, as S3 does; ``randaugment`` is
            torchvision's, image by image; ``flip`` mirrors left-right and up-down; ``none`` does nothing.
        image_size: width of what comes out in pixels.
        colour_jitter: half width of the random factors on brightness, contrast and saturation.
        seed: root of the random numbers.
    """

    augment: Augment
    image_size: int
    colour_jitter: float
    seed: int

    def __call__(self, images: torch.Tensor, step: int, positions: torch.Tensor) -> torch.Tensor:
        """Return (b, 3, size, size) views of (b, 3, w, w) images in [0, 1], of the working size."""
        draws = torch.from_numpy(
            np.stack(
                [
                    numpy_generator("augment", self.seed, step, int(position)).random(2 * CROP_TRIES + 8)
                    for position in positions
                ]
            )
        )
        geometry, colour = draws[:, :-3], draws[:, -3:]
        if self.augment == "flip":
            images = _flipped(images, geometry[:, -2] < 0.5, geometry[:, -1] < 0.5)
        elif self.augment == "medmnist":
            images = _recoloured(images, geometry)
        elif self.augment == "randaugment":
            images = _rand_augmented(images, [self.seed, step], positions)
        elif self.augment != "none":
            images = self._resampled(images, geometry)
        if self.colour_jitter > 0:
            images = _jittered(images, 1 + self.colour_jitter * (2 * colour - 1))
        return images

    def _resampled(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        kept = self.image_size / working_size(self.image_size, self.augment)
        angles = torch.deg2rad(ROTATION * (2 * draws[:, -3] - 1))
        mirror = torch.where(draws[:, -2] < 0.5, -1.0, 1.0).double()
        upside = torch.where(draws[:, -1] < 0.5, -1.0, 1.0).double()
        if self.augment == "paper":
            upside = torch.ones_like(upside)
        turn = torch.zeros(len(draws), 2, 3, dtype=torch.float64)
        turn[:, 0, 0], turn[:, 0, 1] = angles.cos() * mirror, -angles.sin() * upside
        turn[:, 1, 0], turn[:, 1, 1] = angles.sin() * mirror, angles.cos() * upside
        shape = [len(draws), 3, self.image_size, self.image_size]
        device = images.device
        # Where in the randomly cropped frame, which spans [-1, 1], each pixel of the view comes from.
        frame = functional.affine_grid((turn * kept).float().to(device), shape, align_corners=False)
        centre, half = (part.float().to(device)[:, None, None] for part in crop_boxes(draws))
        padding = "zeros" if self.augment == "paper" else "reflection"
        grid = frame * half + centre
        resampled = functional.grid_sample(images, grid, "bilinear", padding, align_corners=False)
        if self.augment == "paper":
            resampled = resampled * (frame.abs() <= 1).all(-1)[:, None]
        return resampled


def crop_boxes(draws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return centres and half sizes (b, 2), as (x, y) in [-1, 1], of torchvision's RandomResizedCrop.

    Args:
        draws: (b, 2 * CROP_TRIES + 2 or more) uniform numbers: tries of area and ratio, then the place.
    """
    areas = CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * draws[:, :CROP_TRIES]
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    ratios = torch.exp(low + (high - low) * draws[:, CROP_TRIES : 2 * CROP_TRIES])
    sizes = torch.stack(((areas * ratios).sqrt(), (areas / ratios).sqrt()), dim=-1)
    fits = (sizes <= 1).all(-1)
    first = fits.int().argmax(dim=1)
    chosen = sizes[torch.arange(len(sizes)), first]
    # As in torchvision, an image in which no try fits is taken whole.
    chosen = torch.where(fits.any(1, keepdim=True), chosen, torch.ones_like(chosen))
    places = draws[:, 2 * CROP_TRIES : 2 * CROP_TRIES + 2]
    return (2 * places - 1) * (1 - chosen), chosen


def _margin(image_size: int, augment: Augment) -> int:
    return round(image_size * PAPER_MARGIN) if augment == "paper" else 0


def _flipped(images: torch.Tensor, mirror: torch.Tensor, upside: torch.Tensor) -> torch.Tensor:
    mirror, upside = (chosen.to(images.device)[:, None, None, None] for chosen in (mirror, upside))
    images = torch.where(mirror, images.flip(-1), images)
    return torch.where(upside, images.flip(-2), images)


def _recoloured(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Return S3's views of (b, 3, h, w) images in [0, 1]; ``draws`` (b, 4 or more) are uniform."""
    sharpen, stretch, mirror = (
        chosen[:, None, None, None] for chosen in (draws[:, :3] < 0.5).to(images.device).T
    )
    images = torch.where(sharpen, views.adjust_sharpness(images, SHARPNESS), images)
    images = torch.where(stretch, views.autocontrast(images), images)
    images = torch.where(mirror, images.flip(-1), images)
    return _hue_turned(images, HUE * (2 * draws[:, 3] - 1))


def _rand_augmented(images: torch.Tensor, key: list[int], positions: torch.Tensor) -> torch.Tensor:
    """Return RandAugment's views of (b, 3, h, w) images in [0, 1]."""
    transform = RandAugment(num_ops=RAND_AUGMENT_OPS, magnitude=RAND_AUGMENT_MAGNITUDE)
    seen = []
    # torchvision draws from the global generator alone.
    with torch.random.fork_rng(devices=[]):
        for image, position in zip((images * 255).round().byte(), positions.tolist(), strict=True):
            torch.manual_seed(derive_seed("randaugment", *key, position))
            seen.append(transform(image))
    return torch.stack(seen).to(images) / 255


def _hue_turned(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Add ``turns`` (b,), in whole turns of the colour circle, to the hue of (b, 3, h, w) images.

    The hue of HSV as in torchvision's ``adjust_hue``, which takes one factor for all images.
    """
    value, where = images.max(1)
    chroma = value - images.amin(1)
    red, green, blue = images.unbind(1)
    sixths = torch.stack((green - blue, blue - red, red - green), 1).gather(1, where[:, None])[:, 0]
    hue = 2 * where + sixths / chroma.clamp(min=torch.finfo(images.dtype).tiny)
    hue = hue + 6 * turns.to(images)[:, None, None]
    steps = (torch.tensor([5.0, 3.0, 1.0]).to(images)[:, None, None] + hue[:, None]) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(steps, 4 - steps).clamp(0, 1)


def _jittered(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Scale brightness, contrast and saturation of (b, 3, h, w) images in [0, 1] by ``factors`` (b, 3)."""
    brightness, contrast, saturation = factors.float().to(images.device)[:, :, None, None, None].unbind(1)
    weights = images.new_tensor([0.299, 0.587, 0.114])[None, :, None, None]  # ITU-R BT.601 luma
    images = (images * brightness).clamp(0, 1)
    mean = (images * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    images = (mean + contrast * (images - mean)).clamp(0, 1)
    grey = (images * weights).sum(1, keepdim=True)
    return (grey + saturation * (images - grey)).clamp(0, 1)
