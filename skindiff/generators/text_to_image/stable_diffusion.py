"""Stable Diffusion 1.x and 2.x: a U-Net, one CLIP text encoder, an autoencoder that scales its latents."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from torch import nn

from skindiff.errors import GeneratorError
from skindiff.generators.text_to_image import clip_text
from skindiff.generators.text_to_image.architecture import TokenHome
from skindiff.generators.text_to_image.autoencoder import WithAutoencoder, is_scale
from skindiff.generators.text_to_image.conditioning import Conditioning

_IDS, _STATES = "input_ids", "prompt_embeds"


class PromptedUNet(nn.Module):
    """The U-Net with, where the text encoder learns too, the text encoder in front of it."""

    def __init__(self, unet: nn.Module, text_encoder: nn.Module | None) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        prompts: Conditioning,
        places: torch.Tensor,
        images: Conditioning,
    ) -> torch.Tensor:
        """Predict noise or velocity (see the seam); of images this architecture is told nothing."""
        found = prompts if self.text_encoder is None else _encoded(self.text_encoder, prompts)
        states = found.tensors[_STATES][places].to(latents.dtype)
        prediction: torch.Tensor = self.unet(latents, timesteps, states).sample
        return prediction


def _encoded(text_encoder: nn.Module, ids: Conditioning) -> Conditioning:
    return Conditioning({_STATES: text_encoder(ids.tensors[_IDS])[0]})


class StableDiffusion(WithAutoencoder):
    """Stable Diffusion 1.x and 2.x; the safety checker, which takes diseased skin for nudity, is left out."""

    name = "Stable Diffusion 1.x and 2.x"
    generates, transfers = StableDiffusionPipeline, StableDiffusionImg2ImgPipeline
    single_file = True
    loading = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}  # noqa: RUF012
    token_homes: ClassVar[tuple[TokenHome, ...]] = (TokenHome("tokenizer", "text_encoder"),)
    # Kohya's; diffusers writes lora_te1, which A1111 takes for SDXL alone.
    kohya = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}  # noqa: RUF012

    def refuse_unfit(self, pipeline: Any, name: str = "the pipeline") -> None:
        """Refuse an autoencoder that shifts its latents, which Stable Diffusion never does.

        Plain diffusers' pipeline scales latents and nothing else, so that a model trained with a shift would
        be sampled from without it. The shift belongs to architectures whose pipeline applies it.

        Neither fit sizes of networks that differ, and a tokenizer that gives more than the encoder takes.
        """
        unet, vae = pipeline.unet.config, pipeline.vae.config
        words, encoder = pipeline.tokenizer, pipeline.text_encoder.config
        most = encoder.max_position_embeddings
        fits = {
            "the U-Net's sample_size": isinstance(unet.sample_size, int),
            "the U-Net's in_channels": unet.in_channels == unet.out_channels == vae.latent_channels,
            "the U-Net's cross_attention_dim": unet.cross_attention_dim == encoder.hidden_size,
            "the autoencoder's scaling_factor": is_scale(vae.scaling_factor),
            "the tokenizer's model_max_length": 2 <= words.model_max_length <= most,
            "the tokenizer's vocabulary": 2 <= len(words) <= encoder.vocab_size,
        }
        if wrong := [part for part, fit in fits.items() if not fit]:
            raise GeneratorError(f"{name}: {wrong[0]} does not fit the rest: get it again")
        shift = vae.shift_factor
        if shift:
            raise GeneratorError(
                f"{name}: its autoencoder has a shift_factor of {shift:g}, which {self.name} does not apply: "
                "give a model with the autoencoder that it was made with"
            )

    def network(self, pipeline: Any) -> Any:
        """Return the U-Net."""
        return pipeline.unet

    def networks(self, pipeline: Any) -> tuple[Any, ...]:
        """Return the U-Net, the text encoder and the autoencoder."""
        return pipeline.unet, pipeline.text_encoder, pipeline.vae

    def adaptable(self, pipeline: Any) -> dict[str, Any]:
        """Return the U-Net and the text encoder."""
        return {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}

    def denoiser(self, pipeline: Any, *, live_text: bool, guidance: float = 1.0) -> nn.Module:
        """Return a :class:`PromptedUNet`."""
        return PromptedUNet(pipeline.unet, pipeline.text_encoder if live_text else None)

    def activations(
        self, pipeline: Any, latents: torch.Tensor, timesteps: torch.Tensor, prompts: Conditioning
    ) -> list[torch.Tensor]:
        """Return what the middle and the upward blocks of the U-Net give (see the seam)."""
        unet, found = pipeline.unet, []
        hooks = [
            block.register_forward_hook(lambda _block, _given, output: found.append(output))
            for block in (unet.mid_block, *unet.up_blocks)
        ]
        try:
            self.call_network(pipeline, latents.to(unet.dtype), timesteps, prompts)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def call_network(
        self, pipeline: Any, latents: torch.Tensor, timesteps: torch.Tensor, prompts: Conditioning
    ) -> None:
        """Call the U-Net, for what its blocks make of latents."""
        pipeline.unet(latents, timesteps, prompts.tensors[_STATES].to(latents.dtype))

    def image_size(self, pipeline: Any) -> int:
        """Return the side of the U-Net's grid in pixels."""
        return int(pipeline.unet.config.sample_size * pipeline.vae_scale_factor)

    def latent_shape(self, pipeline: Any, size: int) -> tuple[int, int, int]:
        """Return the shape of the U-Net's input."""
        side = size // pipeline.vae_scale_factor
        return int(pipeline.unet.config.in_channels), side, side

    def tokenise(self, pipeline: Any, prompts: Sequence[str], *, cut: bool = False) -> Conditioning:
        """Turn prompts into ids of the one tokenizer."""
        return Conditioning({_IDS: clip_text.tokenise(pipeline.tokenizer, prompts, cut=cut)})

    def surplus(self, pipeline: Any, prompts: Sequence[str]) -> dict[str, list[int]]:
        """Return the tokens that are too many for each text encoder."""
        return {
            home.text_encoder: clip_text.surplus(getattr(pipeline, home.tokenizer), prompts)
            for home in self.token_homes
        }

    def encode_ids(self, pipeline: Any, ids: Conditioning) -> Conditioning:
        """Return states of the one text encoder."""
        return _encoded(pipeline.text_encoder, ids.to(pipeline.text_encoder.device))

    def _building(self, pipeline: Any) -> dict[str, Any]:
        return {"requires_safety_checker": False}
