"""The convolutional conditional VAE of Le Roux ("Exploring the Impact of Deep Learning Data Augmentation on
Medical Imagery Classification", section 2.4, Fig. 18 to 20).

The paper builds on PyTorch-VAE's. Its tables list the stacks for PathMNIST (28 px, RGB, 9 classes); that the
class enters the encoder as a fourth channel is read from the first convolution's 1,184 parameters, and the
layers beside the stacks (the class plane, the 1 x 1 convolution of the image, mean and log variance) are
that library's.
"""

from collections.abc import Sequence
from typing import cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from skindiff.generators.grid_sizes import conv_features
from skindiff.generators.vae_parts import (
    ConditionalVAE,
    ConvDecoder,
    PriorPipeline,
    conv_encoder,
    one_hot,
)

WIDTHS = (32, 64, 128, 256, 512)
"""Channels of the encoder's convolutions (Fig. 20)."""


class CvaeConv(ConditionalVAE, ModelMixin, ConfigMixin):
    """Encoder and decoder of Le Roux's cVAE.

    Args:
        classes: how many there are.
        image_size: height and width in pixels: 28, or with five widths any multiple of 16, or 4 less.
        channels: of the images.
        latent_dim: width of the code; 100 by Fig. 19 (109 inputs for 9 classes), 150 by section 2.5.
        widths: channels of the encoder's convolutions, reversed in the decoder.
    """

    @register_to_config
    def __init__(
        self,
        classes: int = 9,
        image_size: int = 28,
        channels: int = 3,
        latent_dim: int = 100,
        widths: Sequence[int] = WIDTHS,
    ) -> None:
        super().__init__()
        self.classes, self.latent_dim, self.image_size = classes, latent_dim, image_size
        self.decoder = ConvDecoder(latent_dim + classes, widths, image_size, channels)
        self.class_plane = nn.Linear(classes, image_size**2)
        self.image_input = nn.Conv2d(channels, channels, 1)
        self.encoder = conv_encoder(channels + 1, widths)
        features = conv_features(image_size, widths)
        self.mean = nn.Linear(features, latent_dim)
        self.log_variance = nn.Linear(features, latent_dim)

    def encode(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance, (batch, latent_dim) each."""
        plane = self.class_plane(one_hot(labels, self.classes))
        plane = plane.view(-1, 1, self.image_size, self.image_size)
        features = self.encoder(torch.cat((self.image_input(images), plane), dim=1))
        return self.mean(features), self.log_variance(features)

    def decode(self, codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, image_size, image_size) images in [-1, 1]."""
        return cast(torch.Tensor, self.decoder(torch.cat((codes, one_hot(labels, self.classes)), dim=1)))


class CvaeConvPipeline(PriorPipeline):
    """Generates with :class:`CvaeConv`."""

    family = "cvae_conv"
