"""A step of LoRA on tiny pipelines, which scripts/make_loss_fixtures.py takes by diffusers' own scripts."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from skindiff.corpora.cache import resize_to_cache
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from tests.tiny import TINY_CLASSES, TINY_SIZE, tiny_pipeline, tiny_sdxl

FIXTURES = Path(__file__).parent / "fixtures" / "diffusers_losses.safetensors"
SIZES = ((96, 64), (64, 80))
"""Width and height of the pictures: from the first the sides are cut, from the second top and bottom."""


@dataclass(frozen=True)
class Case:
    """A training of one step, and the script of diffusers that takes it too."""

    build: Callable[..., Any]
    script: str
    prediction_type: str = "epsilon"
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> LoRAConfig:
        loop = LoopConfig(steps=1, batch_size=len(SIZES))
        settings = {"rank": 2, "alpha": 4.0, "random_flip": False, "validation_examples": 0, **self.settings}
        return LoRAConfig(loop=loop, **settings)

    def pipeline(self) -> Any:
        return seeded(self.build(self.prediction_type))


_SD, _SDXL = "train_text_to_image_lora.py", "train_text_to_image_lora_sdxl.py"
CASES = {
    "sd": Case(tiny_pipeline, _SD),
    "sd velocity min-snr": Case(tiny_pipeline, _SD, "v_prediction", {"min_snr_gamma": 5.0}),
    "sdxl": Case(tiny_sdxl, _SDXL),
    "sdxl text encoders": Case(tiny_sdxl, _SDXL, settings={"train_text_encoder": True}),
    "sdxl velocity min-snr": Case(tiny_sdxl, _SDXL, "v_prediction", {"min_snr_gamma": 5.0}),
}


def seeded(pipeline: Any) -> Any:
    """Give a pipeline weights that depend on their names alone, and on no library's way of making them."""
    for network in architecture_of(pipeline).networks(pipeline):
        for name, weight in network.named_parameters():
            generator = torch.Generator().manual_seed(zlib.crc32(name.replace("text_model.", "").encode()))
            noise = torch.randn(weight.shape, generator=generator)
            spread = 0.1 if weight.ndim < 2 else weight[0].numel() ** -0.5
            whole = 1.0 if weight.ndim < 2 and name.endswith("weight") else 0.0
            weight.data = whole + spread * noise
    return pipeline


def pictures() -> Dataset:
    """Two pictures that are no squares, of two classes and skin types."""
    generator = torch.Generator().manual_seed(0)
    images = [
        Image.fromarray(torch.randint(0, 256, (tall, wide, 3), generator=generator).byte().numpy())
        for wide, tall in SIZES
    ]
    label = ClassLabel(names=list(TINY_CLASSES))
    words = {name: Value("string") for name in ("skin_type", "image_id")}
    return Dataset.from_dict(
        {"image": images, "label": [0, 1], "skin_type": ["II", "V"], "image_id": ["one", "two"]},
        features=Features({"image": ImageFeature(), "label": label, **words}),
    )


def captions() -> list[str]:
    rows = pictures()
    return [
        prompt_for(TINY_CLASSES[label], tone)
        for label, tone in zip(rows["label"], rows["skin_type"], strict=True)
    ]


def ours(case: Case, folder: Path) -> dict[str, torch.Tensor]:
    """Loss, norm of the gradient, and the LoRA's weights after the step."""
    pipeline = case.pipeline()
    rows = resize_to_cache(pictures(), TINY_SIZE, folder / "cache").dataset
    (log,) = train_lora(Accelerator(cpu=True), pipeline, case.config, rows, folder).log
    scores = {name: torch.tensor(log[name], dtype=torch.float64) for name in ("loss", "grad_norm")}
    return {**scores, **lora_weights(pipeline)}


def lora_weights(pipeline: Any) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name.replace('text_model.', '')}": weight.detach().clone()
        for part, network in architecture_of(pipeline).adaptable(pipeline).items()
        for name, weight in network.named_parameters()
        if "lora_" in name
    }
