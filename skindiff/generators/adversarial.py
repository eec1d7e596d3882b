"""What the GAN families share: the verdict of a discriminator, sizes that double, and how to generate."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import ModelMixin
from torch import nn
from torch.nn import functional

from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators.class_conditional import ClassConditionalPipeline, row_noise

LEAK = 0.2
"""Slope of the leaky ReLUs below zero (DCGAN, TorchFusion and Bingol et al.'s section II.C)."""


class Verdict(NamedTuple):
    """What a discriminator says of a batch."""

    scores: torch.Tensor
    """(batch,) logits, high for real."""
    class_logits: torch.Tensor | None = None
    """(batch, classes) of the auxiliary class head, where there is one."""


def doublings(size: int, path: str = "") -> tuple[int, int]:
    """Return a side of 4 to 7 pixels, and how often it is doubled, that make ``size`` (28: 7, twice).

    Raises:
        ConfigError: there is none with at least two doublings.
    """
    side, count = size, 0
    while side > 7 and side % 2 == 0:
        side, count = side // 2, count + 1
    if not 4 <= side <= 7 or count < 2:
        raise ConfigError(
            f"{path}image_size is {size}: set it to 4, 5, 6 or 7 doubled at least twice, such as 28, 32, 64, "
            "128 or 224"
        )
    return side, count


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return (batch, classes) float32."""
    return functional.one_hot(labels, classes).float()


def dcgan_weights(module: nn.Module) -> None:
    """Sample first weights from N(0, 0.02), batch norm's from N(1, 0.02) (Radford et al. 2015, section 4)."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(part.weight, 0.0, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d) and part.affine:
            nn.init.normal_(part.weight, 1.0, 0.02)


class GANPipeline(ClassConditionalPipeline):
    """Base of the pipelines of the GAN families: a generator, and nothing of the discriminator.

    The generator maps (batch, latent_size) noise and (batch,) labels to images in [-1, 1].

    Raises:
        GeneratorError: the generator was made for another number of classes.
    """

    generator: ModelMixin

    # from_pretrained takes what has a default from the saved config.
    def __init__(
        self,
        generator: ModelMixin,
        class_names: list[str] | None = None,
        image_size: int = 28,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.register_modules(generator=generator)
        self._register(class_names or [], image_size, channels)
        made, given = generator.config.classes, len(self.config.class_names)
        if made != given:
            raise GeneratorError(
                f"class_names has {given} classes, but the generator has {made}: give those that it was "
                "trained on"
            )

    def draw(  # type: ignore[override]
        self, labels: torch.Tensor, generators: Sequence[torch.Generator | None]
    ) -> torch.Tensor:
        """Return ``(batch, channels, image_size, image_size)`` images.

        A generator whose own size is another one (Le Roux's works at 32 pixels for 28) is resampled, as its
        training images were.
        """
        noise = row_noise(generators, (self.generator.config.latent_size,), labels.device)
        images: torch.Tensor = self.generator(noise.to(self.generator.dtype), labels)
        size = self.config.image_size
        if images.shape[-1] != size:
            images = functional.interpolate(
                images, (size, size), mode="bilinear", antialias=True, align_corners=False
            )
        return images
