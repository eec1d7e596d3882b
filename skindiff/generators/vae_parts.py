"""What the VAE families share: reparametrised Gaussians, convolutional stacks, and the two ways to generate.

A VAE generates a class from noise, or reconstructs images that it is shown. Every network of the family maps
``(images, labels, noise)`` to reconstructions and divergences, and tells what noise an image takes, so that
one training (:mod:`skindiff.training.vae`) serves all.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import ModelMixin
from PIL import Image
from torch import nn
from torch.nn import functional

from skindiff.errors import GeneratorError
from skindiff.generators.class_conditional import ClassConditionalPipeline, row_noise
from skindiff.generators.grid_sizes import conv_grid

ShownImages = Sequence[Image.Image] | torch.Tensor


class Reconstruction(NamedTuple):
    """What a network makes of a batch."""

    images: torch.Tensor
    """(batch, channels, height, width) in [-1, 1]."""
    divergences: torch.Tensor
    """(batch, parts) KL divergences from the prior in nats: none, Gaussian, or Gaussian and discrete."""


class ConditionalVAE:
    """Mixin of the networks that encode and decode an image given its class.

    Attributes:
        latent_dim: width of the Gaussian code.
        classes: how many there are.
    """

    latent_dim: int
    classes: int

    @abstractmethod
    def encode(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance, (batch, latent_dim) each, of the code of ``images`` of a class."""

    @abstractmethod
    def decode(self, codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, height, width) images in [-1, 1] of (batch, latent_dim) codes."""

    def row_noise(self, generators: Sequence[torch.Generator | None]) -> torch.Tensor:
        """Return (batch, latent_dim) standard normal noise, each row from its own CPU generator."""
        return row_noise(generators, (self.latent_dim,))

    def forward(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor) -> Reconstruction:
        """Reconstruct ``images`` through a code that ``noise`` samples from their posterior."""
        mean, log_variance = self.encode(images, labels)
        codes = gaussian_sample(mean, log_variance, noise)
        return Reconstruction(
            self.decode(codes, labels), gaussian_divergence(mean, log_variance).unsqueeze(1)
        )


def gaussian_sample(mean: torch.Tensor, log_variance: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return the reparametrised sample ``mean + exp(log_variance / 2) * noise`` (Kingma & Welling 2013)."""
    return mean + (0.5 * log_variance).exp() * noise


def gaussian_divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return (batch,) KL divergences in nats from the standard normal."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return (batch, classes) float32."""
    return functional.one_hot(labels, classes).float()


def conv_encoder(channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Return Le Roux's encoder (Fig. 20, 23): one 3 x 3 convolution of stride 2 for each width, flattened."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.LeakyReLU()]
        channels = width
    return nn.Sequential(*layers, nn.Flatten())


class ConvDecoder(nn.Module):
    """Le Roux's decoder (Fig. 19, 22): a linear layer, doublings, and an output that zooms in and out again.

    At 28 pixels it starts from 2 x 2, doubles to 32 and takes 4 off as in the tables; a multiple of 16 keeps
    its size in the output layer, with the same parameters.

    Args:
        inputs: width of the codes.
        widths: of the encoder's convolutions; used in reverse.
        image_size: height and width in pixels.
        channels: of the images.
    """

    def __init__(self, inputs: int, widths: Sequence[int], image_size: int, channels: int) -> None:
        super().__init__()
        self.grid, excess = conv_grid(image_size, widths)
        self.width = widths[-1]
        self.input = nn.Linear(inputs, self.width * self.grid**2)
        layers: list[nn.Module] = []
        for width, narrower in zip(widths[::-1], widths[-2::-1], strict=False):
            up = nn.ConvTranspose2d(width, narrower, 3, stride=2, padding=1, output_padding=1)
            layers += [up, nn.BatchNorm2d(narrower), nn.LeakyReLU()]
        self.hidden = nn.Sequential(*layers)
        last = widths[0]
        kept = excess == 0
        self.output = nn.Sequential(
            nn.ConvTranspose2d(last, last, 3, 2, padding=1 if kept else 2, output_padding=int(kept)),
            nn.BatchNorm2d(last),
            nn.LeakyReLU(),
            nn.Conv2d(last, last, 3, stride=2, padding=int(kept)),
            nn.BatchNorm2d(last),
            nn.LeakyReLU(),
            nn.Conv2d(last, channels, 3, padding=int(kept)),
            nn.Tanh(),
        )

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Map (batch, inputs) to (batch, channels, image_size, image_size) in [-1, 1]."""
        start = self.input(codes).view(-1, self.width, self.grid, self.grid)
        images: torch.Tensor = self.output(self.hidden(start))
        return images


class _VAEPipeline(ClassConditionalPipeline):
    """One network, and what it takes to generate with it."""

    def __init__(
        self, vae: ModelMixin, class_names: list[str] | None = None, image_size: int = 28, channels: int = 3
    ) -> None:
        super().__init__()
        # As from_pretrained leaves it: a batch norm in training mode lets images depend on one another.
        self.register_modules(vae=_aligned(vae.eval()))
        self._register(class_names or [], image_size, channels)


def _aligned(network: ModelMixin) -> ModelMixin:
    """Move the weights to memory of their own.

    Read from a file they lie wherever they lay in it, and on a CPU products with such weights can differ in
    the last bit from those with the weights that were saved.
    """
    for part in (*network.parameters(), *network.buffers()):
        part.data = part.data.clone()
    return network


class PriorPipeline(_VAEPipeline):
    """Generates a class by decoding standard normal noise.

    Raises:
        GeneratorError: the network was made for another number of classes.
    """

    def __init__(
        self, vae: ModelMixin, class_names: list[str] | None = None, image_size: int = 28, channels: int = 3
    ) -> None:
        super().__init__(vae, class_names, image_size, channels)
        given = len(self.config.class_names)
        if vae.classes != given:
            raise GeneratorError(
                f"class_names has {given} classes, but the network has {vae.classes}: give those that it "
                "was trained on"
            )

    def draw(  # type: ignore[override]
        self,
        labels: torch.Tensor,
        generators: Sequence[torch.Generator | None],
        *,
        temperature: float = 1.0,
    ) -> torch.Tensor:
        """Return (batch, channels, height, width) images in [-1, 1].

        Args:
            labels: (batch,) class codes.
            generators: one per image.
            temperature: standard deviation of the codes; below 1 the images are more typical and less
                diverse than the training images.
        """
        codes = temperature * self.vae.row_noise(generators).to(labels.device)
        images: torch.Tensor = self.vae.decode(codes, labels)
        return images


class RedrawPipeline(_VAEPipeline):
    """Reconstructs an image that it is shown, whose class it keeps."""

    needs_images = True

    def draw(  # type: ignore[override]
        self,
        labels: torch.Tensor,
        generators: Sequence[torch.Generator | None],
        *,
        images: ShownImages,
    ) -> torch.Tensor:
        """Return (batch, channels, height, width) reconstructions in [-1, 1].

        Args:
            labels: (batch,) class codes of the images.
            generators: one per image.
            images: one per label; see :func:`shown_images`.
        """
        return self._redrawn(labels, generators, images)

    def _redrawn(
        self,
        labels: torch.Tensor,
        generators: Sequence[torch.Generator | None],
        images: ShownImages,
        **options: Any,
    ) -> torch.Tensor:
        """Generate with options of the network's ``redraw``."""
        shown = shown_images(images, self.config.image_size, self.config.channels).to(labels.device)
        noise = self.vae.row_noise(generators).to(labels.device)
        drawn: torch.Tensor = self.vae.redraw(shown, noise, **options)
        return drawn


def shown_images(images: ShownImages, image_size: int, channels: int) -> torch.Tensor:
    """Return (batch, channels, image_size, image_size) float32 in [-1, 1].

    Args:
        images: PIL images, or a tensor of exactly that shape and range.
        image_size: height and width that a network takes.
        channels: 1 or 3.

    Raises:
        GeneratorError: an image has another size, or the tensor another shape or range.
    """
    if isinstance(images, torch.Tensor):
        if images.shape[1:] != (channels, image_size, image_size) or images.abs().max() > 1:
            raise GeneratorError(
                f"images: a tensor of shape {tuple(images.shape)} within [{images.min():.3g}, "
                f"{images.max():.3g}]; give (batch, {channels}, {image_size}, {image_size}) in [-1, 1]"
            )
        return images.float()
    for image in images:
        if image.size != (image_size, image_size):
            raise GeneratorError(
                f"images: one of {image.size[0]} x {image.size[1]} pixels; this generator reconstructs "
                f"{image_size} x {image_size}, so resize first"
            )
    mode = "L" if channels == 1 else "RGB"
    pixels = np.stack([np.asarray(image.convert(mode)) for image in images])
    pixels = pixels.reshape(len(pixels), image_size, image_size, channels)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
