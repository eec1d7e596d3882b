"""The settings of the VAE families; light, so that a recipe checks them before anything heavy loads.

Defaults repeat what the papers give; what they leave open is ours and named so. All of them train with Adam.
Ravani et al. wrote "Generative Models for Few-Shot Medical Imaging", Chaptoukaev "The Effectiveness of
Generative Models for Data Augmentation in Medical Applications", Le Roux "Exploring the Impact of Deep
Learning Data Augmentation on Medical Imagery Classification".
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch

from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators.grid_sizes import conv_grid, start_grid
from skindiff.training.balancing import Balance
from skindiff.training.loop_config import LoopConfig, idle_of_loop
from skindiff.wrong_settings import refuse


def _adam(steps: int, batch_size: int) -> LoopConfig:
    return LoopConfig(
        steps=steps, batch_size=batch_size, learning_rate=1e-3, optimiser="adam", weight_decay=0.0
    )


def _fully_connected_loop() -> LoopConfig:
    return _adam(steps=1500, batch_size=128)


def _convolutional_loop() -> LoopConfig:
    return _adam(steps=3000, batch_size=64)


@dataclass
class VAEConfig:
    """What every VAE family shares; train with one of the families' own classes."""

    image_size: int = 28
    """Height and width in pixels."""
    channels: Literal[1, 3] = 3
    """1 for grey corpora, 3 for those in colour."""
    epochs: int = 0
    """Passes over the training images, which then overrule loop.steps; 0 leaves those."""
    early_stopping: bool = False
    """Keep the weights with the lowest loss on the split's validation images, in place of the last; looked at
    after every epoch, or every loop.validate_every steps where epochs is 0."""
    balance: Balance = "none"
    """Sample every image equally often (none), or classes, or classes within values of corpus.attribute."""
    augment: Literal["none", "flip", "geometric"] = "none"
    """Random views of the training images: flips, or with crops of 80 to 100% and rotation by 15 degrees."""
    loop: LoopConfig = field(default_factory=_convolutional_loop)
    """Steps, batch, rates; its seed is the one given to train_vae."""
    family: str = ""
    """Set by the family's own config."""

    def idle(self) -> dict[str, str]:
        """Return the settings of the loop that the training overrules."""
        return idle_of_loop(self.epochs)

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        _at_least(self, path, 1, "image_size")
        _at_least(self, path, 0, "epochs")
        if self.channels not in (1, 3):
            refuse(f"{path}channels is {self.channels}: set it to 1 (grey) or 3 (colour)")
        self.loop.validate(f"{path}loop.")

    def penalties(self, divergences: torch.Tensor, step: int) -> list[torch.Tensor]:
        """Return what the loss of a batch has besides its squared error; nothing, unless a family says so.

        Args:
            divergences: (batch, codes) in nats, as the network returns them.
            step: optimiser steps done.
        """
        return []


@dataclass
class FcAutoencoderConfig(VAEConfig):
    """Chaptoukaev's autoencoder, which reconstructs images; 300 epochs of 128 images at 1e-3 in the paper."""

    family: Literal["fc_autoencoder"] = "fc_autoencoder"
    """Name of the family."""
    channels: Literal[1, 3] = 1
    """1 for grey corpora, 3 for those in colour."""
    latent_dim: int = 32
    """Width of the code; the paper's is not known."""
    widths: list[int] = field(default_factory=lambda: [512, 256, 128, 64])
    """Hidden layers of the encoder, reversed in the decoder: four in the paper, their widths are ours."""
    loop: LoopConfig = field(default_factory=_fully_connected_loop)
    """Steps, batch, rates; its seed is the one given to train_vae."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        super().validate(path)
        _at_least(self, path, 1, "latent_dim")
        _refuse_widths(self.widths, path)


@dataclass
class FcCvaeConfig(VAEConfig):
    """Chaptoukaev's conditional VAE; 300 epochs of 128 images in the paper, which leaves the rate open."""

    family: Literal["fc_cvae"] = "fc_cvae"
    """Name of the family."""
    channels: Literal[1, 3] = 1
    """1 for grey corpora, 3 for those in colour."""
    latent_dim: int = 20
    """Width of the code; the paper's is not known."""
    widths: list[int] = field(default_factory=lambda: [512, 256])
    """Hidden layers of the encoder, reversed in the decoder: two in the paper, their widths are ours."""
    kl_weight: float = 0.1
    """Weight of the KL divergence in nats against the squared error summed over an image in [-1, 1]."""
    loop: LoopConfig = field(default_factory=_fully_connected_loop)
    """Steps, batch, rates; its seed is the one given to train_vae."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        super().validate(path)
        _at_least(self, path, 1, "latent_dim")
        _at_least(self, path, 0, "kl_weight")
        _refuse_widths(self.widths, path)

    def penalties(self, divergences: torch.Tensor, step: int) -> list[torch.Tensor]:
        """Return the weighted divergence; it does not depend on the step."""
        return [self.kl_weight * divergences.sum(1).mean()]


@dataclass
class CvaeConvConfig(VAEConfig):
    """Le Roux's convolutional conditional VAE at 28 px; 200 epochs in the paper, batch and rate are not
    known."""

    family: Literal["cvae_conv"] = "cvae_conv"
    """Name of the family."""
    latent_dim: int = 100
    """Width of the code: 100 by the paper's table (Fig. 19), 150 by its text."""
    widths: list[int] = field(default_factory=lambda: [32, 64, 128, 256, 512])
    """Channels of the encoder's convolutions, reversed in the decoder; the default is the paper's table."""
    kl_weight: float = 0.1
    """Weight of the KL divergence in nats against the squared error summed over an image in [-1, 1]."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        super().validate(path)
        _at_least(self, path, 1, "latent_dim")
        _at_least(self, path, 0, "kl_weight")
        _refuse_convolutional(self, self.widths, path)

    def penalties(self, divergences: torch.Tensor, step: int) -> list[torch.Tensor]:
        """Return the weighted divergence; it does not depend on the step."""
        return [self.kl_weight * divergences.sum(1).mean()]


@dataclass
class JointVAEConfig(VAEConfig):
    """Le Roux's Joint VAE at 28 px, which reconstructs images; 200 epochs in the paper, batch and rate not
    known."""

    family: Literal["joint_vae"] = "joint_vae"
    """Name of the family."""
    continuous_dim: int = 100
    """Width of the Gaussian code."""
    discrete_dim: int = 10
    """Values of the discrete code: 10 by the paper's table (Fig. 22), 50 by its text."""
    widths: list[int] = field(default_factory=lambda: [32, 64, 128, 256, 512])
    """Channels of the encoder's convolutions, reversed in the decoder; the default is the paper's table."""
    temperature: float = 0.5
    """Of the Gumbel-softmax: lower is closer to a single value, with noisier gradients."""
    continuous_capacity: float = 25.0
    """Nats that the Gaussian code is led to carry at the end of the rise."""
    discrete_capacity: float = 25.0
    """The same for the discrete code, which can carry log(discrete_dim) at most."""
    capacity_rise: float = 0.5
    """Share of the training over which both capacities rise from 0."""
    continuous_weight: float = 30.0
    """Weight of |divergence - capacity| against the squared error summed over an image in [-1, 1]."""
    discrete_weight: float = 30.0
    """The same for the discrete code."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        super().validate(path)
        _at_least(self, path, 1, "continuous_dim")
        _at_least(self, path, 2, "discrete_dim")
        for name in ("continuous_capacity", "discrete_capacity", "continuous_weight", "discrete_weight"):
            _at_least(self, path, 0, name)
        if not 0 < self.temperature < math.inf:
            refuse(f"{path}temperature is {self.temperature}: set it above 0, such as 0.5")
        if not 0 <= self.capacity_rise <= 1:
            refuse(f"{path}capacity_rise is {self.capacity_rise}: set it from 0 to 1")
        _refuse_convolutional(self, self.widths, path)

    def capacities(self, step: int) -> tuple[float, float]:
        """Return the nats that Gaussian and discrete code should carry at ``step`` of ``loop.steps``.

        Both rise in a straight line (Dupont 2018), the discrete one to what it can carry at most.
        """
        rise = self.capacity_rise * self.loop.steps
        share = min(1.0, step / rise) if rise else 1.0
        discrete = min(share * self.discrete_capacity, math.log(self.discrete_dim))
        return share * self.continuous_capacity, discrete

    def penalties(self, divergences: torch.Tensor, step: int) -> list[torch.Tensor]:
        """Return how far each code's mean divergence is from its capacity, weighted."""
        codes = zip(divergences.mean(0), self.capacities(step), strict=True)
        weights = (self.continuous_weight, self.discrete_weight)
        return [
            weight * (carried - capacity).abs()
            for weight, (carried, capacity) in zip(weights, codes, strict=True)
        ]


@dataclass
class CvaeResNetConfig(VAEConfig):
    """Ravani et al.'s conditional VAE at 224 px; its batch, rate, length and KL weight are not known."""

    family: Literal["cvae_resnet"] = "cvae_resnet"
    """Name of the family."""
    image_size: int = 224
    """Height and width in pixels: 4 to 7 times a power of two, such as 28, 32, 64, 128 or 224."""
    latent_dim: int = 128
    """Width of the code."""
    decoder_width: int = 512
    """Channels at the start of the decoder, halved by each doubling of the side; ours."""
    kl_weight: float = 0.1
    """Weight of the KL divergence in nats against the squared error summed over an image in [-1, 1]."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        super().validate(path)
        _at_least(self, path, 1, "latent_dim")
        _at_least(self, path, 16, "decoder_width")
        _at_least(self, path, 0, "kl_weight")
        _refuse_single_rows(self.loop, path)
        try:
            start_grid(self.image_size)
        except GeneratorError as error:
            raise ConfigError(f"{path}{error}") from error

    def penalties(self, divergences: torch.Tensor, step: int) -> list[torch.Tensor]:
        """Return the weighted divergence; it does not depend on the step."""
        return [self.kl_weight * divergences.sum(1).mean()]


def _at_least(config: VAEConfig, path: str, least: int, name: str) -> None:
    value = getattr(config, name)
    if not least <= value < math.inf:
        raise ConfigError(f"{path}{name} is {value}: set it to at least {least}")


def _refuse_widths(widths: list[int], path: str) -> None:
    if not widths or min(widths) < 1:
        refuse(f"{path}widths is {widths}: give at least one width, each at least 1")


def _refuse_convolutional(config: VAEConfig, widths: list[int], path: str) -> None:
    _refuse_widths(widths, path)
    _refuse_single_rows(config.loop, path)
    try:
        conv_grid(config.image_size, widths)
    except GeneratorError as error:
        raise ConfigError(f"{path}{error}") from error


def _refuse_single_rows(loop: LoopConfig, path: str) -> None:
    if loop.batch_size < 2:
        refuse(f"{path}loop.batch_size is {loop.batch_size}: batch norm needs at least 2 rows at a time")
