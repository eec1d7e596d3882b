"""The bare network at its published shape: the floor of a training step, and the loss that it must give.

No training that goes through the network can be faster than a pass of it, forward and backward to the
prompt's states. That ours goes through the same network for the same loss is looked at in the same run.
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DDPMScheduler
from torch.nn import functional

from skindiff.generators.text_to_image import clip_tokenizer, single_file
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training.diffusion_objective import DiffusionObjective, NoisedBatch, denoising_loss


def device() -> torch.device:
    """Return where it runs: a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def random_pipeline(name: str) -> Any:
    """Return a pipeline of the published shapes with random weights and CLIP's own tokenizer."""
    folder = Path(single_file.__file__).parents[2] / "assets" / "single_file" / name
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    parts: dict[str, Any] = {}
    torch.manual_seed(0)
    for part, (library, class_name) in ((key, it) for key, it in index.items() if isinstance(it, list)):
        if library is None:
            parts[part] = None
        elif part.startswith("tokenizer"):
            parts[part] = clip_tokenizer.clip_tokenizer(folder / part / "tokenizer_config.json")
        elif library == "transformers":
            kind = getattr(transformers, class_name)
            with device():
                parts[part] = kind(kind.config_class.from_pretrained(folder / part))
        else:
            kind = getattr(diffusers, class_name)
            with device() if part != "scheduler" else nullcontext():
                parts[part] = kind.from_config(kind.load_config(folder / part))
    options = {"requires_safety_checker": False} if name != "sdxl" else {}
    return getattr(diffusers, index["_class_name"])(**parts, **options)


def floor_step(pipeline: Any, size: int, batch_size: int) -> Callable[[], None]:
    """Return a pass of the bare network, forward and backward to the prompt's states."""
    architecture = architecture_of(pipeline)
    network = architecture.network(pipeline).train().requires_grad_(False)
    shape = architecture.latent_shape(pipeline, size)
    kind = {"device": device(), "dtype": network.dtype}
    latents, noise = (torch.randn(batch_size, *shape, **kind) for _ in range(2))
    given: dict[str, Any] = {
        "encoder_hidden_states": torch.randn(
            batch_size, 77, network.config.cross_attention_dim, requires_grad=True, **kind
        ),
    }
    if network.config.addition_embed_type == "text_time":
        ids = torch.tensor([[size, size, 0, 0, size, size]])
        pooled = pipeline.text_encoder_2.config.projection_dim
        given["added_cond_kwargs"] = {
            "time_ids": ids.repeat(batch_size, 1).to(device()),
            "text_embeds": torch.randn(batch_size, pooled, **kind),
        }
    timesteps = torch.randint(0, 1000, (batch_size,), device=device())

    def step() -> None:
        given["encoder_hidden_states"].grad = None
        (network(latents, timesteps, **given).sample.float() - noise.float()).square().mean().backward()

    return step


def losses(pipeline: Any, size: int, batch_size: int) -> dict[str, float]:
    """Return our loss on a batch, and that of the lines of diffusers' scripts on the same batch."""
    architecture, scheduler = architecture_of(pipeline), DDPMScheduler.from_config(pipeline.scheduler.config)
    network = architecture.network(pipeline)
    kind = {"device": device(), "dtype": network.dtype}
    told = architecture.encode_prompts(pipeline, [f"An image of lesion {row}" for row in range(batch_size)])
    told = told.cast(network.dtype)
    random = torch.Generator().manual_seed(0)
    shape = (batch_size, *architecture.latent_shape(pipeline, size))
    latents, noise = (torch.randn(shape, generator=random) for _ in range(2))
    timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (batch_size,), generator=random)
    framings = torch.tensor([[size, 2 * size, 0, size // 2, size, size]]).repeat(batch_size, 1)
    images = architecture.image_conditions(framings)
    objective = DiffusionObjective.from_scheduler(pipeline.scheduler.config)
    batch = NoisedBatch(
        latents=objective.add_noise(latents, noise, timesteps).to(**kind),
        timesteps=timesteps.to(device()),
        target=objective.target(latents, noise, timesteps).to(device()),
        weights=objective.weights(timesteps).to(device()),
        dropped=torch.zeros(batch_size, dtype=torch.bool),
    )
    given: dict[str, Any] = {"encoder_hidden_states": told.tensors["prompt_embeds"]}
    if network.config.addition_embed_type == "text_time":
        given["added_cond_kwargs"] = {
            "time_ids": framings.to(device()), "text_embeds": told.tensors["pooled_prompt_embeds"],
        }  # fmt: skip
    with torch.no_grad():
        predicted = architecture.denoiser(pipeline, live_text=False)(
            batch.latents, batch.timesteps, told, torch.arange(batch_size, device=device()),
            images.to(device()) if images.tensors else images,
        )  # fmt: skip
        noisy = scheduler.add_noise(latents, noise, timesteps).to(**kind)
        model_pred = network(noisy, batch.timesteps, **given, return_dict=False)[0]
    target = noise
    if scheduler.config.prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    theirs = functional.mse_loss(model_pred.float(), target.float().to(device()))
    return {"ours": denoising_loss(predicted, batch).item(), "theirs": theirs.item()}
