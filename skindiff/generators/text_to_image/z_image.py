"""Z-Image and its distilled Turbo: one stream of image tokens and the states of a chat model.

Tongyi-MAI 2025 (arXiv 2511.22699), as diffusers has it. Of the two newer flow models that could be here it is
the one whose img2img has a pipeline: diffusers has text-to-image, editing and inpainting of FLUX.2-klein.

Prompts go through the tokenizer's chat template, and their states keep their own length. diffusers counts
guidance from 0 here (``positive + scale * (positive - negative)``), so that 1 is taken off
``guidance_scale``, at which 1 is none as for all other models. Its network's time runs from 0 (noise) to 1,
and it predicts the way back.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ZImageImg2ImgPipeline, ZImagePipeline
from diffusers.image_processor import VaeImageProcessor
from torch import nn

from skindiff.generators.text_to_image import t5_text
from skindiff.generators.text_to_image.architecture import Mode
from skindiff.generators.text_to_image.conditioning import Conditioning
from skindiff.generators.text_to_image.flow_transformer import FlowTransformer

_IDS, _MASK, _STATES = "input_ids", "mask", "prompt_embeds"
_PLACES = 512
"""Places of a prompt with its template, ``max_sequence_length`` of the pipelines."""
_SIZE = 1024
"""Pixels that its pipeline generates."""


class PromptedZImage(nn.Module):
    """The transformer; its text encoder never learns."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        prompts: Conditioning,
        places: torch.Tensor,
        images: Conditioning,
    ) -> torch.Tensor:
        """Predict the way to noise (see the seam); of images this architecture is told nothing."""
        states = [one.to(latents.dtype) for one in _own(prompts[places])]
        predictions = self.transformer(list(latents[:, :, None]), 1 - timesteps / 1000, states).sample
        return -torch.stack(predictions)[:, :, 0]


def _own(prompts: Conditioning) -> list[torch.Tensor]:
    """Return the states of each prompt, (its own length, width)."""
    rows = zip(prompts.tensors[_STATES], prompts.tensors[_MASK], strict=True)
    return [states[mask] for states, mask in rows]


class ZImage(FlowTransformer):
    """Z-Image for text and img2img; its kin for control, inpainting and editing are refused."""

    name = "Z-Image"
    generates, transfers = ZImagePipeline, ZImageImg2ImgPipeline
    token_homes = ()
    # ComfyUI's and diffusers': by kohya's lora_unet_ ComfyUI looks for its own layers, which join Q, K and V.
    kohya = {"transformer": "diffusion_model."}  # noqa: RUF012

    def refuse_unfit(self, pipeline: Any, name: str = "the pipeline") -> None:
        """Refuse sizes of parts that differ, and a scheduler or an autoencoder of another kind."""
        network, text = pipeline.transformer.config, pipeline.text_encoder.config
        fits = {
            "the transformer's in_channels": network.in_channels == pipeline.vae.config.latent_channels,
            "the transformer's cap_feat_dim": network.cap_feat_dim == text.hidden_size,
            "the transformer's all_patch_size": 2 in network.all_patch_size,
            "the tokenizer's vocabulary": len(pipeline.tokenizer) <= text.vocab_size,
            "the tokenizer's chat_template": bool(pipeline.tokenizer.chat_template),
        }
        self.refuse_parts(pipeline, name, fits)

    def networks(self, pipeline: Any) -> tuple[Any, ...]:
        """Return the transformer, the text encoder and the autoencoder."""
        return pipeline.transformer, pipeline.text_encoder, pipeline.vae

    def denoiser(self, pipeline: Any, *, live_text: bool, guidance: float = 1.0) -> nn.Module:
        """Return a :class:`PromptedZImage`."""
        return PromptedZImage(pipeline.transformer)

    def blocks(self, pipeline: Any) -> list[Any]:
        """Return the blocks of the joint stream."""
        return list(pipeline.transformer.layers)

    def image_tokens(self, output: Any, count: int) -> torch.Tensor:
        """Return the first tokens of the stream."""
        tokens: torch.Tensor = output[:, :count]
        return tokens

    def image_size(self, pipeline: Any) -> int:
        """Return the size that its pipeline generates, 1024 pixels."""
        return _SIZE

    def guidance(self, scale: float) -> dict[str, float]:
        """Return the scale less 1, as the pipeline counts from 0."""
        return {"guidance_scale": scale - 1.0}

    def tokenise(self, pipeline: Any, prompts: Sequence[str], *, cut: bool = False) -> Conditioning:
        """Turn prompts in the chat template into ids, and say where they end.

        Where the end is cut it is that of the template first, as the pipeline cuts it.
        """
        texts = self._chats(pipeline, prompts)
        if not cut:
            t5_text.refuse_long(pipeline.tokenizer, texts, _PLACES, "its text encoder")
        made = pipeline.tokenizer(
            texts, padding="max_length", truncation=cut, max_length=_PLACES, return_tensors="pt"
        )
        return Conditioning({_IDS: made.input_ids, _MASK: made.attention_mask.bool()})

    def surplus(self, pipeline: Any, prompts: Sequence[str]) -> dict[str, list[int]]:
        """Return the tokens that are too many, with those of the template."""
        texts = self._chats(pipeline, prompts)
        return {"text_encoder": t5_text.surplus(pipeline.tokenizer, texts, _PLACES)}

    def _chats(self, pipeline: Any, prompts: Sequence[str]) -> list[str]:
        return [
            pipeline.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=True,
            )
            for prompt in prompts
        ]

    def live_prompts(self, pipeline: Any, prompts: Sequence[str], *, cut: bool = False) -> Conditioning:
        """Return the states, as no text encoder learns."""
        return self.encode_prompts(pipeline, prompts, cut=cut)

    def encode_ids(self, pipeline: Any, ids: Conditioning) -> Conditioning:
        """Return the states of the last layer but one, and which of them are of the prompt."""
        encoder = pipeline.text_encoder
        told, mask = (ids.tensors[name].to(encoder.device) for name in (_IDS, _MASK))
        output = encoder(input_ids=told, attention_mask=mask, output_hidden_states=True)
        return Conditioning({_STATES: output.hidden_states[-2], _MASK: mask})

    def conditions(self, prompts: Conditioning, free: Conditioning | None = None) -> dict[str, Any]:
        """Return the states as a pipeline takes them, each of its own length."""
        negative = {} if free is None else {f"negative_{_STATES}": _own(free)}
        return {_STATES: _own(prompts), **negative}

    def drawing(self, pipeline: Any, mode: Mode, scheduler: Any) -> Any:
        """Return a pipeline (see the seam) that knows latents by the channels of its autoencoder."""
        drawing = super().drawing(pipeline, mode, scheduler)
        # Its own takes latents of other than 4 channels for images.
        drawing.image_processor = VaeImageProcessor(
            vae_scale_factor=pipeline.vae_scale_factor * 2,
            vae_latent_channels=pipeline.vae.config.latent_channels,
        )
        return drawing
