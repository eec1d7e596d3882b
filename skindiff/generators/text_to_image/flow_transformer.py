"""What the transformers of flow matching have in common: SD 3, FLUX.1 and Z-Image."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from skindiff.errors import GeneratorError
from skindiff.generators.text_to_image.autoencoder import WithAutoencoder, is_scale
from skindiff.generators.text_to_image.conditioning import Conditioning


class FlowTransformer(WithAutoencoder):
    """A transformer on tokens of 2 x 2 latent pixels, sampled by Euler's method of flow matching."""

    # Their img2img classes call ``scale_noise``, which other samplers lack.
    samplers = ("euler", "pipeline")

    def network(self, pipeline: Any) -> Any:
        """Return the transformer."""
        return pipeline.transformer

    def adaptable(self, pipeline: Any) -> dict[str, Any]:
        """Return the networks that diffusers has LoRA loaders for."""
        return {name: getattr(pipeline, name) for name in self.kohya}

    def token_side(self, pipeline: Any) -> int:
        """Return 2."""
        return 2

    def latent_shape(self, pipeline: Any, size: int) -> tuple[int, int, int]:
        """Return the shape of the autoencoder's latents."""
        side = size // pipeline.vae_scale_factor
        return int(pipeline.vae.config.latent_channels), side, side

    def transfer_size(self, width: int, height: int) -> dict[str, int]:
        """Return both, which the img2img classes would take for their own size."""
        return {"height": height, "width": width}

    def set_timesteps(self, pipeline: Any, scheduler: Any, steps: int, shape: Sequence[int]) -> None:
        """Set a scheduler to even noise levels, shifted by the number of tokens where it asks for that."""
        sigmas = torch.linspace(1.0, 1 / steps, steps).tolist()
        shift = resolution_shift(scheduler, shape, self.token_side(pipeline))
        scheduler.set_timesteps(sigmas=sigmas, mu=shift)

    def activations(
        self, pipeline: Any, latents: torch.Tensor, timesteps: torch.Tensor, prompts: Conditioning
    ) -> list[torch.Tensor]:
        """Return the image tokens of the second half of the blocks (see the seam), a token to a pixel."""
        network, blocks = self.network(pipeline), self.blocks(pipeline)
        side, found = self.token_side(pipeline), []
        down, across = (length // side for length in latents.shape[-2:])
        hooks = [
            block.register_forward_hook(lambda _block, _given, output: found.append(output))
            for block in blocks[(len(blocks) - 1) // 2 :]
        ]
        try:
            module = self.denoiser(pipeline, live_text=False)
            places = torch.arange(len(latents), device=latents.device)
            module(latents.to(network.dtype), timesteps, prompts, places, Conditioning({}))
        finally:
            for hook in hooks:
                hook.remove()
        tokens = [self.image_tokens(output, down * across) for output in found]
        return [one.transpose(1, 2).unflatten(2, (down, across)) for one in tokens]

    @abstractmethod
    def blocks(self, pipeline: Any) -> list[Any]:
        """Return the blocks of the transformer that see image tokens, in order."""

    @abstractmethod
    def image_tokens(self, output: Any, count: int) -> torch.Tensor:
        """Return the image tokens (b, count, width) of what a block gives."""

    def refuse_parts(self, pipeline: Any, name: str, fits: dict[str, bool]) -> None:
        """Refuse a scheduler or an autoencoder of another kind, and parts that do not fit one another.

        Args:
            pipeline: with all parts.
            name: of the model.
            fits: whether each further part fits the rest.

        Raises:
            GeneratorError: one does not.
        """
        vae, scheduler = pipeline.vae.config, pipeline.scheduler
        fits = {"the autoencoder's scaling_factor": is_scale(vae.scaling_factor), **fits}
        if wrong := [part for part, fit in fits.items() if not fit]:
            raise GeneratorError(f"{name}: {wrong[0]} does not fit the rest: get it again")
        if not isinstance(vae.shift_factor, (int, float)):
            raise GeneratorError(
                f"{name}: its autoencoder has no shift_factor, which {self.name} applies: give a model with "
                "the autoencoder that it was made with"
            )
        if not isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
            raise GeneratorError(
                f"{name}: its scheduler is a {type(scheduler).__name__}, and {self.name} is sampled by the "
                "FlowMatchEulerDiscreteScheduler: give a model with the scheduler that it was made with"
            )


def resolution_shift(scheduler: FlowMatchEulerDiscreteScheduler, shape: Sequence[int], side: int) -> float:
    """Return the shift that a scheduler asks for by resolution (``mu``).

    Args:
        scheduler: one with ``use_dynamic_shifting``; others leave it unused.
        shape: of latents, ending in height and width.
        side: latent pixels along the side of a token.
    """
    config = scheduler.config
    found: float = calculate_shift(
        (shape[-2] // side) * (shape[-1] // side),
        config.base_image_seq_len,
        config.max_image_seq_len,
        config.base_shift,
        config.max_shift,
    )
    return found


def clip_fits(pipeline: Any, homes: Sequence[tuple[str, str]]) -> dict[str, bool]:
    """Return whether tokenizers fit their CLIP text encoders, both by their names in the pipeline."""
    fits = {}
    for words_name, encoder_name in homes:
        words, encoder = getattr(pipeline, words_name), getattr(pipeline, encoder_name).config
        most = encoder.max_position_embeddings
        fits[f"{words_name}'s model_max_length"] = 2 <= words.model_max_length <= most
        fits[f"{words_name}'s vocabulary"] = 2 <= len(words) <= encoder.vocab_size
    return fits
