"""The only table of class-conditional generators: what each family is made of, and how one more is added.

The table is light: a family names its parts as ``module:name``, and they are imported where they are needed.
So the trainers, which live in a room to the right, can stand here, and ``skindiff train --help`` loads no
torch.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from skindiff.errors import ConfigError, GeneratorError
from skindiff.plugins import note_registered

SAMPLER_COLUMNS: tuple[Literal["steps", "guidance_scale", "scheduler"], ...] = (
    "steps",
    "guidance_scale",
    "scheduler",
)
"""What samplers take that has a column of its own in a plan; the rest goes into the column ``options``."""
RESERVED = frozenset({"family", "textual_inversion", "lora", "classifier", "probe", "cvae", "cgan"})
"""Names that ``skindiff train`` and its settings have given to something else."""


@dataclass(frozen=True)
class Family:
    """A family of class-conditional generators; every part is named as ``module:name``."""

    name: str
    """Its name in settings and tables, lower case with underscores (hyphens after ``skindiff train``)."""
    what: str
    """What it is, for the help of ``skindiff train``."""
    settings: str
    """A dataclass whose defaults work, with ``channels`` (1 or 3) and ``validate(path)``, which raises a
    :class:`~skindiff.errors.ConfigError`; its module is imported wherever settings are read."""
    network: str
    """The module that generates, a part of the pipeline."""
    pipeline: str
    """A :class:`~skindiff.generators.class_conditional.ClassConditionalPipeline` whose ``family`` is this
    name; its class name is what ``model_index.json`` says, so no other family may have it."""
    trainer: str
    """``trainer(accelerator, settings, table, folder, seed)``, which returns the pipeline, saves it in
    ``folder/pipeline``, and leaves its curves, rows with ``step``, in ``folder/training_log.json``. Where the
    settings have ``early_stopping`` and it is true, it is given ``validation`` too, a table of images."""
    sampler: tuple[str, ...] = ()
    """What the pipeline's ``draw`` takes besides classes, generators and images."""

    @property
    def options(self) -> tuple[str, ...]:
        """What its sampler takes that has no column of its own in a plan."""
        return tuple(name for name in self.sampler if name not in SAMPLER_COLUMNS)


_TABLE = (
    Family(
        "cvae_resnet",
        "a conditional VAE with a ResNet-18 encoder",
        "skindiff.training.vae_config:CvaeResNetConfig",
        "skindiff.generators.cvae_resnet:CvaeResNet",
        "skindiff.generators.cvae_resnet:CvaeResNetPipeline",
        "skindiff.training.vae:train_vae",
        ("temperature",),
    ),
    Family(
        "cvae_conv",
        "a convolutional conditional VAE",
        "skindiff.training.vae_config:CvaeConvConfig",
        "skindiff.generators.cvae_conv:CvaeConv",
        "skindiff.generators.cvae_conv:CvaeConvPipeline",
        "skindiff.training.vae:train_vae",
        ("temperature",),
    ),
    Family(
        "joint_vae",
        "a VAE with continuous and discrete codes, which reconstructs images",
        "skindiff.training.vae_config:JointVAEConfig",
        "skindiff.generators.joint_vae:JointVAE",
        "skindiff.generators.joint_vae:JointVAEPipeline",
        "skindiff.training.vae:train_vae",
        ("code",),
    ),
    Family(
        "fc_autoencoder",
        "a fully connected autoencoder, which reconstructs images",
        "skindiff.training.vae_config:FcAutoencoderConfig",
        "skindiff.generators.fully_connected:FcAutoencoder",
        "skindiff.generators.fully_connected:FcAutoencoderPipeline",
        "skindiff.training.vae:train_vae",
    ),
    Family(
        "fc_cvae",
        "a fully connected conditional VAE",
        "skindiff.training.vae_config:FcCvaeConfig",
        "skindiff.generators.fully_connected:FcCvae",
        "skindiff.generators.fully_connected:FcCvaePipeline",
        "skindiff.training.vae:train_vae",
        ("temperature",),
    ),
    Family(
        "dcgan",
        "a convolutional conditional GAN",
        "skindiff.training.gan_config:DCGANConfig",
        "skindiff.generators.dcgan:DCGANGenerator",
        "skindiff.generators.dcgan:DCGANPipeline",
        "skindiff.training.gan:train_gan",
    ),
    Family(
        "sn_dcgan",
        "a convolutional conditional GAN with spectral normalisation and gradient penalty",
        "skindiff.training.gan_config:SNDCGANConfig",
        "skindiff.generators.dcgan:DCGANGenerator",
        "skindiff.generators.dcgan:SNDCGANPipeline",
        "skindiff.training.gan:train_gan",
    ),
    Family(
        "attention_gan",
        "a conditional GAN with self-attention",
        "skindiff.training.gan_config:AttentionGANConfig",
        "skindiff.generators.attention_gan:AttentionGenerator",
        "skindiff.generators.attention_gan:AttentionGANPipeline",
        "skindiff.training.gan:train_gan",
    ),
    Family(
        "fc_gan",
        "a fully connected conditional GAN",
        "skindiff.training.gan_config:FullyConnectedGANConfig",
        "skindiff.generators.fully_connected_gan:FullyConnectedGenerator",
        "skindiff.generators.fully_connected_gan:FullyConnectedGANPipeline",
        "skindiff.training.gan:train_gan",
    ),
    Family(
        "ddpm",
        "a class-conditional diffusion model",
        "skindiff.training.ddpm:DDPMConfig",
        "diffusers:UNet2DModel",
        "skindiff.generators.ddpm:ConditionalDDPMPipeline",
        "skindiff.training.ddpm:train_ddpm",
        SAMPLER_COLUMNS,
    ),
)
FAMILIES: dict[str, Family] = {family.name: family for family in _TABLE}
"""Every family by its name; a new one comes by :func:`register_family`."""


def register_family(family: Family) -> None:
    """Add a family, so that commands, recipes, loading, synthesis and the Hub know it like those here.

    Call it where a plugin is imported, before settings are read.

    Raises:
        ConfigError: its name or that of its pipeline's class is taken, or a name has not the form asked for.
    """
    if not family.name.isidentifier() or family.name != family.name.lower():
        raise ConfigError(f"family: {family.name!r} is no name; use lower case, digits and underscores")
    if family.name in FAMILIES or family.name in RESERVED:
        raise ConfigError(f"family: the name {family.name!r} is taken; give another one")
    for part in ("settings", "network", "pipeline", "trainer"):
        if not all(getattr(family, part).partition(":")):
            raise ConfigError(
                f"{part} of family {family.name!r}: {getattr(family, part)!r} names nothing; give it as "
                "module:name"
            )
    holder = family_of_pipeline(family.pipeline.partition(":")[2])
    if holder is not None:
        raise ConfigError(
            f"pipeline of family {family.name!r}: {holder.name!r} has a class of this name, by which saved "
            "pipelines are found; rename the class"
        )
    FAMILIES[family.name] = family
    note_registered(family.name)


def find_family(name: str, setting: str = "family") -> Family:
    """Return the family of a name.

    Raises:
        ConfigError: there is none; the message names ``setting`` and the families that there are.
    """
    if name not in FAMILIES:
        raise ConfigError(f"{setting}: {name!r} is not one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def family_of_pipeline(class_name: str) -> Family | None:
    """Return the family whose pipelines are of a class, named as ``model_index.json`` does; None if none."""
    named = {family.pipeline.partition(":")[2]: family for family in FAMILIES.values()}
    return named.get(class_name)


def imported(part: str) -> Any:
    """Import a part of a family, named as ``module:name``.

    Raises:
        GeneratorError: it cannot be imported.
    """
    module, _, name = part.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise GeneratorError(f"{part} cannot be imported ({error}): mend the family that names it") from error
