"""The settings of the conditional GANs of four papers: one class each, the published ones as defaults."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from diffusers import ModelMixin

from skindiff.generators.adversarial import doublings
from skindiff.generators.attention_gan import (
    AttentionDiscriminator,
    AttentionGenerator,
    working_size,
)
from skindiff.generators.dcgan import (
    DCGANDiscriminator,
    DCGANGenerator,
    DiscriminatorNorm,
)
from skindiff.generators.fully_connected_gan import (
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
)
from skindiff.training.balancing import Balance
from skindiff.training.loop_config import LoopConfig, idle_of_loop
from skindiff.wrong_settings import refuse

Objective = Literal["non_saturating", "minimax", "hinge"]


def _loop(steps: int, batch_size: int, learning_rate: float) -> LoopConfig:
    return LoopConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimiser="adam",
        weight_decay=0.0,
        max_grad_norm=0.0,
        checkpoint_every=500,
        validate_every=500,
    )


@dataclass
class GANConfig:
    """What all GAN families share; each has its own class, with the published settings as defaults."""

    family: str = ""
    """Set by the family's own config."""
    image_size: int = 64
    """Height and width of the images in pixels."""
    channels: Literal[1, 3] = 3
    """1 for a grey corpus, 3 for one in colour."""
    latent_size: int = 100
    """Width of the noise."""
    objective: Objective = "non_saturating"
    """non_saturating is binary cross-entropy with the generator's labels flipped."""
    gradient_penalty: float = 0.0
    """Weight of (gradient norm - 1) squared between real and synthetic images (WGAN-GP); 0 switches it
    off."""
    discriminator_steps: int = 1
    """Steps of the discriminator for each of the generator."""
    discriminator_rate: float = 1.0
    """The discriminator's learning rate over loop.learning_rate."""
    adam_beta1: float = 0.5
    """Decay of Adam's average gradient, for both players."""
    adam_beta2: float = 0.999
    """Decay of Adam's average square, for both players."""
    balance: Balance = "none"
    """Sample every image equally often (none), or classes, or classes within values of corpus.attribute."""
    augment: Literal["none", "flip"] = "none"
    """flip mirrors real images left-right and up-down at random."""
    diversity_images: int = 16
    """Images of each class whose distances are measured every loop.validate_every steps; at least 2."""
    collapse_below: float = 0.3
    """A class whose images are less diverse than this share of its real images is reported as collapsed."""
    epochs: int = 0
    """Passes of the discriminator over the training images, which overrule loop.steps; 0 leaves those. All
    batches are full, so that one may end a pass and begin the next."""
    loop: LoopConfig = field(default_factory=lambda: _loop(5000, 64, 2e-4))
    """Steps of the generator, batch, rates; its seed is the one given to train_gan."""

    def settled(self, rows: int, seed: int, processes: int) -> Self:
        """Return these settings with a seed, and with the steps that the epochs take of so many rows."""
        loop = replace(self.loop, seed=seed)
        if self.epochs:
            seen = loop.global_batch(processes) * self.discriminator_steps
            loop = replace(loop, steps=math.ceil(self.epochs * rows / seen))
        return replace(self, loop=loop)

    def idle(self) -> dict[str, str]:
        """Return the settings of the loop that the training overrules."""
        return idle_of_loop(self.epochs)

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        self.loop.validate(f"{path}loop.")
        for name, least in (
            ("image_size", 4),
            ("latent_size", 1),
            ("discriminator_steps", 1),
            ("diversity_images", 2),
            ("epochs", 0),
        ):
            if getattr(self, name) < least:
                refuse(f"{path}{name} is {getattr(self, name)}: set it to at least {least}")
        if self.channels not in (1, 3):
            refuse(f"{path}channels is {self.channels}: set it to 1 (grey) or 3 (colour)")
        for name in ("adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                refuse(f"{path}{name} is {getattr(self, name)}: set it at least to 0 and below 1")
        if not 0 <= self.gradient_penalty < float("inf"):
            refuse(f"{path}gradient_penalty is {self.gradient_penalty}: set it to 0 or more")
        if not 0 < self.discriminator_rate < float("inf"):
            refuse(f"{path}discriminator_rate is {self.discriminator_rate}: set it above 0")

    def working_size(self) -> int:
        """Return the side at which the networks see and generate images."""
        return self.image_size

    def networks(self, classes: int) -> tuple[ModelMixin, ModelMixin]:
        """Return a generator and a discriminator with fresh weights from the global generator."""
        raise NotImplementedError


@dataclass
class DCGANConfig(GANConfig):
    """Ravani et al.'s conditional DCGAN (section IV.C); it gives no number of steps, batch or widths."""

    family: Literal["dcgan"] = "dcgan"
    """The family's name."""
    image_size: int = 128
    """Height and width of the images in pixels: 4 to 7 doubled at least twice, such as 28, 32, 64, 128."""
    width: int = 64
    """Channels of the narrowest layer of both players."""
    discriminator_norm: DiscriminatorNorm = "batch"
    """Of the discriminator's inner layers."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        super().validate(path)
        doublings(self.image_size, path)
        if self.width < 1:
            refuse(f"{path}width is {self.width}: set it to at least 1")

    def networks(self, classes: int) -> tuple[ModelMixin, ModelMixin]:
        """Return Ravani et al.'s players."""
        return self._networks(classes, "nearest", spectral_norm=False)

    def _networks(
        self, classes: int, upsampling: Literal["nearest", "transposed"], *, spectral_norm: bool
    ) -> tuple[ModelMixin, ModelMixin]:
        generator = DCGANGenerator(
            classes, self.image_size, self.channels, self.latent_size, self.width, upsampling
        )
        discriminator = DCGANDiscriminator(
            classes, self.image_size, self.channels, self.width, self.discriminator_norm, spectral_norm
        )
        return generator, discriminator


@dataclass
class SNDCGANConfig(DCGANConfig):
    """Bingol et al.'s cDCGAN (section II.C); it gives no image size, batch or widths, and 100 epochs."""

    family: Literal["sn_dcgan"] = "sn_dcgan"  # type: ignore[assignment]
    """The family's name."""
    image_size: int = 64
    """Height and width of the images in pixels: 4 to 7 doubled at least twice, such as 28, 32, 64, 128."""
    gradient_penalty: float = 10.0
    """Weight of (gradient norm - 1) squared between real and synthetic images (WGAN-GP); 0 switches it
    off."""

    def networks(self, classes: int) -> tuple[ModelMixin, ModelMixin]:
        """Return Bingol et al.'s players."""
        return self._networks(classes, "transposed", spectral_norm=True)


@dataclass
class AttentionGANConfig(GANConfig):
    """Le Roux's self-attention GAN (Fig. 25 and 26); 100 epochs, no batch or rates given."""

    family: Literal["attention_gan"] = "attention_gan"
    """The family's name."""
    image_size: int = 28
    """Height and width of the images in pixels; worked on at the next of 16, 32, 64, 128, 256."""
    latent_size: int = 100
    """Width of the noise: 100 in Fig. 26, 128 in section 2.5."""
    width: int = 64
    """Channels of the generator's last block; the discriminator's first has half of it."""
    dropout: float = 0.0
    """After every block but the first of both players; listed without a rate, TorchFusion's is 0."""
    spectral_norm: bool = True
    """Normalise the discriminator's layers as TorchFusion does; the tables cannot show it."""
    class_weight: float = 1.0
    """Weight of the auxiliary class head's cross-entropy: on real images, and on the generator's."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        super().validate(path)
        if self.width < 16:
            refuse(f"{path}width is {self.width}: set it to at least 16, for attention takes 1/8")
        if not 0 <= self.dropout < 1:
            refuse(f"{path}dropout is {self.dropout}: set it in [0, 1)")
        if not 0 <= self.class_weight < float("inf"):
            refuse(f"{path}class_weight is {self.class_weight}: set it to 0 or more")

    def working_size(self) -> int:
        """Return the side at which the networks see and generate images."""
        return working_size(self.image_size)

    def networks(self, classes: int) -> tuple[ModelMixin, ModelMixin]:
        """Return Le Roux's players."""
        shape = (classes, self.image_size, self.channels)
        generator = AttentionGenerator(*shape, self.latent_size, self.width, self.dropout)
        return generator, AttentionDiscriminator(*shape, self.width // 2, self.dropout, self.spectral_norm)


@dataclass
class FullyConnectedGANConfig(GANConfig):
    """Chaptoukaev's fully connected GAN (section 3.2), which learns for 1,000 epochs: 4,266 steps of 128 of
    BreastMNIST's 546 images."""

    family: Literal["fc_gan"] = "fc_gan"
    """The family's name."""
    image_size: int = 28
    """Height and width of the images in pixels."""
    channels: Literal[1, 3] = 1
    """1 for a grey corpus, 3 for one in colour."""
    width: int = 256
    """Units of the narrowest hidden layer of both players; the others have twice and four times as many."""
    dropout: float = 0.3
    """After the discriminator's hidden layers."""
    loop: LoopConfig = field(default_factory=lambda: _loop(5000, 128, 1e-4))
    """Steps of the generator, batch, rates; its seed is the one given to train_gan."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        super().validate(path)
        if self.width < 1:
            refuse(f"{path}width is {self.width}: set it to at least 1")
        if not 0 <= self.dropout < 1:
            refuse(f"{path}dropout is {self.dropout}: set it in [0, 1)")

    def networks(self, classes: int) -> tuple[ModelMixin, ModelMixin]:
        """Return Chaptoukaev's players."""
        shape = (classes, self.image_size, self.channels)
        widths = [self.width, 2 * self.width, 4 * self.width]
        generator = FullyConnectedGenerator(*shape, self.latent_size, widths)
        return generator, FullyConnectedDiscriminator(*shape, widths, self.dropout)
