"""Stable Diffusion 3 and 3.5: a transformer told the states of two CLIP encoders and T5 side by side.

Esser et al. 2024 (arXiv 2403.03206). The states of both CLIP encoders' last layer but one stand beside each
other and before those of T5, the pooled embedding is that of both. T5 may be absent: the network is then told
zeros, as its pipeline does. diffusers has no loader for learned words here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusion3Img2ImgPipeline, StableDiffusion3Pipeline
from torch import nn
from torch.nn import functional

from skindiff.generators.text_to_image import clip_text, t5_text
from skindiff.generators.text_to_image.conditioning import Conditioning
from skindiff.generators.text_to_image.flow_transformer import FlowTransformer, clip_fits, resolution_shift

_CLIPS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
_IDS, _IDS_3, _STATES_3 = ("input_ids", "input_ids_2"), "input_ids_3", "t5_embeds"
_STATES, _POOLED = "prompt_embeds", "pooled_prompt_embeds"
_PLACES = 256
"""Places of T5, ``max_sequence_length`` of the pipelines; without a mask their number decides the images."""


class PromptedSD3(nn.Module):
    """The transformer with, where they learn too, both CLIP encoders in front of it; T5 never learns."""

    def __init__(self, transformer: Any, clips: Sequence[Any]) -> None:
        super().__init__()
        self.transformer, self.clips = transformer, nn.ModuleList(clips)

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        prompts: Conditioning,
        places: torch.Tensor,
        images: Conditioning,
    ) -> torch.Tensor:
        """Predict the way to noise (see the seam); of images this architecture is told nothing."""
        found = _joined(list(self.clips), prompts) if self.clips else prompts
        told = found[places].tensors
        prediction: torch.Tensor = self.transformer(
            hidden_states=latents,
            timestep=timesteps,
            encoder_hidden_states=told[_STATES].to(latents.dtype),
            pooled_projections=told[_POOLED].to(latents.dtype),
        ).sample
        return prediction


def _joined(clips: Sequence[Any], prompts: Conditioning) -> Conditioning:
    """Return what the network is told of ids for CLIP and states of T5."""
    outputs = [
        clip(prompts.tensors[name].to(clip.device), output_hidden_states=True)
        for clip, name in zip(clips, _IDS, strict=True)
    ]
    states, last = torch.cat([one.hidden_states[-2] for one in outputs], dim=-1), prompts.tensors[_STATES_3]
    padded = functional.pad(states, (0, last.shape[-1] - states.shape[-1]))
    pooled = torch.cat([one.text_embeds for one in outputs], dim=-1)
    return Conditioning({_STATES: torch.cat([padded, last.to(padded)], dim=-2), _POOLED: pooled})


class StableDiffusion3(FlowTransformer):
    """Stable Diffusion 3 and 3.5, medium and large."""

    name = "Stable Diffusion 3"
    generates, transfers = StableDiffusion3Pipeline, StableDiffusion3Img2ImgPipeline
    loading = {"image_encoder": None, "feature_extractor": None}  # noqa: RUF012
    token_homes = ()
    # OneTrainer's, which ComfyUI reads and diffusers does not.
    reads_kohya = False
    kohya = {  # noqa: RUF012
        "transformer": "lora_transformer_",
        "text_encoder": "lora_te1_text_model_",
        "text_encoder_2": "lora_te2_text_model_",
    }

    def refuse_unfit(self, pipeline: Any, name: str = "the pipeline") -> None:
        """Refuse sizes of parts that differ, and a scheduler or an autoencoder of another kind."""
        network, vae, t5 = pipeline.transformer.config, pipeline.vae.config, pipeline.text_encoder_3
        clips = [getattr(pipeline, encoder).config for _, encoder in _CLIPS]
        channels = vae.latent_channels
        fits = {
            "the transformer's in_channels": network.in_channels == channels,
            "the transformer's out_channels": network.out_channels in (None, channels),
            "the transformer's pooled_projection_dim": network.pooled_projection_dim
            == sum(clip.projection_dim for clip in clips),
            "the transformer's joint_attention_dim": network.joint_attention_dim
            >= sum(clip.hidden_size for clip in clips),
            "text_encoder_3": t5 is None or t5.config.d_model == network.joint_attention_dim,
            "tokenizer_3": t5 is None or len(pipeline.tokenizer_3) <= t5.config.vocab_size,
            **clip_fits(pipeline, _CLIPS),
        }
        self.refuse_parts(pipeline, name, fits)

    def networks(self, pipeline: Any) -> tuple[Any, ...]:
        """Return the transformer, the text encoders that there are and the autoencoder."""
        texts = (pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3)
        return (pipeline.transformer, *filter(None, texts), pipeline.vae)

    def denoiser(self, pipeline: Any, *, live_text: bool, guidance: float = 1.0) -> nn.Module:
        """Return a :class:`PromptedSD3`."""
        clips = [getattr(pipeline, encoder) for _, encoder in _CLIPS] if live_text else []
        return PromptedSD3(pipeline.transformer, clips)

    def unread_layers(self, pipeline: Any) -> dict[str, str]:
        """Return the prompt's queries in the last block, after which the prompt is dropped."""
        last = pipeline.transformer.config.num_layers - 1
        return {"transformer": rf"transformer_blocks\.{last}\.attn\.add_q_proj"}

    def blocks(self, pipeline: Any) -> list[Any]:
        """Return the joint blocks."""
        return list(pipeline.transformer.transformer_blocks)

    def image_tokens(self, output: Any, count: int) -> torch.Tensor:
        """Return the second of what a block gives, behind the prompt."""
        tokens: torch.Tensor = output[1]
        return tokens

    def token_side(self, pipeline: Any) -> int:
        """Return the transformer's patch size."""
        return int(pipeline.transformer.config.patch_size)

    def image_size(self, pipeline: Any) -> int:
        """Return the side of the transformer's grid in pixels."""
        return int(pipeline.transformer.config.sample_size * pipeline.vae_scale_factor)

    def set_timesteps(self, pipeline: Any, scheduler: Any, steps: int, shape: Sequence[int]) -> None:
        """Set a scheduler to its own noise levels, shifted by resolution where it asks for that."""
        shifts = scheduler.config.use_dynamic_shifting
        mu = {"mu": resolution_shift(scheduler, shape, self.token_side(pipeline))} if shifts else {}
        scheduler.set_timesteps(steps, **mu)

    def tokenise(self, pipeline: Any, prompts: Sequence[str], *, cut: bool = False) -> Conditioning:
        """Turn prompts into ids of the tokenizers that there are."""
        ids = {
            name: clip_text.tokenise(getattr(pipeline, words), prompts, cut=cut)
            for name, (words, _) in zip(_IDS, _CLIPS, strict=True)
        }
        if pipeline.text_encoder_3 is not None:
            ids[_IDS_3] = t5_text.tokenise(pipeline.tokenizer_3, prompts, _PLACES, cut=cut)
        return Conditioning(ids)

    def surplus(self, pipeline: Any, prompts: Sequence[str]) -> dict[str, list[int]]:
        """Return the tokens that are too many for each text encoder that there is."""
        found = {encoder: clip_text.surplus(getattr(pipeline, words), prompts) for words, encoder in _CLIPS}
        if pipeline.text_encoder_3 is not None:
            found["text_encoder_3"] = t5_text.surplus(pipeline.tokenizer_3, prompts, _PLACES)
        return found

    def live_prompts(self, pipeline: Any, prompts: Sequence[str], *, cut: bool = False) -> Conditioning:
        """Return ids of both CLIPs, and the states of T5, which is not trained."""
        ids = self.tokenise(pipeline, prompts, cut=cut)
        rows = [self._last(pipeline, ids[place : place + 1]) for place in range(len(prompts))]
        return Conditioning({**{name: ids.tensors[name] for name in _IDS}, _STATES_3: torch.cat(rows)})

    def encode_ids(self, pipeline: Any, ids: Conditioning) -> Conditioning:
        """Return states of all text encoders and the pooled embedding of both CLIPs."""
        clips = [getattr(pipeline, encoder) for _, encoder in _CLIPS]
        return _joined(clips, Conditioning({**ids.tensors, _STATES_3: self._last(pipeline, ids)}))

    def _last(self, pipeline: Any, ids: Conditioning) -> torch.Tensor:
        """Return the states of T5, or zeros without it."""
        if pipeline.text_encoder_3 is not None:
            return t5_text.encode(pipeline.text_encoder_3, ids.tensors[_IDS_3])
        clip, width = pipeline.text_encoder, pipeline.transformer.config.joint_attention_dim
        count = len(ids.tensors[_IDS[0]])
        return torch.zeros(count, _PLACES, width, device=clip.device, dtype=clip.dtype)
