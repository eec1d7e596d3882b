"""Take one step of LoRA by diffusers' own scripts on the tiny pipelines of the tests, and keep what came out.

The lines of the scripts that prepare images, compute the loss and step are executed as they stand in a named
commit; components, latents, noise and timesteps are given to them. ``test_diffusers_losses.py`` in the tests
of training then finds the same in ours.

    git clone https://github.com/huggingface/diffusers ~/diffusers
    python -m scripts.make_loss_fixtures --diffusers ~/diffusers
"""

import argparse
import ast
import random
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from safetensors.torch import save_file
from torch.nn import functional
from torchvision import transforms
from torchvision.transforms.functional import crop

from skindiff.synthesis.batches import fixed_threads
from skindiff.training.diffusion_objective import DiffusionObjective
from skindiff.training.lora import NAME, add_lora
from skindiff.training.samplers import shuffled_batches
from tests.tiny import TINY_SIZE
from tests.training.loss_cases import CASES, FIXTURES, Case, captions, lora_weights, ours, pictures

COMMIT = "58eb52c0803ea9af3abec60841c2a093bdf1f951"
"""Of huggingface/diffusers, 23 August 2026."""
FOLDER = "examples/text_to_image"
_FUNCTIONS = ("encode_prompt", "tokenize_prompt", "tokenize_captions", "preprocess_train")
_TRANSFORMS = ("interpolation", "train_resize", "train_crop", "train_flip", "train_transforms")


def main() -> None:
    """Write the fixtures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--diffusers", type=Path, required=True, help="a clone that holds the commit")
    clone = parser.parse_args().diffusers
    kept: dict[str, torch.Tensor] = {}
    for name, case in CASES.items():
        command = ["git", "-C", str(clone), "show", f"{COMMIT}:{FOLDER}/{case.script}"]
        source = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        with fixed_threads(1):
            kept |= {f"{name}/{key}": value for key, value in theirs(case, source).items()}
    FIXTURES.parent.mkdir(exist_ok=True)
    scripts = sorted({case.script for case in CASES.values()})
    about = {"repository": "huggingface/diffusers", "commit": COMMIT, "scripts": " ".join(scripts)}
    save_file(kept, FIXTURES, metadata=about)


def theirs(case: Case, source: str) -> dict[str, torch.Tensor]:
    """Return loss, norm of the gradient and weights of one step of a script."""
    latents, noise, timesteps = sampled(case)
    pipeline = case.pipeline()
    add_lora(pipeline, case.config)
    order = shuffled_batches(2, 2, NAME, 0)(0).tolist()
    norms: list[torch.Tensor] = []
    names = names_of(case, pipeline, order, latents, noise, timesteps, norms)
    for code in lines_of(source):
        exec(code, names)
    return {
        "loss": names["loss"].detach().double(),
        "grad_norm": norms[0].double(),
        **lora_weights(pipeline),
    }


def sampled(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the latents, noise and timesteps that our step takes, by taking it."""
    found: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    add_noise = DiffusionObjective.add_noise

    def spy(
        self: DiffusionObjective, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        found.append((latents, noise, timesteps))
        return add_noise(self, latents, noise, timesteps)

    DiffusionObjective.add_noise = spy  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            ours(case, Path(folder))
    finally:
        DiffusionObjective.add_noise = add_noise  # type: ignore[method-assign]
    return found[0]


def lines_of(source: str) -> list[Any]:
    """Return the code of a script that prepares images, makes a batch, and trains on it."""
    tree = ast.parse(source)
    functions: list[ast.stmt] = []
    settings: list[ast.stmt] = []
    step: list[ast.stmt] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in _FUNCTIONS:
            functions.append(node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            settings += [node] if node.targets[0].id in _TRANSFORMS else []
        elif isinstance(node, ast.With) and ast.unparse(node.items[0]).startswith("accelerator.accumulate"):
            step = node.body
    made = ast.parse("batch = collated(preprocess_train(examples))").body
    parts = [*functions, *settings, *made, *step]
    return [compile(ast.Module(parts, type_ignores=[]), "script", "exec")]


def names_of(
    case: Case,
    pipeline: Any,
    order: list[int],
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    norms: list[torch.Tensor],
) -> dict[str, Any]:
    """Return what stands for the names that the scripts' lines use."""
    config, rows, texts = case.config, pictures(), captions()
    accelerator = Accelerator(cpu=True)
    clip = accelerator.clip_grad_norm_
    accelerator.clip_grad_norm_ = lambda *given: norms.append(clip(*given))
    weights = [
        weight
        for network in (pipeline.unet, pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None))
        if network is not None
        for weight in network.parameters()
        if weight.requires_grad
    ]
    loop = config.loop
    optimizer = torch.optim.AdamW(weights, lr=loop.learning_rate, weight_decay=loop.weight_decay)
    factor = pipeline.vae.config.scaling_factor
    encoded = SimpleNamespace(latent_dist=SimpleNamespace(sample=lambda: latents / factor))
    vae = SimpleNamespace(
        encode=lambda pixels: encoded, config=SimpleNamespace(scaling_factor=factor), dtype=torch.float32
    )
    args = SimpleNamespace(
        resolution=TINY_SIZE,
        center_crop=True,
        random_flip=False,
        image_interpolation_mode="lanczos",
        pretrained_vae_model_name_or_path=None,
        noise_offset=0,
        prediction_type=None,
        snr_gamma=config.min_snr_gamma or None,
        debug_loss=False,
        train_batch_size=len(rows),
        gradient_accumulation_steps=1,
        max_grad_norm=loop.max_grad_norm,
    )
    return {
        "args": args, "vae": vae, "accelerator": accelerator, "optimizer": optimizer, "train_loss": 0.0,
        "lr_scheduler": SimpleNamespace(step=lambda: None), "weight_dtype": torch.float32, "F": functional,
        "lora_layers": weights, "params_to_optimize": weights, "compute_snr": compute_snr, "random": random,
        "transforms": transforms, "crop": crop, "image_column": "image", "caption_column": "text",
        "noise_scheduler": DDPMScheduler.from_config(pipeline.scheduler.config), "unet": pipeline.unet,
        "tokenizer": pipeline.tokenizer, "text_encoder": pipeline.text_encoder,
        "tokenizer_one": pipeline.tokenizer, "tokenizer_two": getattr(pipeline, "tokenizer_2", None),
        "text_encoder_one": pipeline.text_encoder,
        "text_encoder_two": getattr(pipeline, "text_encoder_2", None),
        "examples": {"image": [rows[row]["image"] for row in order], "text": [texts[row] for row in order]},
        "collated": collated, "torch": GivenNoise(noise, timesteps),
    }  # fmt: skip


def collated(examples: dict[str, Any]) -> dict[str, Any]:
    """Return a batch, as the scripts' own collate_fn makes it of the examples of a loader."""
    return {**examples, "pixel_values": torch.stack(examples["pixel_values"])}


class GivenNoise:
    """The module torch, but the noise and the timesteps are given."""

    def __init__(self, noise: torch.Tensor, timesteps: torch.Tensor) -> None:
        self.randn_like = lambda latents: noise
        self.randint = lambda *_given, **_settings: timesteps

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


if __name__ == "__main__":
    main()
