"""The self-attention conditional GAN of Le Roux.

"Exploring the Impact of Deep Learning Data Augmentation on Medical Imagery Classification", Fig. 25
(discriminator, 772,426 parameters) and Fig. 26 (generator, 1,076,547), for PathMNIST: RGB, 9 classes, 28 px
worked on at 32. The counts leave out the attention's scale, a bare parameter that torchsummary does not see.
The paper took the networks from TorchFusion, whose defaults fill in what the tables cannot show: leaky ReLU
of 0.2, dropout off, a scale that starts at 0. The latent is 100 in the table (409,856 = 100 x 256 x 16 +
256) and 128 in section 2.5.
"""

from itertools import pairwise
from typing import cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn.utils import parametrizations

from skindiff.generators.adversarial import LEAK, GANPipeline, Verdict

FIRST_SIDE = 4
ATTENTION_SIDE = 16
"""Side in pixels of the map on which the discriminator attends (SelfAttention-14 of Fig. 25: 256 x 256)."""
MOST_CHANNELS = 512


def working_size(image_size: int) -> int:
    """Return the side at which the networks work: the next of 16, 32, 64, ... (28: 32, as published)."""
    size = 4 * FIRST_SIDE
    while size < image_size:
        size *= 2
    return size


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose gain and offset are looked up by class (ConditionalBatchNorm2d of Fig. 26)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.offset = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.offset.weight)

    def forward(self, maps: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, height, width) maps, normalised, for their classes."""
        gain, offset = (part(labels)[..., None, None] for part in (self.gain, self.offset))
        return cast(torch.Tensor, gain * self.norm(maps) + offset)


class SelfAttention(nn.Module):
    """Attention of every place to every other, added with a learnt scale (Zhang et al. 2018, section 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.key = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps of the same shape."""
        query, key, value = (part(maps).flatten(2) for part in (self.query, self.key, self.value))
        # Written out: the fused kernels cannot be differentiated twice, as a gradient penalty does.
        weights = (query.transpose(1, 2) @ key).softmax(dim=-1)
        return cast(torch.Tensor, maps + self.scale * (value @ weights.transpose(1, 2)).view_as(maps))


class _GeneratorBlock(nn.Module):
    """StandardGeneratorBlock of Fig. 26."""

    def __init__(self, before: int, after: int, classes: int, *, first: bool) -> None:
        super().__init__()
        stride, padding = (1, 0) if first else (2, 1)
        self.convolution = nn.ConvTranspose2d(before, after, FIRST_SIDE, stride, padding)
        self.norm = ConditionalBatchNorm2d(after, classes)
        self.activation = nn.LeakyReLU(LEAK)

    def forward(self, maps: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.activation(self.norm(self.convolution(maps), labels)))


class AttentionGenerator(ModelMixin, ConfigMixin):
    """Noise and a class to an image (Fig. 26).

    Args:
        classes: how many there are.
        image_size: of the pictures in pixels; images come at :func:`working_size`.
        channels: of the images.
        latent_size: of the noise.
        width: channels of the last block.
        dropout: after every block but the first.
    """

    @register_to_config
    def __init__(
        self,
        classes: int = 9,
        image_size: int = 28,
        channels: int = 3,
        latent_size: int = 100,
        width: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        count = (working_size(image_size) // FIRST_SIDE).bit_length() - 1
        widths = [min(width * 2**power, MOST_CHANNELS) for power in reversed(range(count))]
        blocks = [_GeneratorBlock(latent_size, widths[0], classes, first=True)]
        for before, after in pairwise(widths):
            blocks.append(_GeneratorBlock(before, after, classes, first=False))
        self.blocks = nn.ModuleList(blocks)
        # Not self.dropout: diffusers gives the setting of a name before the module.
        self.dropped = nn.Dropout(dropout)
        self.output = nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1)
        _xavier(self)

    def forward(self, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, size, size) images in [-1, 1] at the working size."""
        maps = noise[..., None, None]
        for number, block in enumerate(self.blocks):
            maps = block(maps, labels)
            if number:
                maps = self.dropped(maps)
        return cast(torch.Tensor, self.output(maps).tanh())


class AttentionDiscriminator(ModelMixin, ConfigMixin):
    """An image and a class to a score by projection, and to logits of the auxiliary class head (Fig. 25).

    Args:
        classes: how many there are.
        image_size: of the pictures in pixels; images come at :func:`working_size`.
        channels: of the images.
        width: channels of the first block.
        dropout: after every block but the first.
        spectral_norm: bound every convolution's and the score's largest singular value by 1, as TorchFusion's
            blocks do; it is no module, so the table is silent about it, and it adds no parameter.
    """

    @register_to_config
    def __init__(
        self,
        classes: int = 9,
        image_size: int = 28,
        channels: int = 3,
        width: int = 32,
        dropout: float = 0.0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        side = working_size(image_size)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(LEAK)]
        while side > FIRST_SIDE:
            after = min(2 * width, MOST_CHANNELS)
            layers += [nn.Conv2d(width, after, 4, 2, 1), nn.LeakyReLU(LEAK), nn.Dropout(dropout)]
            side, width = side // 2, after
            if side == ATTENTION_SIDE:
                layers.append(SelfAttention(width))
        self.features = nn.Sequential(*layers, nn.Flatten())
        size = width * FIRST_SIDE**2
        self.score = nn.Linear(size, 1)
        self.projection = nn.Embedding(classes, size)
        self.class_head = nn.Linear(size, classes)
        _xavier(self)
        if spectral_norm:
            for part in (*self.features, self.score, self.projection):
                if isinstance(part, (nn.Conv2d, nn.Linear, nn.Embedding)):
                    parametrizations.spectral_norm(part)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> Verdict:
        """Return scores and class logits of (batch, channels, size, size) images at the working size."""
        features = self.features(images)
        projected = (features * self.projection(labels)).sum(1)
        return Verdict(self.score(features).squeeze(1) + projected, self.class_head(features))


class AttentionGANPipeline(GANPipeline):
    """Generates with :class:`AttentionGenerator`, resampled to the size of the pictures."""

    family = "attention_gan"


def _xavier(module: nn.Module) -> None:
    """Sample first weights as TorchFusion's blocks do."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    if isinstance(module, AttentionDiscriminator):
        nn.init.xavier_uniform_(module.projection.weight)
