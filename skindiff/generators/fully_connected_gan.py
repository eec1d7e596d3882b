"""The fully connected conditional GAN of Chaptoukaev.

"The Effectiveness of Generative Models for Data Augmentation in Medical Applications", section 3.2: three
hidden fully connected layers in the generator and in the discriminator, for 28 px. It gives no widths: 256,
512 and 1,024, and the reverse, are those of the common conditional GAN for MNIST, as are the embedded
label, the leaky ReLU of 0.2 and the discriminator's dropout of 0.3.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from skindiff.generators.adversarial import LEAK, GANPipeline, Verdict

WIDTHS = (256, 512, 1024)


class FullyConnectedGenerator(ModelMixin, ConfigMixin):
    """Noise and an embedded class to the pixels of an image.

    Args:
        classes: how many there are.
        image_size: height and width in pixels.
        channels: of the images.
        latent_size: of the noise.
        widths: of the hidden layers.
    """

    @register_to_config
    def __init__(
        self,
        classes: int = 2,
        image_size: int = 28,
        channels: int = 1,
        latent_size: int = 100,
        widths: Sequence[int] = WIDTHS,
    ) -> None:
        super().__init__()
        self.shape = (channels, image_size, image_size)
        self.label = nn.Embedding(classes, classes)
        layers = _hidden([latent_size + classes, *widths], dropout=0.0)
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], channels * image_size**2), nn.Tanh())

    def forward(self, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, image_size, image_size) images in [-1, 1]."""
        pixels = self.layers(torch.cat((noise, self.label(labels).to(noise.dtype)), dim=1))
        return cast(torch.Tensor, pixels.view(-1, *self.shape))


class FullyConnectedDiscriminator(ModelMixin, ConfigMixin):
    """The pixels of an image and an embedded class to a score.

    Args:
        classes: how many there are.
        image_size: height and width in pixels.
        channels: of the images.
        widths: of the hidden layers, the last first.
        dropout: after every hidden layer.
    """

    @register_to_config
    def __init__(
        self,
        classes: int = 2,
        image_size: int = 28,
        channels: int = 1,
        widths: Sequence[int] = WIDTHS,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.label = nn.Embedding(classes, classes)
        sizes = [channels * image_size**2 + classes, *reversed(widths)]
        self.layers = nn.Sequential(*_hidden(sizes, dropout), nn.Linear(sizes[-1], 1))

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> Verdict:
        """Return the scores of (batch, channels, image_size, image_size) images for their classes."""
        inputs = torch.cat((images.flatten(1), self.label(labels).to(images.dtype)), dim=1)
        return Verdict(self.layers(inputs).squeeze(1))


class FullyConnectedGANPipeline(GANPipeline):
    """Generates with :class:`FullyConnectedGenerator`."""

    family = "fc_gan"


def _hidden(sizes: Sequence[int], dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(LEAK)]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return layers
