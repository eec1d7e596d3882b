"""The fully connected autoencoder and conditional VAE of Chaptoukaev ("The Effectiveness of Generative
Models for Data Augmentation in Medical Applications", section 3.2).

The paper says how many hidden layers each has (four, and two, on either side) and not how wide they or the
codes are: the widths here are ours. Images enter and leave as flat vectors, so any size works.
"""

import math
from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from skindiff.generators.vae_parts import (
    ConditionalVAE,
    PriorPipeline,
    Reconstruction,
    RedrawPipeline,
    one_hot,
)

AUTOENCODER_WIDTHS, CVAE_WIDTHS = (512, 256, 128, 64), (512, 256)


class FcAutoencoder(ModelMixin, ConfigMixin):
    """A deep autoencoder (equations 1 to 3); it knows no classes.

    Args:
        image_size: height and width in pixels.
        channels: of the images.
        latent_dim: width of the code.
        widths: of the encoder's hidden layers, reversed in the decoder.
    """

    @register_to_config
    def __init__(
        self,
        image_size: int = 28,
        channels: int = 1,
        latent_dim: int = 32,
        widths: Sequence[int] = AUTOENCODER_WIDTHS,
    ) -> None:
        super().__init__()
        self.shape = (channels, image_size, image_size)
        pixels = math.prod(self.shape)
        self.encoder = _layers(pixels, widths, latent_dim)
        self.decoder = _layers(latent_dim, widths[::-1], pixels)

    def row_noise(self, generators: Sequence[torch.Generator | None]) -> torch.Tensor:
        """Return (batch, 0): nothing is random here."""
        return torch.zeros(len(generators), 0)

    def forward(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor) -> Reconstruction:
        """Reconstruct (batch, channels, height, width) images in [-1, 1]; labels and noise play no part."""
        return Reconstruction(self.redraw(images, noise), images.new_zeros(len(images), 0))

    def redraw(self, images: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction of each image, in [-1, 1]; the noise is empty."""
        drawn: torch.Tensor = self.decoder(self.encoder(images.flatten(1))).tanh()
        return drawn.view(-1, *self.shape)


class FcAutoencoderPipeline(RedrawPipeline):
    """Reconstructs images with :class:`FcAutoencoder`."""

    family = "fc_autoencoder"


class FcCvae(ConditionalVAE, ModelMixin, ConfigMixin):
    """A conditional VAE (equation 6) that sees the class as one-hot numbers beside pixels and code.

    Args:
        classes: how many there are.
        image_size: height and width in pixels.
        channels: of the images.
        latent_dim: width of the code.
        widths: of the encoder's hidden layers, reversed in the decoder.
    """

    @register_to_config
    def __init__(
        self,
        classes: int = 2,
        image_size: int = 28,
        channels: int = 1,
        latent_dim: int = 20,
        widths: Sequence[int] = CVAE_WIDTHS,
    ) -> None:
        super().__init__()
        self.classes, self.latent_dim = classes, latent_dim
        self.shape = (channels, image_size, image_size)
        pixels = math.prod(self.shape)
        self.encoder = _layers(pixels + classes, widths, 2 * latent_dim)
        self.decoder = _layers(latent_dim + classes, widths[::-1], pixels)

    def encode(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance, (batch, latent_dim) each."""
        moments = self.encoder(torch.cat((images.flatten(1), one_hot(labels, self.classes)), dim=1))
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, log_variance

    def decode(self, codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, image_size, image_size) images in [-1, 1]."""
        drawn = self.decoder(torch.cat((codes, one_hot(labels, self.classes)), dim=1)).tanh()
        return drawn.view(-1, *self.shape)


class FcCvaePipeline(PriorPipeline):
    """Generates with :class:`FcCvae`."""

    family = "fc_cvae"


def _layers(inputs: int, widths: Sequence[int], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))
