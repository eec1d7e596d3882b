"""An adapter as ComfyUI and A1111 read it: a LoRA in kohya's keys, and a file for each learned word."""

from pathlib import Path

from safetensors.torch import save_file

from skindiff.errors import GeneratorError
from skindiff.files import replacing_folder
from skindiff.foreign import Malformed
from skindiff.generators.adapter import TOKENS_FILE, read_adapter
from skindiff.generators.learned_embeds import embedding_files
from skindiff.generators.lora_formats import LORA_FILE, is_dora, kohya_keys, lora_settings
from skindiff.weights import read_tensors

_LORAS, _EMBEDDINGS = "loras", "embeddings"
_EMBEDDING = "emb_params"
"""The key that both programs look for in a file of a learned word."""


def export_adapter(adapter: Path, output_dir: Path, name: str) -> dict[str, str]:
    """Write an adapter for ComfyUI and A1111.

    Args:
        adapter: folder of an adapter.
        output_dir: gets ``loras/NAME.safetensors``, for their folder of LoRAs, with the strength of each
            layer, and ``embeddings/WORD.safetensors``, for their folder of embeddings.
        name: of the LoRA there.

    Returns:
        What stands for each condition in prompts of those programs (ComfyUI writes ``embedding:`` before
        it): the name of its file.

    Raises:
        GeneratorError: it is no adapter of skindiff, or cannot be read, or ``output_dir`` holds what no
            export writes.
    """
    _refuse_others_in(output_dir)
    if not (adapter / TOKENS_FILE).is_file():
        raise GeneratorError(f"{str(adapter)!r} is no adapter of skindiff: give the folder of one")
    learnt = read_adapter(adapter)
    try:
        with replacing_folder(output_dir) as partial:
            if learnt.has_lora:
                file = adapter / LORA_FILE
                if is_dora(lora_settings(file)):
                    raise Malformed(
                        "it is a DoRA, whose norms those programs read otherwise; use it in diffusers, or "
                        "train with lora.use_dora false"
                    )
                layers = kohya_keys(read_tensors(file), lora_settings(file), learnt.architecture.kohya)
                (partial / _LORAS).mkdir()
                save_file(layers, partial / _LORAS / f"{name}.safetensors", metadata={"format": "pt"})
            for path in map(Path, embedding_files(adapter)):
                (partial / _EMBEDDINGS).mkdir(exist_ok=True)
                rows = read_tensors(path)
                # Those of several text encoders have the names there that diffusers gives them.
                named = rows if len(rows) > 1 else {_EMBEDDING: next(iter(rows.values()))}
                save_file(named, partial / _EMBEDDINGS / path.name)
    except (Malformed, ValueError) as error:
        raise GeneratorError(f"adapter {str(adapter)!r} cannot be exported ({error})") from error
    return {condition: token.strip("<>") for condition, token in learnt.tokens.tokens.items()}


def _refuse_others_in(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but an earlier export, such as ComfyUI's own models."""
    for path in folder.rglob("*") if folder.is_dir() else [folder] if folder.exists() else []:
        place = path.relative_to(folder).parts
        written = place[:1] in [(_LORAS,), (_EMBEDDINGS,)]
        if not written or (path.is_dir() if len(place) > 1 else not path.is_dir()) or path.is_symlink():
            raise GeneratorError(
                f"output_dir: {folder} holds {path.name}, which an export does not write and would delete; "
                "give another folder, and copy the files from there"
            )
