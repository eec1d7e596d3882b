"""Stable Diffusion XL: as Stable Diffusion, but with two text encoders, a pooled embedding and time ids.

Podell et al. 2023 (arXiv 2307.01952). The states of both encoders' last layer but one stand side by side, the
pooled embedding is the second encoder's. The time ids say how large an image was and what was cut from it;
images are generated as if nothing had been, which is what diffusers' pipelines do by themselves.

Where the settings of the second encoder name 2 as the end of a text, as those of the base model do, the
pooled embedding is taken at the largest id: at a learned word, where there is one. In training it is where
diffusers has it.

Where ``force_zeros_for_empty_prompt`` is set, as in the base model, the empty prompt is zeros: that is what
guidance is measured against, so it is also what prompt dropout shows.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from skindiff.errors import GeneratorError
from skindiff.generators.text_to_image import clip_text
from skindiff.generators.text_to_image.architecture import TokenHome
from skindiff.generators.text_to_image.autoencoder import is_scale
from skindiff.generators.text_to_image.conditioning import Conditioning
from skindiff.generators.text_to_image.stable_diffusion import StableDiffusion

_IDS = ("input_ids", "input_ids_2")
_GIVEN = "given"
"""1 for a prompt, 0 where the network is told zeros in place of the empty one."""
_STATES, _POOLED, _TIME_IDS = "prompt_embeds", "pooled_prompt_embeds", "time_ids"
_TIMES = 6
"""Numbers of an image in its time ids; the refiner has five."""


class PromptedUNetXL(nn.Module):
    """The U-Net with, where the text encoders learn too, both of them in front of it."""

    def __init__(
        self, unet: nn.Module, text_encoder: nn.Module | None, text_encoder_2: nn.Module | None
    ) -> None:
        super().__init__()
        self.unet, self.text_encoder, self.text_encoder_2 = unet, text_encoder, text_encoder_2

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        prompts: Conditioning,
        places: torch.Tensor,
        images: Conditioning,
    ) -> torch.Tensor:
        """Predict noise or velocity (see the seam)."""
        live = self.text_encoder is not None and self.text_encoder_2 is not None
        found = _encoded(self.text_encoder, self.text_encoder_2, prompts) if live else prompts
        return _predicted(self.unet, latents, timesteps, found[places], images)


def _encoded(first: Any, second: Any, ids: Conditioning) -> Conditioning:
    outputs = [
        encoder(ids.tensors[name].to(encoder.device), output_hidden_states=True)
        for encoder, name in zip((first, second), _IDS, strict=True)
    ]
    given = ids.tensors[_GIVEN].to(second.device, second.dtype)
    states = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    pooled = outputs[1].text_embeds
    return Conditioning(
        {_STATES: states.to(second.dtype) * given[:, None, None], _POOLED: pooled * given[:, None]}
    )


def _predicted(
    unet: Any, latents: torch.Tensor, timesteps: torch.Tensor, prompts: Conditioning, images: Conditioning
) -> torch.Tensor:
    told = {
        "text_embeds": prompts.tensors[_POOLED].to(latents.dtype),
        "time_ids": images.tensors[_TIME_IDS].to(latents.device),
    }
    states = prompts.tensors[_STATES].to(latents.dtype)
    prediction: torch.Tensor = unet(latents, timesteps, states, added_cond_kwargs=told).sample
    return prediction


class StableDiffusionXL(StableDiffusion):
    """Stable Diffusion XL, base models alone: its refiner is refused."""

    name = "Stable Diffusion XL"
    generates, transfers = StableDiffusionXLPipeline, StableDiffusionXLImg2ImgPipeline
    # Without the watermark, which diffusers adds where the package invisible-watermark is installed.
    loading = {"image_encoder": None, "feature_extractor": None, "add_watermarker": False}  # noqa: RUF012
    kohya = {  # noqa: RUF012
        "unet": "lora_unet_",
        "text_encoder": "lora_te1_text_model_",
        "text_encoder_2": "lora_te2_text_model_",
    }
    token_homes = (
        TokenHome("tokenizer", "text_encoder", "clip_l"),
        TokenHome("tokenizer_2", "text_encoder_2", "clip_g"),
    )

    def refuse_index(self, index: Mapping[str, Any], name: str) -> None:
        """Refuse the refiner, which has one text encoder and is told how beautiful an image is."""
        if index.get("requires_aesthetics_score") or index.get("text_encoder") in (None, [None, None]):
            raise GeneratorError(
                f"{name} is the refiner of {self.name}, which improves images and generates none: give the "
                "base model, such as stabilityai/stable-diffusion-xl-base-1.0"
            )

    def refuse_unfit(self, pipeline: Any, name: str = "the pipeline") -> None:
        """Refuse sizes of networks that differ, another U-Net, and an autoencoder that shifts its latents."""
        kinds: dict[str, type] = {
            "text_encoder": CLIPTextModel,
            "text_encoder_2": CLIPTextModelWithProjection,
        }
        kinds |= dict.fromkeys(("tokenizer", "tokenizer_2"), CLIPTokenizer)
        for part, kind in kinds.items():
            if not isinstance(getattr(pipeline, part), kind):
                raise GeneratorError(f"{name}: its {part} is no {kind.__name__}: get it again")
        unet, vae = pipeline.unet.config, pipeline.vae.config
        pairs = [(getattr(pipeline, one.tokenizer), getattr(pipeline, one.text_encoder).config)
                 for one in self.token_homes]  # fmt: skip
        width = sum(encoder.hidden_size for _, encoder in pairs)
        told = _TIMES * (unet.addition_time_embed_dim or 0) + pairs[1][1].projection_dim
        fits = {
            "the U-Net's sample_size": isinstance(unet.sample_size, int),
            "the U-Net's in_channels": unet.in_channels == unet.out_channels == vae.latent_channels,
            "the U-Net's cross_attention_dim": unet.cross_attention_dim == width,
            "the U-Net's addition_embed_type": unet.addition_embed_type == "text_time",
            "the U-Net's projection_class_embeddings_input_dim": unet.projection_class_embeddings_input_dim
            == told,
            "the autoencoder's scaling_factor": is_scale(vae.scaling_factor),
            "force_zeros_for_empty_prompt": isinstance(pipeline.config.force_zeros_for_empty_prompt, bool),
        }
        for number, (words, encoder) in enumerate(pairs, 1):
            most = encoder.max_position_embeddings
            fits[f"tokenizer {number}'s model_max_length"] = 2 <= words.model_max_length <= most
            fits[f"tokenizer {number}'s vocabulary"] = 2 <= len(words) <= encoder.vocab_size
            fits[f"text encoder {number}'s num_hidden_layers"] = encoder.num_hidden_layers >= 1
        fits["the tokenizers' model_max_length"] = len({words.model_max_length for words, _ in pairs}) == 1
        if wrong := [part for part, fit in fits.items() if not fit]:
            raise GeneratorError(f"{name}: {wrong[0]} does not fit the rest: get it again")
        for setting in ("shift_factor", "latents_mean", "latents_std"):
            if getattr(vae, setting, None):
                raise GeneratorError(
                    f"{name}: its autoencoder has a {setting}, which {self.name} does not apply: give a "
                    "model with the autoencoder that it was made with"
                )

    def networks(self, pipeline: Any) -> tuple[Any, ...]:
        """Return the U-Net, both text encoders and the autoencoder."""
        return pipeline.unet, pipeline.text_encoder, pipeline.text_encoder_2, pipeline.vae

    def adaptable(self, pipeline: Any) -> dict[str, Any]:
        """Return the U-Net and both text encoders."""
        return {name: getattr(pipeline, name) for name in self.kohya}

    def unread_layers(self, pipeline: Any) -> dict[str, str]:
        """Return the last layer of the first text encoder, of which the states before are taken."""
        last = pipeline.text_encoder.config.num_hidden_layers - 1
        return {"text_encoder": rf"(.*\.)?layers\.{last}\..*"}

    def denoiser(self, pipeline: Any, *, live_text: bool, guidance: float = 1.0) -> nn.Module:
        """Return a :class:`PromptedUNetXL`."""
        encoders = (pipeline.text_encoder, pipeline.text_encoder_2) if live_text else (None, None)
        return PromptedUNetXL(pipeline.unet, *encoders)

    def call_network(
        self, pipeline: Any, latents: torch.Tensor, timesteps: torch.Tensor, prompts: Conditioning
    ) -> None:
        """Call the U-Net on latents of images that were not cut."""
        height, width = (side * pipeline.vae_scale_factor for side in latents.shape[-2:])
        framing = torch.tensor([[height, width, 0, 0, height, width]] * len(latents))
        _predicted(pipeline.unet, latents, timesteps, prompts, self.image_conditions(framing))

    def latent_facts(self, pipeline: Any) -> dict[str, Any]:
        """Return what decides latents, with the precision that the autoencoder runs in."""
        with _upcast(pipeline.vae):
            dtype = str(pipeline.vae.dtype)
        return {**super().latent_facts(pipeline), "dtype": dtype}

    def encode_moments(self, pipeline: Any, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode images, in float32 where half precision would overflow."""
        with _upcast(pipeline.vae):
            return super().encode_moments(pipeline, images)

    def decode(self, pipeline: Any, latents: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        """Decode latents, in float32 where half precision would overflow."""
        with _upcast(pipeline.vae):
            return super().decode(pipeline, latents, scaled=scaled)

    def tokenise(self, pipeline: Any, prompts: Sequence[str], *, cut: bool = False) -> Conditioning:
        """Turn prompts into ids of both tokenizers."""
        ids = {
            name: clip_text.tokenise(getattr(pipeline, home.tokenizer), prompts, cut=cut)
            for name, home in zip(_IDS, self.token_homes, strict=True)
        }
        zeros = pipeline.config.force_zeros_for_empty_prompt
        given = torch.tensor([float(prompt != "" or not zeros) for prompt in prompts])
        return Conditioning({**ids, _GIVEN: given})

    def encode_ids(self, pipeline: Any, ids: Conditioning) -> Conditioning:
        """Return states of both text encoders and the pooled embedding of the second."""
        return _encoded(pipeline.text_encoder, pipeline.text_encoder_2, ids)

    def image_conditions(self, framings: torch.Tensor) -> Conditioning:
        """Return the time ids: size of the original, crop, size of the image."""
        return Conditioning({_TIME_IDS: framings.float()})

    def _building(self, pipeline: Any) -> dict[str, Any]:
        zeros = pipeline.config.force_zeros_for_empty_prompt
        return {"force_zeros_for_empty_prompt": zeros, "add_watermarker": False}


@contextmanager
def _upcast(vae: Any) -> Iterator[None]:
    """Run an autoencoder that overflows in float16 in float32 inside the context, as its pipeline does."""
    if vae.dtype != torch.float16 or not vae.config.force_upcast:
        yield
        return
    vae.to(torch.float32)
    try:
        yield
    finally:
        vae.to(torch.float16)
