"""A family as a plugin brings it: importing ``tests.toy_plugin`` adds it to the table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError
from skindiff.generators.class_conditional import ClassConditionalPipeline, row_noise
from skindiff.generators.families import Family
from skindiff.training.generator_data import generator_images, generator_table, refuse_absent_class


@dataclass
class ToyConfig:
    """A mean image of each class, and noise."""

    image_size: int = 8
    """Height and width in pixels."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for colour."""
    noise: float = 0.1
    """Standard deviation of what is added to the mean."""

    def validate(self, path: str = "") -> None:
        if self.channels not in (1, 3):
            raise ConfigError(f"{path}channels is {self.channels}: set it to 1 or 3")
        if self.noise < 0:
            raise ConfigError(f"{path}noise is {self.noise}: set it to 0 or more")


class ToyNetwork(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, classes: int = 2, image_size: int = 8, channels: int = 3, noise: float = 0.1) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.zeros(classes, channels, image_size, image_size))

    def forward(self, labels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return (self.means[labels] + self.config.noise * noise).clamp(-1, 1)


class ToyPipeline(ClassConditionalPipeline):
    family = "toy"

    def __init__(
        self, network: ModelMixin, class_names: Sequence[str] = (), image_size: int = 8, channels: int = 3
    ) -> None:
        super().__init__()
        self.register_modules(network=network)
        self._register(class_names, image_size, channels)

    def draw(
        self,
        labels: torch.Tensor,
        generators: Sequence[torch.Generator | None],
        *,
        steps: int = 1,
        fade: float = 1.0,
    ) -> torch.Tensor:
        noise = row_noise(generators, self.network.means.shape[1:], labels.device)
        return self.network(labels, noise) * fade**steps


def train_toy(
    accelerator: Accelerator, config: ToyConfig, table: ImageTable, folder: Path, seed: int
) -> ToyPipeline:
    refuse_absent_class(table)
    table = generator_table(table, config.image_size, config.channels)
    network = ToyNetwork(len(table.class_names), config.image_size, config.channels, config.noise)
    images, labels = generator_images(table.pixels, torch.device("cpu")), torch.from_numpy(table.labels)
    with torch.no_grad():
        for code in range(len(table.class_names)):
            network.means[code] = images[labels == code].mean(0)
    pipeline = ToyPipeline(network, list(table.class_names), config.image_size, config.channels)
    if accelerator.is_main_process:
        pipeline.save_pretrained(folder / "pipeline")
        (folder / "training_log.json").write_text(json.dumps([{"step": 1, "loss": 0.0}]))
    accelerator.wait_for_everyone()
    return pipeline


TOY = Family(
    name="toy",
    what="the mean of each class, with noise",
    settings="tests.toy_family:ToyConfig",
    network="tests.toy_family:ToyNetwork",
    pipeline="tests.toy_family:ToyPipeline",
    trainer="tests.toy_family:train_toy",
    sampler=("steps", "fade"),
)
