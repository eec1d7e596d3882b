"""A step of LoRA on tiny pipelines, which scripts/make_loss_fixtures.py takes by diffusers' own scripts."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.crops import Crop
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training.flow_objective import FlowConfig
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from tests.tiny import TINY_CLASSES, TINY_SIZE, tiny_flux, tiny_pipeline, tiny_sd3, tiny_sdxl, tiny_z_image

FIXTURES = Path(__file__).parent / "fixtures" / "diffusers_losses.safetensors"
SIZES = ((96, 64), (64, 80))
"""Width and height of the pictures: from the first the sides are cut, from the second top and bottom."""


@dataclass(frozen=True)
class Case:
    """A training of one step, and the script of diffusers that takes it too."""

    build: Callable[..., Any]
    script: str
    prediction_type: str | None = "epsilon"
    settings: dict[str, Any] = field(default_factory=dict)
    wide: bool = False
    """Of pictures of 3:2 in their own shape, not of squares."""

    @property
    def config(self) -> LoRAConfig:
        loop = LoopConfig(steps=1, batch_size=len(SIZES))
        settings: dict[str, Any] = {
            "rank": 2,
            "alpha": 4.0,
            "random_flip": False,
            "validation_examples": 0,
            "image_size": TINY_SIZE,
        }
        return LoRAConfig(loop=loop, **settings, **self.settings)

    def pipeline(self) -> Any:
        return seeded(self.build(self.prediction_type) if self.prediction_type else self.build())


_SD, _SDXL = (f"text_to_image/train_text_to_image_lora{kind}.py" for kind in ("", "_sdxl"))
_FLUX, _SD3, _Z_IMAGE = (f"dreambooth/train_dreambooth_lora_{kind}.py" for kind in ("flux", "sd3", "z_image"))
_PLAIN = FlowConfig(resolution_shift=False)
"""The levels of FLUX.1 dev as its script has them."""
CASES = {
    "sd": Case(tiny_pipeline, _SD),
    "sd velocity min-snr": Case(tiny_pipeline, _SD, "v_prediction", {"min_snr_gamma": 5.0}),
    "sdxl": Case(tiny_sdxl, _SDXL),
    "sdxl text encoders": Case(tiny_sdxl, _SDXL, settings={"train_text_encoder": True}),
    "sdxl velocity min-snr": Case(tiny_sdxl, _SDXL, "v_prediction", {"min_snr_gamma": 5.0}),
    "flux dev": Case(tiny_flux, _FLUX, None, {"flow": replace(_PLAIN, guidance=3.5)}, wide=True),
    "flux schnell": Case(partial(tiny_flux, guidance_embeds=False), _FLUX, None, wide=True),
    "flux text encoder": Case(tiny_flux, _FLUX, None, {"flow": _PLAIN, "train_text_encoder": True}),
    "sd3": Case(tiny_sd3, _SD3, None, wide=True),
    "sd3 text encoders": Case(tiny_sd3, _SD3, None, {"train_text_encoder": True}),
    "sd3 uniform, inverse square": Case(
        tiny_sd3, _SD3, None, {"flow": FlowConfig("uniform", weighting="sigma_sqrt")}
    ),
    "sd3 uniform, cosmap": Case(
        partial(tiny_sd3, t5=False), _SD3, None, {"flow": FlowConfig("uniform", weighting="cosmap")}
    ),
    "z-image": Case(tiny_z_image, _Z_IMAGE, None, wide=True),
    "z-image uniform, cosmap": Case(
        tiny_z_image, _Z_IMAGE, None, {"flow": FlowConfig("uniform", weighting="cosmap")}
    ),
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


def pictures(wide: bool = False) -> Dataset:
    """Two pictures that are no squares, of two classes and skin types; those that are wide of one shape."""
    generator = torch.Generator().manual_seed(0)
    images = [
        Image.fromarray(torch.randint(0, 256, (tall, across, 3), generator=generator).byte().numpy())
        for across, tall in (SIZES[:1] * 2 if wide else SIZES)
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
    crop = Crop("longest") if case.wide else Crop()
    rows = resize_to_cache(pictures(case.wide), TINY_SIZE, folder / "cache", crop=crop).dataset
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
