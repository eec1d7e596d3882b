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
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

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
from skindiff.training.lora import LoRAConfig, add_lora
from tests.tiny import TINY_SIZE
from tests.training.loss_cases import CASES, FIXTURES, SIZES, Case, captions, lora_weights, ours, pictures

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


class Taken(NamedTuple):
    """What a step of ours took: rows of the pictures, and what noise was added to."""

    order: list[int]
    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor


def theirs(case: Case, source: str) -> dict[str, torch.Tensor]:
    """Return loss, norm of the gradient and weights of one step of a script."""
    taken = sampled(case)
    pipeline = case.pipeline()
    add_lora(pipeline, case.config)
    norms: list[torch.Tensor] = []
    names = {
        "args": arguments(case.config),
        **names_of_training(case, pipeline, norms),
        **names_of_images(pipeline, taken),
        **names_of_text(pipeline, [captions()[row] for row in taken.order]),
    }
    for code in lines_of(source):
        exec(code, names)
    return {
        "loss": names["loss"].detach().double(),
        "grad_norm": norms[0].double(),
        **lora_weights(pipeline),
    }


def sampled(case: Case) -> Taken:
    """Return what our step takes, by taking it."""
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
    return Taken(found[0], *found[1])


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
    if "prompt_embeds_cache" in {
        node.id for one in step for node in ast.walk(one) if isinstance(node, ast.Name)
    }:
        cached = "prompt_embeds_cache = [compute_text_embeddings(batch['prompts'], text_encoding_pipeline)]"
        made += ast.parse(cached).body
    parts = [*functions, *(settings if images else []), *made, *step]
    return [compile(ast.Module(parts, type_ignores=[]), "script", "exec")]


# Below is what stands for the names that the lines of the scripts use, of all of them in one.


def arguments(config: LoRAConfig) -> SimpleNamespace:
    """Return what the scripts' command lines would say."""
    flow = config.flow
    return SimpleNamespace(
        resolution=TINY_SIZE,
        center_crop=True,
        random_flip=False,
        image_interpolation_mode="lanczos",
        pretrained_vae_model_name_or_path=None,
        noise_offset=0,
        prediction_type=None,
        snr_gamma=config.min_snr_gamma or None,
        debug_loss=False,
        train_batch_size=len(SIZES),
        gradient_accumulation_steps=1,
        max_grad_norm=config.loop.max_grad_norm,
        train_text_encoder=config.train_text_encoder,
        cache_latents=False,
        offload=False,
        with_prior_preservation=False,
        weighting_scheme=flow.weighting if flow.density == "uniform" else flow.density,
        logit_mean=0.0,
        logit_std=1.0,
        mode_scale=1.29,
        guidance_scale=flow.guidance,
        precondition_outputs=False,
        max_sequence_length=512,
    )


def names_of_training(case: Case, pipeline: Any, norms: list[torch.Tensor]) -> dict[str, Any]:
    """Return what learns, and how; the norm of the gradient is added to ``norms``."""
    loop, accelerator = case.config.loop, Accelerator(cpu=True)
    clip = accelerator.clip_grad_norm_
    accelerator.clip_grad_norm_ = lambda *given: norms.append(clip(*given))
    networks = architecture_of(pipeline).adaptable(pipeline)
    learnt = {
        name: [weight for weight in network.parameters() if weight.requires_grad]
        for name, network in networks.items()
    }
    weights = [weight for own in learnt.values() for weight in own]
    return {
        "accelerator": accelerator, "F": functional, "itertools": itertools, "train_loss": 0.0, "step": 0,
        "optimizer": torch.optim.AdamW(weights, lr=loop.learning_rate, weight_decay=loop.weight_decay),
        "lr_scheduler": SimpleNamespace(step=lambda: None), "unwrap_model": lambda network: network,
        "compute_snr": compute_snr, "compute_loss_weighting_for_sd3": compute_loss_weighting_for_sd3,
        "offload_models": lambda *_models, **_where: nullcontext(), "FluxPipeline": FluxPipeline,
        "unet": networks.get("unet"), "transformer": networks.get("transformer"),
        "lora_layers": weights, "params_to_optimize": weights,
        "transformer_lora_parameters": learnt.get("transformer"),
        "text_lora_parameters_one": learnt.get("text_encoder"),
        "text_lora_parameters_two": learnt.get("text_encoder_2", []),
    }  # fmt: skip


def names_of_images(pipeline: Any, taken: Taken) -> dict[str, Any]:
    """Return the images, what encodes them, and the noise."""
    rows, texts, vae = pictures(), captions(), pipeline.vae.config
    flows = isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler)
    kind = FlowMatchEulerDiscreteScheduler if flows else DDPMScheduler
    scheduler = kind.from_config(pipeline.scheduler.config)
    places = torch.tensor([int((scheduler.timesteps == time).nonzero()) for time in taken.timesteps])
    encoded = taken.latents / vae.scaling_factor + (vae.shift_factor or 0.0)
    posterior = SimpleNamespace(sample=lambda: encoded, mode=lambda: encoded)
    return {
        "transforms": transforms, "crop": crop, "random": random, "collated": collated,
        "image_column": "image", "caption_column": "text",
        "examples": {name: [column[row] for row in taken.order]
                     for name, column in {"image": rows["image"], "text": texts}.items()},
        "vae": SimpleNamespace(dtype=torch.float32, config=vae,
                               encode=lambda _pixels: SimpleNamespace(latent_dist=posterior)),
        "vae_config_shift_factor": vae.shift_factor, "vae_config_scaling_factor": vae.scaling_factor,
        "vae_config_block_out_channels": vae.block_out_channels, "weight_dtype": torch.float32,
        "noise_scheduler": scheduler, "noise_scheduler_copy": scheduler,
        "compute_density_for_timestep_sampling": lambda **_: (places + 0.5) / len(scheduler.timesteps),
        "torch": GivenNoise(taken.noise, taken.timesteps),
    }  # fmt: skip


def names_of_text(pipeline: Any, prompts: list[str]) -> dict[str, Any]:
    """Return the prompts, and what encodes them."""
    numbers = {"": "one", "_2": "two", "_3": "three"}
    ends = [end for end in numbers if hasattr(pipeline, f"text_encoder{end}")]
    encoders = {end: getattr(pipeline, f"text_encoder{end}") or no_t5(pipeline) for end in ends}
    tokenizers = {
        # T5 of Stable Diffusion 3 takes fewer than its tokenizer.
        end: OfLength(words, 256 if end == "_3" else words.model_max_length)
        for end in ends
        for words in [getattr(pipeline, f"tokenizer{end}") or pipeline.tokenizer]
    }
    return {
        **{f"text_encoder_{numbers[end]}": one for end, one in encoders.items()},
        **{f"tokenizer_{numbers[end]}": one for end, one in tokenizers.items()},
        "text_encoder": encoders[""], "text_encoders": list(encoders.values()),
        "tokenizer": tokenizers[""], "tokenizers": list(tokenizers.values()),
        "text_encoding_pipeline": pipeline, "batch": {"prompts": prompts, "pixel_values": torch.zeros(1)},
        "train_dataset": SimpleNamespace(custom_instance_prompts=True),
    }  # fmt: skip


class OfLength:
    """A tokenizer of as many places as its encoder has; some scripts say 77 for all."""

    def __init__(self, tokenizer: Any, places: int) -> None:
        self.tokenizer, self.places = tokenizer, places

    def __call__(self, prompts: Any, **given: Any) -> Any:
        """Tokenise prompts."""
        return self.tokenizer(prompts, **{**given, "max_length": self.places})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)


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
