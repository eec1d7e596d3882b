"""Any from-scratch generator by the name of its family: its settings, and its training as a stage."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import Dataset

from skindiff.errors import ConfigError
from skindiff.runs import RunFolder
from skindiff.training.classifier_data import ImageTable
from skindiff.training.ddpm import DDPMConfig, train_ddpm
from skindiff.training.gan import train_gan
from skindiff.training.gan_config import (
    AttentionGANConfig,
    DCGANConfig,
    FullyConnectedGANConfig,
    GANConfig,
    SNDCGANConfig,
)
from skindiff.training.vae import train_vae
from skindiff.training.vae_config import (
    CvaeConvConfig,
    CvaeResNetConfig,
    FcAutoencoderConfig,
    FcCvaeConfig,
    JointVAEConfig,
    VAEConfig,
)

logger = get_logger(__name__)

Family = Literal[
    "cvae_resnet",
    "cvae_conv",
    "joint_vae",
    "fc_autoencoder",
    "fc_cvae",
    "dcgan",
    "sn_dcgan",
    "attention_gan",
    "fc_gan",
    "ddpm",
]
FamilyConfig = VAEConfig | GANConfig | DDPMConfig
FAMILIES: tuple[str, ...] = get_args(Family)
PIPELINE, LOG_FILE = "pipeline", "training_log.json"


@dataclass
class FromScratchConfig:
    """A generator that is trained on the corpus alone, and the settings of each family it can be of."""

    family: Family = "ddpm"
    """Which family is trained; a recipe that compares several overrules it."""
    cvae_resnet: CvaeResNetConfig = field(default_factory=CvaeResNetConfig)
    """S1's conditional VAE with a ResNet-18 encoder."""
    cvae_conv: CvaeConvConfig = field(default_factory=CvaeConvConfig)
    """S3's convolutional conditional VAE."""
    joint_vae: JointVAEConfig = field(default_factory=JointVAEConfig)
    """S3's Joint VAE, which re-draws images."""
    fc_autoencoder: FcAutoencoderConfig = field(default_factory=FcAutoencoderConfig)
    """S2's fully connected autoencoder, which re-draws images."""
    fc_cvae: FcCvaeConfig = field(default_factory=FcCvaeConfig)
    """S2's fully connected conditional VAE."""
    dcgan: DCGANConfig = field(default_factory=DCGANConfig)
    """S1's conditional DCGAN."""
    sn_dcgan: SNDCGANConfig = field(default_factory=SNDCGANConfig)
    """S4's conditional DCGAN with spectral normalisation and gradient penalty."""
    attention_gan: AttentionGANConfig = field(default_factory=AttentionGANConfig)
    """S3's conditional GAN with self-attention."""
    fc_gan: FullyConnectedGANConfig = field(default_factory=FullyConnectedGANConfig)
    """S2's fully connected conditional GAN."""
    ddpm: DDPMConfig = field(default_factory=DDPMConfig)
    """The conditional diffusion model."""

    @property
    def own(self) -> FamilyConfig:
        """The settings of the chosen family."""
        settings: FamilyConfig = getattr(self, self.family)
        return settings

    def of(self, family: str) -> "FromScratchConfig":
        """Return the same settings for another family, one of :data:`FAMILIES`."""
        return replace(self, family=cast(Family, family))

    def validate(self, path: str = "") -> None:
        """Raise a :class:`ConfigError` on the first setting of the chosen family that cannot work."""
        if self.family not in FAMILIES:
            raise ConfigError(f"{path}family: {self.family!r} is not one of {', '.join(FAMILIES)}")
        self.own.validate(f"{path}{self.family}.")


def validate_families(
    families: Sequence[str], config: FromScratchConfig, channels: int, path: str = "", generator: str = ""
) -> None:
    """Check the families that a recipe compares, each with its own settings.

    Args:
        families: names out of :data:`FAMILIES`.
        config: with the settings of all of them.
        channels: of the corpus: 1 where it is grey.
        path: goes before the name of the recipe's setting ``families``.
        generator: goes before the names of the settings in ``config``.

    Raises:
        ConfigError: one is unknown or named twice, none is named, or a setting cannot work.
    """
    unknown = [name for name in families if name not in FAMILIES]
    if unknown or not families:
        raise ConfigError(
            f"{path}families: {unknown[0] if unknown else 'the list'!r} is not one of {', '.join(FAMILIES)}"
        )
    if len(set(families)) < len(families):
        raise ConfigError(f"{path}families: {list(families)} names a family twice; name each once")
    for family in families:
        own: FamilyConfig = getattr(config, family)
        own.validate(f"{generator}{family}.")
        if own.channels != channels:
            kind = "grey" if channels == 1 else "in colour"
            setting = f"{generator}{family}.channels"
            raise ConfigError(f"{setting} is {own.channels}, but the corpus is {kind}: set it to {channels}")


def train_from_scratch(
    run: RunFolder,
    accelerator: Accelerator,
    config: FromScratchConfig,
    train: Dataset,
    *,
    seed: int,
    data_key: str,
) -> Path:
    """Train a generator once and return the folder of its pipeline, beside which its log lies.

    Args:
        run: the training is a stage of it, repeated where the family's settings, the rows or the seed change.
        accelerator: device, precision, processes.
        config: the family and its settings.
        train: rows to learn from, all of one size.
        seed: of initial weights, batches and noise.
        data_key: fingerprint of the corpus that the rows come from.

    Raises:
        ConfigError: the corpus is grey and the network is not, or the other way round.
        TrainingError: a class has no image, or the training has diverged (what was kept is said).
    """
    own = config.own
    stage = run.stage(
        f"generator-{config.family.replace('_', '-')}",
        config=asdict(own),
        data=data_key,
        rows=list(train["image_id"]),
        seed=seed,
    )
    if not stage.done:
        table = ImageTable.from_dataset(train)
        counts = np.bincount(table.labels, minlength=len(table.class_names)).tolist()
        logger.info("%s learns from %s images by class", config.family, counts)
        _train(accelerator, own, table, stage.folder, seed)
        stage.finish()
    return stage.folder / PIPELINE


def _train(
    accelerator: Accelerator, config: FamilyConfig, table: ImageTable, folder: Path, seed: int
) -> None:
    if isinstance(config, DDPMConfig):
        train_ddpm(accelerator, config, table, folder, seed)
    elif isinstance(config, VAEConfig):
        train_vae(accelerator, config, table, folder, seed)
    else:
        train_gan(accelerator, config, table, folder, seed)
