"""From-scratch generators small enough for tests, built in code."""

import numpy as np
from datasets import Dataset
from PIL import Image

from skindiff.corpora.image_table import ImageTable
from skindiff.corpora.schema import corpus_features
from skindiff.generators.ddpm import ConditionalDDPMPipeline
from skindiff.generators.families import find_family, imported
from skindiff.training.ddpm import DDPMConfig, build_ddpm
from skindiff.training.from_scratch import FamilySettings
from skindiff.training.loop_config import LoopConfig

CLASSES = ("one", "two")
_TINY_GAN = {"image_size": 16, "latent_size": 4, "width": 4, "diversity_images": 2}
TINY: dict[str, dict[str, object]] = {
    "cvae_resnet": {"image_size": 32, "latent_dim": 3, "decoder_width": 16},
    "cvae_conv": {"image_size": 16, "latent_dim": 3, "widths": [4, 8, 8]},
    "joint_vae": {"image_size": 16, "continuous_dim": 3, "discrete_dim": 3, "widths": [4, 8, 8]},
    "fc_autoencoder": {"image_size": 9, "latent_dim": 3, "widths": [8, 4]},
    "fc_cvae": {"image_size": 9, "latent_dim": 3, "widths": [8]},
    "dcgan": {**_TINY_GAN, "channels": 1},
    "sn_dcgan": _TINY_GAN,
    "attention_gan": {**_TINY_GAN, "width": 16, "image_size": 14},
    "fc_gan": {**_TINY_GAN, "image_size": 9},
    "ddpm": {"image_size": 8, "widths": [32], "validation_examples": 0},
}
"""What makes each family's settings small; a family that is not named is small by its defaults."""


def tiny_settings(family: str) -> FamilySettings:
    """Settings of a family with which it trains in a second."""
    kind = imported(find_family(family).settings)
    loop = {"loop": LoopConfig(steps=3, batch_size=4, learning_rate=1e-2)} if family in TINY else {}
    return kind(**TINY.get(family, {}), **loop)


def tiny_ddpm_config(**loop: int | float) -> DDPMConfig:
    return DDPMConfig(
        image_size=8,
        widths=[32],
        validation_examples=8,
        loop=LoopConfig(**{"steps": 4, "batch_size": 4} | loop),
    )


def tiny_ddpm() -> ConditionalDDPMPipeline:
    """A DDPM of 8 x 8 pixels and two classes with random but seeded weights."""
    return build_ddpm(tiny_ddpm_config(), CLASSES)


def tiny_table(rows: int = 10, size: int = 8, grey: bool = False) -> ImageTable:
    """Red images of class 0 and blue ones of class 1, with noise."""
    labels = np.arange(rows, dtype=np.int64) % len(CLASSES)
    noise = np.random.default_rng(0).integers(-20, 20, size=(rows, size, size, 1 if grey else 3))
    grounds = np.array([[200, 60, 60], [60, 60, 200]])[labels][:, None, None]
    pixels = (
        np.broadcast_to(grounds.mean(-1, keepdims=True) if grey else grounds, (rows, size, size, 3)) + noise
    )
    return ImageTable(pixels.clip(0, 255).astype(np.uint8), labels, (None,) * rows, CLASSES)


def tiny_corpus_of_classes(rows: int = 6, size: int = 8, grey: bool = False) -> Dataset:
    """The rows of :func:`tiny_table` as a corpus."""
    table = tiny_table(rows, size, grey)
    return Dataset.from_dict(
        {
            "image": [Image.fromarray(pixels) for pixels in table.pixels],
            "label": table.labels,
            "skin_type": ["II"] * rows,
            "image_id": [f"real-{row}" for row in range(rows)],
            "group_id": [f"lesion-{row // 2}" for row in range(rows)],
            "corpus": ["tiny"] * rows,
        },
        features=corpus_features(CLASSES),
    )
