"""The conditional DCGANs of Ravani et al. and Bingol et al.

Ravani et al. ("Generative Models for Few-Shot Medical Imaging", section IV.C): noise of 100 and a one-hot
label through a fully connected layer and upsampling + convolution blocks to 128 x 128; the discriminator is
given the image and an embedded label.

Bingol et al. ("Overcoming Medical Data Scarcity with GAN Generated Synthetic Images", section II.C): noise
of 100 and a one-hot label through transposed convolutions; batch norm with momentum 0.9 and leaky ReLU of
0.2 in both players, spectral normalisation of one power iteration. Its "outputs with 7 channels" is the
number of
classes: pictures have 3.

Neither gives widths, so the DCGAN's (Radford et al. 2015, Fig. 1) are the default: 64 at the image's side,
doubled with every halving up to 512.
"""

from itertools import pairwise
from typing import Literal, cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn.utils import parametrizations

from skindiff.generators.adversarial import LEAK, GANPipeline, Verdict, dcgan_weights, doublings, one_hot

Upsampling = Literal["nearest", "transposed"]
DiscriminatorNorm = Literal["batch", "instance", "none"]
MOST_WIDTHS = 8
"""The widest layer over the narrowest."""
KEPT = 0.9
"""Share of the old running statistics that batch norm keeps: Bingol et al.'s momentum as Keras and DCGAN
count it; PyTorch counts the rest, 0.1."""


class DCGANGenerator(ModelMixin, ConfigMixin):
    """Noise and a class to an image.

    Args:
        classes: how many there are.
        image_size: height and width in pixels: 4 to 7 doubled at least twice.
        channels: of the images.
        latent_size: of the noise.
        width: channels of the last hidden layer.
        upsampling: ``nearest`` with 3 x 3 convolutions and ReLU (Ravani et al.), or ``transposed`` 4 x 4
            convolutions with leaky ReLU (Bingol et al.).
    """

    @register_to_config
    def __init__(
        self,
        classes: int = 7,
        image_size: int = 128,
        channels: int = 3,
        latent_size: int = 100,
        width: int = 64,
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        self.classes = classes
        self.side, count = doublings(image_size)
        # The last doubling makes the image itself.
        widths = [width * min(2**power, MOST_WIDTHS) for power in reversed(range(count))]
        self.first_width = widths[0]
        self.input = nn.Linear(latent_size + classes, widths[0] * self.side**2)
        blocks: list[nn.Module] = [_activated(widths[0], upsampling)]
        for before, after in pairwise(widths):
            # Batch norm takes any bias away again.
            blocks += [_doubled(before, after, upsampling, bias=False), _activated(after, upsampling)]
        last = _doubled(widths[-1], channels, upsampling, bias=True)
        self.blocks = nn.Sequential(*blocks, last, nn.Tanh())
        dcgan_weights(self)

    def forward(self, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, image_size, image_size) images in [-1, 1]."""
        inputs = torch.cat((noise, one_hot(labels, self.classes).to(noise.dtype)), dim=1)
        grid = self.input(inputs).view(-1, self.first_width, self.side, self.side)
        return cast(torch.Tensor, self.blocks(grid))


class DCGANDiscriminator(ModelMixin, ConfigMixin):
    """An image and a class to a score; the class is a plane beside the image.

    Args:
        classes: how many there are.
        image_size: height and width in pixels.
        channels: of the images.
        width: channels of the first layer.
        norm: of the layers between the first and the last; a gradient penalty is only one image's own without
            batch norm.
        spectral_norm: bound the largest singular value of every convolution by 1 (Bingol et al.; one power
        iteration).
    """

    @register_to_config
    def __init__(
        self,
        classes: int = 7,
        image_size: int = 128,
        channels: int = 3,
        width: int = 64,
        norm: DiscriminatorNorm = "batch",
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        side, count = doublings(image_size)
        self.label_plane = nn.Embedding(classes, image_size**2)
        widths = [width * min(2**power, MOST_WIDTHS) for power in range(count)]
        layers: list[nn.Module] = [nn.Conv2d(channels + 1, widths[0], 4, 2, 1), nn.LeakyReLU(LEAK)]
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 4, 2, 1, bias=norm == "none"),
                *_norm(norm, after),
                nn.LeakyReLU(LEAK),
            ]
        self.blocks = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, side))
        dcgan_weights(self)
        nn.init.normal_(self.label_plane.weight)
        if spectral_norm:
            for part in self.blocks:
                if isinstance(part, nn.Conv2d):
                    parametrizations.spectral_norm(part)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> Verdict:
        """Return the scores of (batch, channels, image_size, image_size) images for their classes."""
        plane = self.label_plane(labels).view(-1, 1, self.image_size, self.image_size)
        return Verdict(self.blocks(torch.cat((images, plane.to(images.dtype)), dim=1)).flatten())


class DCGANPipeline(GANPipeline):
    """Generates with Ravani et al.'s :class:`DCGANGenerator`."""

    family = "dcgan"


class SNDCGANPipeline(GANPipeline):
    """Generates with Bingol et al.'s :class:`DCGANGenerator`."""

    family = "sn_dcgan"


def _activated(width: int, upsampling: Upsampling) -> nn.Module:
    activation = nn.ReLU() if upsampling == "nearest" else nn.LeakyReLU(LEAK)
    return nn.Sequential(nn.BatchNorm2d(width, momentum=1 - KEPT), activation)


def _doubled(before: int, after: int, upsampling: Upsampling, *, bias: bool) -> nn.Module:
    if upsampling == "nearest":
        return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1, bias=bias))
    return nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)


def _norm(norm: DiscriminatorNorm, width: int) -> list[nn.Module]:
    match norm:
        case "batch":
            return [nn.BatchNorm2d(width, momentum=1 - KEPT)]
        case "instance":
            return [nn.InstanceNorm2d(width, affine=True)]
        case "none":
            return []
