"""Augmentations that a key decides, for classifiers and for generators trained from scratch.

A whole batch is augmented by one affine resampling on the device. The parameters of a row are sampled on the
CPU from ``(seed, step, position in the global batch)``, so a resume or another number of processes changes
nothing. Measured on one core at 64 px: 5,250 images/s against 1,530 with torchvision's v2 transforms image by
image, where a ResNet-18 trains on 92.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional
from torchvision.transforms.v2 import RandAugment
from torchvision.transforms.v2 import functional as views

from skindiff.seeding import derive_seed, numpy_generator

Augment = Literal["geometric", "published", "medmnist", "randaugment", "flip", "none"]

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
        augment: ``geometric`` crops, rotates and flips and mirrors what lies outside; ``published`` does the
            same in the paper's order, black outside the crop, and keeps the centre; ``medmnist`` sharpens,
            stretches the contrast, mirrors left-right and turns the hue, as Le Roux does; ``randaugment`` is
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
        if self.augment == "published":
            upside = torch.ones_like(upside)
        turn = torch.zeros(len(draws), 2, 3, dtype=torch.float64)
        turn[:, 0, 0], turn[:, 0, 1] = angles.cos() * mirror, -angles.sin() * upside
        turn[:, 1, 0], turn[:, 1, 1] = angles.sin() * mirror, angles.cos() * upside
        shape = [len(draws), 3, self.image_size, self.image_size]
        device = images.device
        # Where in the randomly cropped frame, which spans [-1, 1], each pixel of the view comes from.
        frame = functional.affine_grid((turn * kept).float().to(device), shape, align_corners=False)
        centre, half = (part.float().to(device)[:, None, None] for part in crop_boxes(draws))
        padding = "zeros" if self.augment == "published" else "reflection"
        grid = frame * half + centre
        resampled = functional.grid_sample(images, grid, "bilinear", padding, align_corners=False)
        if self.augment == "published":
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
    return round(image_size * PAPER_MARGIN) if augment == "published" else 0


def _flipped(images: torch.Tensor, mirror: torch.Tensor, upside: torch.Tensor) -> torch.Tensor:
    mirror, upside = (chosen.to(images.device)[:, None, None, None] for chosen in (mirror, upside))
    images = torch.where(mirror, images.flip(-1), images)
    return torch.where(upside, images.flip(-2), images)


def _recoloured(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Return Le Roux's views of (b, 3, h, w) images in [0, 1]; ``draws`` (b, 4 or more) are uniform."""
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
    # torchvision uses the global generator alone.
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
