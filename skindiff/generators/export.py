"""An adapter as ComfyUI and A1111 read it: a LoRA in kohya's keys, and a file for each learned word."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from skindiff.errors import GeneratorError
from skindiff.files import replacing
from skindiff.foreign import Malformed
from skindiff.generators.adapter import TOKENS_FILE, Adapter, read_adapter
from skindiff.generators.learned_embeds import embedding_files
from skindiff.generators.lora_formats import LORA_FILE, is_dora, kohya_keys, lora_settings
from skindiff.weights import read_tensors

_EMBEDDING = "emb_params"
"""The key that both programs look for in a file of a learned word."""


def export_adapter(adapter: Path, output_dir: Path, name: str, *, overwrite: bool = False) -> dict[str, str]:
    """Write an adapter for ComfyUI and A1111.

    Args:
        adapter: folder of an adapter.
        output_dir: gets ``loras/NAME.safetensors``, for their folder of LoRAs, with the strength of each
            layer, and ``embeddings/WORD.safetensors``, for their folder of embeddings. It can be ComfyUI's
            ``models``: whatever else is there stays.
        name: of the LoRA there.
        overwrite: replace files of these names.

    Returns:
        What stands for each condition in prompts of those programs (ComfyUI writes ``embedding:`` before
        it): the name of its file.

    Raises:
        GeneratorError: it is no adapter of skindiff, cannot be read, or a file is there.
    """
    if not (adapter / TOKENS_FILE).is_file():
        raise GeneratorError(f"{str(adapter)!r} is no adapter of skindiff: give the folder of one")
    learnt = read_adapter(adapter)
    try:
        found = {output_dir / place: tensors for place, tensors in _files(learnt, adapter, name).items()}
    except (Malformed, ValueError) as error:
        raise GeneratorError(f"adapter {str(adapter)!r} cannot be exported ({error})") from error
    if there := [path for path in found if path.exists() and not overwrite]:
        raise GeneratorError(
            f"output_dir: {there[0]} is there; give another folder, or another --name, or --overwrite true"
        )
    for path, tensors in found.items():
        with replacing(path) as partial:
            save_file(tensors, partial, metadata={"format": "pt"})
    return {condition: token.strip("<>") for condition, token in learnt.tokens.tokens.items()}


def _files(learnt: Adapter, adapter: Path, name: str) -> dict[str, dict[str, torch.Tensor]]:
    """Return what is written, by its place in the folder."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    if learnt.has_lora:
        file = adapter / LORA_FILE
        if is_dora(lora_settings(file)):
            raise Malformed(
                "it is a DoRA, whose norms those programs read otherwise; use it in diffusers, or train with "
                "lora.use_dora false"
            )
        layers = kohya_keys(read_tensors(file), lora_settings(file), learnt.architecture.kohya)
        found[f"loras/{name}.safetensors"] = layers
    for path in map(Path, embedding_files(adapter)):
        rows = read_tensors(path)
        # Those of several text encoders have the names there that diffusers gives them.
        named = rows if len(rows) > 1 else {_EMBEDDING: next(iter(rows.values()))}
        found[f"embeddings/{path.name}"] = named
    return found
