"""A tiny Stable Diffusion in one file, under the names that its first authors gave the weights."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from tests.tiny import tiny_pipeline

Weights = dict[str, torch.Tensor]
_RESNET = {
    "norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.", "conv2.": "out_layers.3.", "conv_shortcut.": "skip_connection.",
}  # fmt: skip
_ENDS = {
    "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
    "add_embedding.linear_1.": "label_emb.0.0.", "add_embedding.linear_2.": "label_emb.0.2.",
    "conv_in.": "input_blocks.0.0.", "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
}  # fmt: skip
_VAE = {
    "conv_shortcut": "nin_shortcut", "downsamplers.0": "downsample", "upsamplers.0": "upsample",
    "conv_norm_out": "norm_out", "mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1", "group_norm": "norm", "to_out.0": "proj_out", "to_q": "q",
    "to_k": "k", "to_v": "v", "resnets": "block",
}  # fmt: skip
_OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding": "token_embedding",
    "final_layer_norm": "ln_final", "encoder.layers": "transformer.resblocks", "layer_norm1": "ln_1",
    "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn": "attn",
}  # fmt: skip


def tiny_whole(build: Callable[..., Any] = tiny_pipeline, **settings: Any) -> Any:
    """The tiny pipeline with attention in the middle of its autoencoder, as in those of checkpoints."""
    pipeline = build(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        vae = AutoencoderKL.from_config({**pipeline.vae.config, "mid_block_add_attention": True})
    pipeline.register_modules(vae=vae.eval().requires_grad_(False))
    return pipeline


def checkpoint_of(pipeline: Any, open_clip: bool = False) -> Weights:
    """Return all weights as a checkpoint of Stable Diffusion 1 names them, of 2 (``open_clip``), or of XL."""
    per_block = pipeline.unet.config.layers_per_block + 1
    blocks = len(pipeline.vae.config.block_out_channels)
    found = {
        f"model.diffusion_model.{_unet_name(name, per_block)}": weight
        for name, weight in pipeline.unet.state_dict().items()
    }
    for name, weight in pipeline.vae.state_dict().items():
        own = _vae_name(name, blocks)
        flat = ".attn_1." in own and weight.ndim == 2  # convolutions of one pixel, before they were linear
        found[f"first_stage_model.{own}"] = weight[..., None, None] if flat else weight
    second = getattr(pipeline, "text_encoder_2", None)
    first = "cond_stage_model." if second is None else "conditioner.embedders.0."
    text = _words(pipeline.text_encoder)
    if open_clip:
        width = len(text["embeddings.position_embedding.weight"][0])
        found |= _open_clip(f"{first}model.", {**text, "text_projection.weight": torch.zeros(width, width)})
    else:
        places = torch.arange(pipeline.text_encoder.config.max_position_embeddings)[None]
        whole = {**text, "embeddings.position_ids": places}
        found |= {f"{first}transformer.text_model.{name}": weight for name, weight in whole.items()}
    if second is not None:
        found |= _open_clip("conditioner.embedders.1.model.", _words(second))
    found["alphas_cumprod"] = pipeline.scheduler.alphas_cumprod  # such files have more than the networks
    return {name: weight.clone().contiguous() for name, weight in found.items()}


def save_checkpoint(folder: Path, pipeline: Any = None, open_clip: bool = False) -> tuple[Path, Path]:
    """Write a tiny checkpoint and, beside it, the folder of its settings without weights; return both."""
    pipeline, file, config = pipeline or tiny_whole(), folder / "mine.safetensors", folder / "settings"
    pipeline.save_pretrained(config)
    for weights in config.rglob("*.safetensors"):
        weights.unlink()
    save_file(checkpoint_of(pipeline, open_clip), file)
    return file, config


def _unet_name(name: str, per_block: int) -> str:
    for own, other in _ENDS.items():
        if name.startswith(own):
            return name.replace(own, other)
    side, block, kind, layer, rest = re.fullmatch(
        r"(down|mid|up)_blocks?\.(?:(\d+)\.)?(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name
    ).groups()  # type: ignore[union-attr]
    if kind == "resnets":
        rest = next(rest.replace(own, other) for own, other in _RESNET.items() if rest.startswith(own))
    if side == "mid":
        return f"middle_block.{2 * int(layer) if kind == 'resnets' else 1}.{rest}"
    first = int(block) * per_block + (side == "down")
    if kind == "downsamplers":
        return f"input_blocks.{first + per_block - 1}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        attends = 1 + (int(block) > 0)  # the first upward block of the tiny U-Net has no attention
        return f"output_blocks.{first + per_block - 1}.{attends}.{rest}"
    where = f"{'input' if side == 'down' else 'output'}_blocks.{first + int(layer)}"
    return f"{where}.{int(kind == 'attentions')}.{rest}"


def _vae_name(name: str, blocks: int) -> str:
    for own, other in _VAE.items():
        name = name.replace(f"{own}.", f"{other}.")
    name = re.sub(r"down_blocks\.(\d+)", r"down.\1", name)
    return re.sub(r"up_blocks\.(\d+)", lambda found: f"up.{blocks - 1 - int(found[1])}", name)


def _words(encoder: Any) -> Weights:
    return {name.removeprefix("text_model."): weight for name, weight in encoder.state_dict().items()}


def _open_clip(prefix: str, text: Weights) -> Weights:
    found: Weights = {}
    for name, weight in text.items():
        if re.search(r"\.[kv]_proj\.", name):
            continue
        own = name
        for ours, theirs in _OPEN_CLIP.items():
            own = own.replace(ours, theirs)
        if ".q_proj." in name:  # three matrices in one
            parts = [text[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
            own, weight = own.replace("q_proj.", "in_proj_"), torch.cat(parts)
        if name == "text_projection.weight":
            own, weight = "text_projection", weight.T
        found[f"{prefix}{own}"] = weight
    return found
