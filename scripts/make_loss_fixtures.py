"""Take one step of LoRA by diffusers' own scripts on the tiny pipelines of the tests, and keep what came out.

The lines of the scripts that prepare images, compute the loss and step are executed as they stand in a named
commit; components, latents, noise and timesteps are given to them. ``test_diffusers_losses.py`` in the tests
of training then finds the same in ours.

    git clone https://github.com/huggingface/diffusers ~/diffusers
    python -m scripts.make_loss_fixtures --diffusers ~/diffusers
"""

import argparse
import ast
import itertools
import random
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.training_utils import compute_loss_weighting_for_sd3, compute_snr
from safetensors.torch import save_file
from torch.nn import functional
from torchvision import transforms
from torchvision.transforms.functional import crop

from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.synthesis.batches import fixed_threads
from skindiff.training.denoising_task import DenoisingTask
from skindiff.training.diffusion_objective import Objective
from skindiff.training.loop import MicroBatch
from skindiff.training.lora import add_lora
from tests.tiny import TINY_SIZE
from tests.training.loss_cases import CASES, FIXTURES, Case, captions, lora_weights, ours, pictures

COMMIT = "58eb52c0803ea9af3abec60841c2a093bdf1f951"
"""Of huggingface/diffusers, 23 August 2026."""
FOLDER = "examples"
_FUNCTIONS = (
    "encode_prompt", "tokenize_prompt", "tokenize_captions", "preprocess_train", "_encode_prompt_with_t5",
    "_encode_prompt_with_clip", "compute_text_embeddings", "get_sigmas",
)  # fmt: skip
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
    order, latents, noise, timesteps = sampled(case)
    pipeline = case.pipeline()
    add_lora(pipeline, case.config)
    norms: list[torch.Tensor] = []
    flows = isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler)
    names = (names_of_flow if flows else names_of)(case, pipeline, order, latents, noise, timesteps, norms)
    for code in lines_of(source):
        exec(code, names)
    return {
        "loss": names["loss"].detach().double(),
        "grad_norm": norms[0].double(),
        **lora_weights(pipeline),
    }


def sampled(case: Case) -> tuple[list[int], torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the rows, latents, noise and timesteps that our step takes, by taking it."""
    found: list[Any] = []
    loss = DenoisingTask.loss

    def spied(self: DenoisingTask, module: torch.nn.Module, batch: MicroBatch) -> torch.Tensor:
        found.append(batch.indices.tolist())
        return loss(replace(self, objective=Spy(self.objective, found)), module, batch)

    DenoisingTask.loss = spied  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            ours(case, Path(folder))
    finally:
        DenoisingTask.loss = loss  # type: ignore[method-assign]
    return found[0], *found[1]


class Spy:
    """An objective that keeps what it adds noise to."""

    def __init__(self, objective: Objective, found: list[Any]) -> None:
        self.objective, self.found = objective, found

    def add_noise(self, *given: torch.Tensor) -> torch.Tensor:
        """Add it, and keep latents, noise and timesteps."""
        self.found.append(given)
        return self.objective.add_noise(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.objective, name)


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
    images = any(isinstance(one, ast.FunctionDef) and one.name == "preprocess_train" for one in functions)
    made = ast.parse("batch = collated(preprocess_train(examples))").body if images else []
    parts = [*functions, *(settings if images else []), *made, *step]
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


def names_of_flow(
    case: Case,
    pipeline: Any,
    order: list[int],
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    norms: list[torch.Tensor],
) -> dict[str, Any]:
    """Return what stands for the names that the lines of dreambooth scripts of flow matching use."""
    config, texts = case.config, captions()
    accelerator = Accelerator(cpu=True)
    clip = accelerator.clip_grad_norm_
    accelerator.clip_grad_norm_ = lambda *given: norms.append(clip(*given))
    learnt = {
        name: [weight for weight in network.parameters() if weight.requires_grad]
        for name, network in architecture_of(pipeline).adaptable(pipeline).items()
    }
    loop, vae = config.loop, pipeline.vae.config
    weights = [weight for own in learnt.values() for weight in own]
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    places = torch.tensor([int((scheduler.timesteps == time).nonzero()) for time in timesteps])
    encoded = SimpleNamespace(sample=lambda: latents / vae.scaling_factor + vae.shift_factor)
    count = 3 if hasattr(pipeline, "text_encoder_3") else 2
    ends = ["", "_2", "_3"][:count]
    encoders = [getattr(pipeline, f"text_encoder{end}") or no_t5(pipeline) for end in ends]
    most = [pipeline.tokenizer.model_max_length] * (count - 1) + [256 if count == 3 else 512]
    words = [getattr(pipeline, f"tokenizer{end}") or pipeline.tokenizer for end in ends]
    tokenizers = [of_length(*one) for one in zip(words, most, strict=True)]
    numbers = ["one", "two", "three"][:count]
    args = SimpleNamespace(
        train_text_encoder=config.train_text_encoder,
        cache_latents=False,
        with_prior_preservation=False,
        weighting_scheme=config.flow.weighting if config.flow.density == "uniform" else config.flow.density,
        logit_mean=0.0,
        logit_std=1.0,
        mode_scale=1.29,
        guidance_scale=config.flow.guidance,
        precondition_outputs=False,
        max_grad_norm=loop.max_grad_norm,
        max_sequence_length=most[-1],
    )
    return {
        **{f"text_encoder_{number}": one for number, one in zip(numbers, encoders, strict=True)},
        **{f"tokenizer_{number}": one for number, one in zip(numbers, tokenizers, strict=True)},
        "args": args, "accelerator": accelerator, "text_encoders": encoders, "tokenizers": tokenizers,
        "optimizer": torch.optim.AdamW(weights, lr=loop.learning_rate, weight_decay=loop.weight_decay),
        "lr_scheduler": SimpleNamespace(step=lambda: None), "weight_dtype": torch.float32,
        "batch": {"prompts": [texts[row] for row in order], "pixel_values": torch.zeros(1)},
        "train_dataset": SimpleNamespace(custom_instance_prompts=True), "itertools": itertools,
        "vae": SimpleNamespace(dtype=torch.float32, encode=lambda _: SimpleNamespace(latent_dist=encoded)),
        "vae_config_shift_factor": vae.shift_factor, "vae_config_scaling_factor": vae.scaling_factor,
        "vae_config_block_out_channels": vae.block_out_channels, "FluxPipeline": FluxPipeline,
        "noise_scheduler_copy": scheduler, "unwrap_model": lambda network: network,
        "compute_density_for_timestep_sampling": lambda **_: (places + 0.5) / len(scheduler.timesteps),
        "compute_loss_weighting_for_sd3": compute_loss_weighting_for_sd3, "transformer": pipeline.transformer,
        "transformer_lora_parameters": learnt["transformer"],
        "text_lora_parameters_one": learnt["text_encoder"],
        "text_lora_parameters_two": learnt.get("text_encoder_2", []), "torch": GivenNoise(noise, timesteps),
    }  # fmt: skip


def of_length(tokenizer: Any, places: int) -> Any:
    """Return a tokenizer of these places; the scripts have 77, for T5 of Stable Diffusion 3 as well."""
    return lambda prompts, **given: tokenizer(prompts, **{**given, "max_length": places})


def no_t5(pipeline: Any) -> Any:
    """Return what stands for a T5 that is absent: zeros, as the pipeline has them."""
    width = pipeline.transformer.config.joint_attention_dim

    def encode(ids: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.zeros(len(ids), 256, width),)

    encode.dtype, encode.device = torch.float32, torch.device("cpu")  # type: ignore[attr-defined]
    return encode


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
