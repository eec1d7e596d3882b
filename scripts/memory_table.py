"""Compute what a LoRA training of each architecture takes of a GPU, and which card holds it (docs/memory.md).

    python scripts/memory_table.py

Nothing is allocated: networks of the published sizes are built on the device ``meta``, where a forward pass
tells what autograd would keep for the backward pass. For one image (batch 1) these are added up:

- the weights of the network that denoises, in the precision of ``base_dtype``; of nf4 half a byte for each
  weight of a linear layer and a float32 scale for every 64 of them, and two bytes for all other weights;
- 16 bytes for each weight of the LoRA: float32 weight, gradient and both averages of AdamW;
- what autograd keeps, in half precision where the base is (and in bfloat16 for nf4), with attention as a
  fused kernel has it: queries, keys, values, output and a float32 number for each query and head. With
  gradient checkpointing that is what goes into each block, and what the largest block keeps as it is computed
  again.

The largest text encoder is on the GPU alone, before all this, and bounds the peak from below. Not counted are
the gradients in flight, workspaces of the libraries and what the allocator cannot use: a card is said to hold
what fits into nine tenths of it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from diffusers import (
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    ZImageTransformer2DModel,
)
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

from skindiff.generators.text_to_image.conditioning import Conditioning
from skindiff.generators.text_to_image.loading import architecture_named
from skindiff.training.lora import LoRAConfig, add_lora

CARDS, USABLE, GIB = (12, 24, 80), 0.9, 2**30
"""Memory of cards in GiB, and the share of it that is taken for usable."""
SIZES = (512, 1024)
LEARNT = 16
"""Bytes for each weight that is trained."""
NF4_BITS, NF4_BLOCK = 4, 64
SETTINGS = (("float32", False), ("bfloat16", False), ("bfloat16", True), ("nf4", True))
"""``base_dtype`` and ``gradient_checkpointing``, a column each."""


@dataclass(frozen=True)
class Model:
    """A base model as it is published.

    Attributes:
        name: of the model.
        pipeline: class of diffusers.
        network: builds what denoises.
        texts: build the text encoders, the largest last.
        states: tokens and width of the prompt's states.
        pooled: width of the pooled embedding, 0 for none.
    """

    name: str
    pipeline: str
    network: Callable[[], nn.Module]
    texts: tuple[Callable[[], nn.Module], ...]
    states: tuple[int, int]
    pooled: int = 0


def _settings(name: str, part: str) -> dict[str, Any]:
    text = files("skindiff").joinpath("assets", "single_file", name, part, "config.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def _unet(name: str) -> nn.Module:
    network: nn.Module = UNet2DConditionModel.from_config(_settings(name, "unet"))
    return network


def _clip(name: str, part: str = "text_encoder") -> nn.Module:
    kind = CLIPTextModel if part == "text_encoder" else CLIPTextModelWithProjection
    return kind(CLIPTextConfig(**_settings(name, part)))


def _t5() -> nn.Module:
    """Return the encoder of T5 v1.1 XXL (google/t5-v1_1-xxl, config.json)."""
    return T5EncoderModel(
        T5Config(
            vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
            feed_forward_proj="gated-gelu",
        )
    )  # fmt: skip


def _qwen3() -> nn.Module:
    """Return Qwen3-4B (Qwen/Qwen3-4B, config.json)."""
    return Qwen3Model(
        Qwen3Config(
            vocab_size=151936, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36,
            num_attention_heads=32, num_key_value_heads=8, head_dim=128,
        )
    )  # fmt: skip


def _sd35(layers: int, grid: int, dual: int) -> nn.Module:
    """Return a transformer of stabilityai/stable-diffusion-3.5-medium or -large (transformer/config.json)."""
    return SD3Transformer2DModel(
        sample_size=128, num_layers=layers, num_attention_heads=layers, joint_attention_dim=4096,
        caption_projection_dim=64 * layers, pooled_projection_dim=2048, pos_embed_max_size=grid,
        dual_attention_layers=tuple(range(dual)), qk_norm="rms_norm",
    )  # fmt: skip


_CLIPS = (lambda: _clip("sdxl"), lambda: _clip("sdxl", "text_encoder_2"))
_CLIPS_T5 = (*_CLIPS, _t5)
MODELS = (
    Model("Stable Diffusion 1.5", "StableDiffusionPipeline", lambda: _unet("sd15"),
          (lambda: _clip("sd15"),), (77, 768)),
    Model("Stable Diffusion 2.1", "StableDiffusionPipeline", lambda: _unet("sd21"),
          (lambda: _clip("sd21"),), (77, 1024)),
    Model("Stable Diffusion XL", "StableDiffusionXLPipeline", lambda: _unet("sdxl"), _CLIPS,
          (77, 2048), 1280),
    Model("Stable Diffusion 3.5 medium", "StableDiffusion3Pipeline", lambda: _sd35(24, 384, 13), _CLIPS_T5,
          (77 + 256, 4096), 2048),
    Model("Stable Diffusion 3.5 large", "StableDiffusion3Pipeline", lambda: _sd35(38, 192, 0), _CLIPS_T5,
          (77 + 256, 4096), 2048),
    # The classes' own defaults are those of the published models.
    Model("FLUX.1 dev", "FluxPipeline", lambda: FluxTransformer2DModel(guidance_embeds=True),
          (_CLIPS[0], _t5), (512, 4096), 768),
    Model("Z-Image", "ZImagePipeline", ZImageTransformer2DModel, (_qwen3,), (64, 2560)),
)  # fmt: skip
"""Sizes of Stable Diffusion 1.5, 2.1 and XL are in our assets. Of Z-Image's prompts 64 tokens are counted."""


class _Fused(torch.autograd.Function):
    """Attention as a fused kernel keeps it for its backward pass."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return out


@contextmanager
def _fused_attention() -> Iterator[None]:
    plain = nn.functional.scaled_dot_product_attention
    nn.functional.scaled_dot_product_attention = lambda query, key, value, *_, **__: _Fused.apply(
        query, key, value
    )
    try:
        yield
    finally:
        nn.functional.scaled_dot_product_attention = plain


class Kept:
    """The memory that autograd keeps inside the context, each storage once."""

    def __init__(self, network: nn.Module) -> None:
        self.storages: dict[int, torch.UntypedStorage] = {}
        self.weights = {weight.untyped_storage()._cdata for weight in network.parameters()}

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Count a tensor."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.weights:
            self.storages[storage._cdata] = storage  # and keep it, so that no other gets its number
        return tensor

    @property
    def nbytes(self) -> int:
        """Bytes of all storages."""
        return sum(storage.nbytes() for storage in self.storages.values())


def kept_by_step(network: Any, call: Callable[[], torch.Tensor], *, checkpointing: bool) -> int:
    """Return the bytes that autograd keeps at most between a forward pass and its backward pass.

    Args:
        network: that is called.
        call: the forward pass.
        checkpointing: compute the blocks that diffusers checkpoints again.
    """
    kept, largest = Kept(network), 0

    def block(module: Callable[..., Any], *given: Any) -> Any:
        nonlocal largest
        own = Kept(network)
        with saved_tensors_hooks(own.add, lambda tensor: tensor):
            out = module(*given)
        largest = max(largest, own.nbytes)
        for one in given:
            if isinstance(one, torch.Tensor):
                kept.add(one)
        return out

    if checkpointing:
        network.enable_gradient_checkpointing(block)
    try:
        with saved_tensors_hooks(kept.add, lambda tensor: tensor), _fused_attention():
            call()
    finally:
        if checkpointing:
            network.disable_gradient_checkpointing()
    return kept.nbytes + largest


def count_weights(network: nn.Module) -> int:
    """Return how many numbers a file of a network's weights holds: parameters, and buffers that are saved."""
    saved = network.state_dict().keys()
    buffers = [buffer for name, buffer in network.named_buffers() if name in saved]
    return sum(one.numel() for one in (*network.parameters(), *buffers))


def weights_size(network: nn.Module, base_dtype: str) -> int:
    """Return the bytes of frozen weights in a precision of ``base_dtype``."""
    count = count_weights(network)
    if base_dtype == "nf4":
        linear = sum(part.weight.numel() for part in network.modules() if isinstance(part, nn.Linear))
        return linear * NF4_BITS // 8 + linear // NF4_BLOCK * 4 + (count - linear) * 2
    return count * (4 if base_dtype == "float32" else 2)


@dataclass(frozen=True)
class Counts:
    """What is added up, in bytes."""

    weights: int
    learnt: int
    kept: int
    text: int

    @property
    def peak(self) -> int:
        """Bytes of the larger stage."""
        return max(self.text, self.weights + self.learnt + self.kept)


@cache
def _texts(model: Model) -> list[nn.Module]:
    with torch.device("meta"):
        return [build() for build in model.texts]


def counts_of(model: Model, size: int, base_dtype: str, *, checkpointing: bool) -> Counts:
    """Return what a training of a model takes, at images of ``size`` pixels in batches of one."""
    seam = architecture_named(model.pipeline)
    assert seam is not None
    dtype = torch.float32 if base_dtype == "float32" else torch.bfloat16
    with torch.device("meta"):
        network: Any = model.network()
    pipeline = object.__new__(seam.generates)  # no more than its networks is asked for
    vae = nn.Identity()
    parts = {"unet": network, "transformer": network, "vae": vae, "text_encoder_3": None}
    names = ("text_encoder", "text_encoder_2", "text_encoder_3")
    pipeline.__dict__ |= parts | dict(zip(names, _texts(model), strict=False))
    precisions = seam.precisions(dtype)
    text = max(
        count_weights(one) * precisions.get(name, dtype).itemsize
        for name, one in zip(names, _texts(model), strict=False)
    )
    weights = weights_size(network, base_dtype)
    add_lora(pipeline, LoRAConfig())
    learnt = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    for weight in network.parameters():  # autocast computes with the LoRA in the base's precision
        weight.data = weight.data.to(dtype)
    kept = kept_by_step(
        network, lambda: _step(model, seam, pipeline, size, dtype), checkpointing=checkpointing
    )
    return Counts(weights, learnt * LEARNT, kept, text)


def _step(model: Model, seam: Any, pipeline: Any, size: int, dtype: torch.dtype) -> torch.Tensor:
    channels = getattr(seam.network(pipeline).config, "in_channels", 4)
    channels = 16 if model.pipeline == "FluxPipeline" else channels  # which are packed
    tokens, width = model.states
    told: dict[str, torch.Tensor] = {
        "prompt_embeds": torch.empty(1, tokens, width, device="meta", dtype=dtype),
        "mask": torch.ones(1, tokens, dtype=torch.bool),
    }
    if model.pooled:
        told["pooled_prompt_embeds"] = torch.empty(1, model.pooled, device="meta", dtype=dtype)
    framing = torch.tensor([[size, size, 0, 0, size, size]])
    prediction: torch.Tensor = seam.denoiser(pipeline, live_text=False)(
        torch.empty(1, channels, size // 8, size // 8, device="meta", dtype=dtype),
        torch.empty(1, device="meta"),
        Conditioning(told),
        torch.tensor([0]),
        Conditioning({name: one.to("meta") for name, one in seam.image_conditions(framing).tensors.items()}),
    )
    return prediction


def table() -> str:
    """Return the table in Markdown: GiB, and the smallest card that holds them."""
    columns = [f"{dtype}{', checkpointing' if again else ''}" for dtype, again in SETTINGS]
    lines = [f"| model | px | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
    for model in MODELS:
        for size in SIZES:
            cells = []
            for base_dtype, again in SETTINGS:
                peak = counts_of(model, size, base_dtype, checkpointing=again).peak / GIB
                card = next((f"{card}" for card in CARDS if peak <= USABLE * card), "none")
                cells.append(f"{peak:.1f} ({card})")
            lines.append(f"| {model.name} | {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
