"""The conditional VAE with a ResNet-18 encoder of Ravani et al. ("Generative Models for Few-Shot Medical
Imaging", section IV.B): latent width 128, transposed-convolution decoder, one-hot classes into both, 224 px.

The paper gives no widths for the decoder; those here double towards the grid as in DCGAN.
"""

from typing import cast

import timm
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from skindiff.generators.grid_sizes import start_grid
from skindiff.generators.vae_parts import ConditionalVAE, PriorPipeline, one_hot


class CvaeResNet(ConditionalVAE, ModelMixin, ConfigMixin):
    """timm's ResNet-18 without its head, and a transposed-convolution decoder.

    Args:
        classes: how many there are.
        image_size: height and width in pixels: 4 to 7 times a power of two, such as 28, 32, 64, 128, 224.
        channels: of the images.
        latent_dim: width of the code.
        decoder_width: channels at the start of the decoder; each doubling of the side halves them.
    """

    @register_to_config
    def __init__(
        self,
        classes: int = 7,
        image_size: int = 224,
        channels: int = 3,
        latent_dim: int = 128,
        decoder_width: int = 512,
    ) -> None:
        super().__init__()
        self.classes, self.latent_dim = classes, latent_dim
        self.grid, self.decoder_width = start_grid(image_size), decoder_width
        self.encoder = timm.create_model("resnet18", num_classes=0, in_chans=channels)
        features = cast(int, self.encoder.num_features)
        self.moments = nn.Linear(features + classes, 2 * latent_dim)
        self.decoder_input = nn.Linear(latent_dim + classes, decoder_width * self.grid**2)
        self.decoder = _decoder(decoder_width, image_size // self.grid, channels)

    def encode(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance, (batch, latent_dim) each."""
        features = torch.cat((self.encoder(images), one_hot(labels, self.classes)), dim=1)
        mean, log_variance = self.moments(features).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, image_size, image_size) images in [-1, 1]."""
        start = self.decoder_input(torch.cat((codes, one_hot(labels, self.classes)), dim=1))
        return cast(torch.Tensor, self.decoder(start.view(-1, self.decoder_width, self.grid, self.grid)))


class CvaeResNetPipeline(PriorPipeline):
    """Generates with :class:`CvaeResNet`."""

    family = "cvae_resnet"


def _decoder(width: int, scale: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.BatchNorm2d(width), nn.ReLU()]
    while scale > 2:
        narrower = max(width // 2, 1)
        layers += [
            nn.ConvTranspose2d(width, narrower, 4, stride=2, padding=1),
            nn.BatchNorm2d(narrower),
            nn.ReLU(),
        ]
        width, scale = narrower, scale // 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1), nn.Tanh())
