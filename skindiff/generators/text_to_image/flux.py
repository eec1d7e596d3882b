"""FLUX.1, dev and schnell: a transformer on packed latents, told a pooled CLIP embedding and T5's states.

Black Forest Labs 2024, as diffusers has it. dev is distilled to follow a guidance that it is told (Meng et
al. 2023, arXiv 2210.03142): that is what ``guidance_scale`` means here, as in its pipeline, and schnell is
told none. Neither compares with the empty prompt (true classifier-free guidance), so negative prompts are not
used.

Learned words live in CLIP, as diffusers loads them. T5 reads their names letter by letter.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import FluxImg2ImgPipeline, FluxPipeline
from torch import nn

from skindiff.generators.text_to_image import clip_text, t5_text
from skindiff.generators.text_to_image.architecture import TokenHome
from skindiff.generators.text_to_image.conditioning import Conditioning
from skindiff.generators.text_to_image.flow_transformer import FlowTransformer, clip_fits

_IDS, _IDS_2 = "input_ids", "input_ids_2"
_STATES, _POOLED = "prompt_embeds", "pooled_prompt_embeds"
_PLACES = 512
"""Places of T5, ``max_sequence_length`` of the pipelines; without a mask their number decides the images."""


class PromptedFlux(nn.Module):
    """The transformer with, where CLIP learns too, CLIP in front of it; T5 never learns."""

    def __init__(self, transformer: Any, text_encoder: nn.Module | None, guidance: float) -> None:
        super().__init__()
        self.transformer, self.text_encoder, self.guidance = transformer, text_encoder, guidance

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        prompts: Conditioning,
        places: torch.Tensor,
        images: Conditioning,
    ) -> torch.Tensor:
        """Predict the way to noise (see the seam); of images this architecture is told nothing."""
        found = prompts.tensors
        pooled = found[_POOLED] if self.text_encoder is None else _pooled(self.text_encoder, found[_IDS])
        states = found[_STATES][places].to(latents.dtype)
        height, width = latents.shape[-2:]
        told = None
        if self.transformer.config.guidance_embeds:
            told = torch.full((len(latents),), self.guidance, device=latents.device)
        prediction: torch.Tensor = self.transformer(
            hidden_states=packed(latents),
            # The transformer multiplies it by 1000 again.
            timestep=timesteps / 1000,
            guidance=told,
            pooled_projections=pooled[places].to(latents.dtype),
            encoder_hidden_states=states,
            txt_ids=torch.zeros(states.shape[1], 3, device=latents.device, dtype=latents.dtype),
            img_ids=FluxPipeline._prepare_latent_image_ids(
                len(latents), height // 2, width // 2, latents.device, latents.dtype
            ),
        ).sample
        return unpacked(prediction, height, width)


def packed(latents: torch.Tensor) -> torch.Tensor:
    """Return latents (b, channels, height, width) as tokens (b, height / 2 x width / 2, 4 x channels)."""
    found: torch.Tensor = FluxPipeline._pack_latents(latents, *latents.shape)
    return found


def unpacked(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return tokens as latents of height and width in latent pixels."""
    found: torch.Tensor = FluxPipeline._unpack_latents(tokens, height, width, 1)
    return found


def _pooled(text_encoder: Any, ids: torch.Tensor) -> torch.Tensor:
    pooled: torch.Tensor = text_encoder(ids.to(text_encoder.device)).pooler_output
    return pooled


class Flux(FlowTransformer):
    """FLUX.1 for text and img2img; its kin for control, filling and editing are refused."""

    name = "FLUX.1"
    generates, transfers = FluxPipeline, FluxImg2ImgPipeline
    loading = {"image_encoder": None, "feature_extractor": None}  # noqa: RUF012
    token_homes: ClassVar[tuple[TokenHome, ...]] = (TokenHome("tokenizer", "text_encoder"),)
    # OneTrainer's, which ComfyUI and diffusers read: kohya's own joins queries, keys and values in one layer.
    kohya = {"transformer": "lora_transformer_", "text_encoder": "lora_te1_text_model_"}  # noqa: RUF012

    joined = {"_attn_qkv": 3, "_linear1": 4}  # noqa: RUF012

    def refuse_unfit(self, pipeline: Any, name: str = "the pipeline") -> None:
        """Refuse sizes of parts that differ, and a scheduler or an autoencoder of another kind."""
        network, vae = pipeline.transformer.config, pipeline.vae.config
        channels = 4 * vae.latent_channels
        fits = {
            "the transformer's in_channels": network.in_channels == channels,
            "the transformer's out_channels": network.out_channels in (None, channels),
            "the transformer's patch_size": network.patch_size == 1,
            "the transformer's joint_attention_dim": network.joint_attention_dim
            == pipeline.text_encoder_2.config.d_model,
            "the transformer's pooled_projection_dim": network.pooled_projection_dim
            == pipeline.text_encoder.config.hidden_size,
            "tokenizer_2's vocabulary": len(pipeline.tokenizer_2)
            <= pipeline.text_encoder_2.config.vocab_size,
            **clip_fits(pipeline, [("tokenizer", "text_encoder")]),
        }
        self.refuse_parts(pipeline, name, fits)

    def networks(self, pipeline: Any) -> tuple[Any, ...]:
        """Return the transformer, CLIP, T5 and the autoencoder."""
        return pipeline.transformer, pipeline.text_encoder, pipeline.text_encoder_2, pipeline.vae

    def denoiser(self, pipeline: Any, *, live_text: bool, guidance: float = 1.0) -> nn.Module:
        """Return a :class:`PromptedFlux`."""
        return PromptedFlux(pipeline.transformer, pipeline.text_encoder if live_text else None, guidance)

    def takes_guidance(self, pipeline: Any) -> bool:
        """Return whether it is dev, or a model made of it."""
        return bool(pipeline.transformer.config.guidance_embeds)

    def blocks(self, pipeline: Any) -> list[Any]:
        """Return the blocks of two streams and those of one."""
        return [*pipeline.transformer.transformer_blocks, *pipeline.transformer.single_transformer_blocks]

    def image_tokens(self, output: Any, count: int) -> torch.Tensor:
        """Return the second of what a block gives, behind the prompt."""
        tokens: torch.Tensor = output[1]
        return tokens

    def image_size(self, pipeline: Any) -> int:
        """Return the size that its pipeline generates, 1024 pixels."""
        return int(pipeline.default_sample_size * pipeline.vae_scale_factor)

    def tokenise(self, pipeline: Any, prompts: Sequence[str], *, cut: bool = False) -> Conditioning:
        """Turn prompts into ids of both tokenizers."""
        return Conditioning(
            {
                _IDS: clip_text.tokenise(pipeline.tokenizer, prompts, cut=cut),
                _IDS_2: t5_text.tokenise(pipeline.tokenizer_2, prompts, _PLACES, cut=cut),
            }
        )

    def surplus(self, pipeline: Any, prompts: Sequence[str]) -> dict[str, list[int]]:
        """Return the tokens that are too many for CLIP and for T5."""
        return {
            "text_encoder": clip_text.surplus(pipeline.tokenizer, prompts),
            "text_encoder_2": t5_text.surplus(pipeline.tokenizer_2, prompts, _PLACES),
        }

    def live_prompts(self, pipeline: Any, prompts: Sequence[str], *, cut: bool = False) -> Conditioning:
        """Return ids of CLIP, and the states of T5, which is not trained."""
        ids = self.tokenise(pipeline, prompts, cut=cut).tensors
        states = [t5_text.encode(pipeline.text_encoder_2, row[None]) for row in ids[_IDS_2]]
        return Conditioning({_IDS: ids[_IDS], _STATES: torch.cat(states)})

    def encode_ids(self, pipeline: Any, ids: Conditioning) -> Conditioning:
        """Return the pooled embedding of CLIP and the states of T5."""
        return Conditioning(
            {
                _STATES: t5_text.encode(pipeline.text_encoder_2, ids.tensors[_IDS_2]),
                _POOLED: _pooled(pipeline.text_encoder, ids.tensors[_IDS]),
            }
        )

    def conditions(self, prompts: Conditioning, free: Conditioning | None = None) -> dict[str, Any]:
        """Return what a pipeline is called with; the empty prompt has no part in distilled guidance."""
        return dict(prompts.tensors)

    def pack(self, pipeline: Any, latents: torch.Tensor) -> torch.Tensor:
        """Return latents as tokens."""
        return packed(latents)

    def unpack(self, pipeline: Any, latents: torch.Tensor, width: int, height: int) -> torch.Tensor:
        """Return tokens as latents."""
        factor = pipeline.vae_scale_factor
        return unpacked(latents, height // factor, width // factor)
