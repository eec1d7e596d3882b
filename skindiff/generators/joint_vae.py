"""The Joint VAE of Le Roux ("Exploring the Impact of Deep Learning Data Augmentation on Medical Imagery
Classification", section 2.4, Fig. 21 to 23): a Gaussian and a discrete code (Dupont 2018).

It knows no classes. The paper trains one on a whole data set and puts its reconstructions between the
original images, so this family reconstructs: a reconstruction keeps the class of the image it is of.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn import functional

from skindiff.generators.class_conditional import row_noise
from skindiff.generators.cvae_conv import WIDTHS
from skindiff.generators.grid_sizes import conv_features
from skindiff.generators.vae_parts import (
    ConvDecoder,
    Reconstruction,
    RedrawPipeline,
    ShownImages,
    conv_encoder,
    gaussian_divergence,
    gaussian_sample,
)

Code = Literal["sample", "mode"]


class JointVAE(ModelMixin, ConfigMixin):
    """Encoder and decoder of Le Roux's Joint VAE; the layers beside its tables are PyTorch-VAE's.

    Args:
        image_size: height and width in pixels: 28, or with five widths any multiple of 16, or 4 less.
        channels: of the images.
        continuous_dim: width of the Gaussian code, 100.
        discrete_dim: values of the discrete code; 10 by Fig. 22 (110 inputs), 50 by section 2.5.
        widths: channels of the encoder's convolutions, reversed in the decoder.
        temperature: of the Gumbel-softmax; the library's 0.5, which its annealing never leaves.
    """

    @register_to_config
    def __init__(
        self,
        image_size: int = 28,
        channels: int = 3,
        continuous_dim: int = 100,
        discrete_dim: int = 10,
        widths: Sequence[int] = WIDTHS,
        temperature: float = 0.5,
    ) -> None:
        super().__init__()
        self.continuous_dim, self.discrete_dim, self.temperature = continuous_dim, discrete_dim, temperature
        self.decoder = ConvDecoder(continuous_dim + discrete_dim, widths, image_size, channels)
        self.encoder = conv_encoder(channels, widths)
        features = conv_features(image_size, widths)
        self.mean = nn.Linear(features, continuous_dim)
        self.log_variance = nn.Linear(features, continuous_dim)
        self.logits = nn.Linear(features, discrete_dim)

    def row_noise(self, generators: Sequence[torch.Generator | None]) -> torch.Tensor:
        """Return (batch, continuous_dim + discrete_dim) noise: normal, then Gumbel, row by row."""
        rows = []
        for generator in generators:
            normal = row_noise([generator], (self.continuous_dim,))[0]
            rows.append(torch.cat((normal, gumbel_noise(self.discrete_dim, generator))))
        return torch.stack(rows)

    def forward(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor) -> Reconstruction:
        """Reconstruct (batch, channels, height, width) images in [-1, 1]; their labels play no part."""
        mean, log_variance, logits = self._encode(images)
        normal, gumbel = noise.split((self.continuous_dim, self.discrete_dim), dim=1)
        values = functional.softmax((logits + gumbel) / self.temperature, dim=1)
        codes = torch.cat((gaussian_sample(mean, log_variance, normal), values), dim=1)
        divergences = (gaussian_divergence(mean, log_variance), discrete_divergence(logits))
        return Reconstruction(self.decoder(codes), torch.stack(divergences, dim=1))

    def redraw(self, images: torch.Tensor, noise: torch.Tensor, code: Code = "sample") -> torch.Tensor:
        """Return reconstructions in [-1, 1].

        Args:
            images: (batch, channels, height, width) in [-1, 1].
            noise: from :meth:`row_noise`.
            code: ``sample`` samples both codes, as in training; ``mode`` takes the likeliest, without noise.
        """
        if code == "sample":
            return self(images, torch.zeros(0), noise).images
        mean, _, logits = self._encode(images)
        values = functional.one_hot(logits.argmax(1), self.discrete_dim).to(mean.dtype)
        drawn: torch.Tensor = self.decoder(torch.cat((mean, values), dim=1))
        return drawn

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.encoder(images)
        return self.mean(features), self.log_variance(features), self.logits(features)


class JointVAEPipeline(RedrawPipeline):
    """Reconstructs images with :class:`JointVAE`."""

    family = "joint_vae"

    def draw(  # type: ignore[override]
        self,
        labels: torch.Tensor,
        generators: Sequence[torch.Generator | None],
        *,
        images: ShownImages,
        code: Code = "sample",
    ) -> torch.Tensor:
        """Return (batch, channels, height, width) reconstructions in [-1, 1].

        Args:
            labels: (batch,) class codes of the images.
            generators: one per image.
            images: one per label; see :func:`~skindiff.generators.vae_parts.shown_images`.
            code: see :meth:`JointVAE.redraw`.
        """
        return self._redrawn(labels, generators, images, code=code)


def gumbel_noise(size: int, generator: torch.Generator | None) -> torch.Tensor:
    """Return (size,) standard Gumbel noise from a CPU generator."""
    # In double precision no uniform number rounds to 1, where the outer logarithm ends.
    uniform = torch.rand(size, generator=generator, dtype=torch.float64).clamp_min(1e-12)
    return -(-uniform.log()).log().float()


def discrete_divergence(logits: torch.Tensor) -> torch.Tensor:
    """Return (batch,) KL divergences in nats of softmax(``logits``) from the uniform distribution.

    The closed form of the categorical, as Dupont (2018) takes it for the relaxed code too.
    """
    log_probabilities = functional.log_softmax(logits.float(), dim=1)
    uniform = torch.tensor(float(logits.shape[1]), device=logits.device).log()
    return (log_probabilities.exp() * (log_probabilities + uniform)).sum(1)
