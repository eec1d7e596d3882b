"""LoRA files of other programs: those of kohya, ai-toolkit, diffusers and PEFT are read, kohya's are written.

Kohya's keys are what ComfyUI and A1111 read. There the strength of a layer stands in the file, as ``.alpha``;
without it they take the rank, and a LoRA of rank 4 and alpha 16 would have a quarter of its strength.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft.utils.other import get_pattern_key

from skindiff.errors import GeneratorError
from skindiff.foreign import Malformed, read_json, refuse_unlike
from skindiff.generators.text_to_image.architecture import Architecture
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.weights import metadata_json, read_header, read_tensors

LORA_FILE = "pytorch_lora_weights.safetensors"
"""What diffusers and skindiff call it."""
_PEFT_FILE, _PEFT_SETTINGS, _PEFT_PREFIX = (
    "adapter_model.safetensors",
    "adapter_config.json",
    "base_model.model.",
)
_MAGNITUDE = ".lora_magnitude_vector"
"""The norms of DoRA."""
_DOWN = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight", "_lora.down.weight")
"""How the first matrix of an update is called; :data:`_UP` is the second's name."""
_UP = (".lora_up.weight", ".lora_B.weight", ".lora.up.weight", "_lora.up.weight")
_OTHER_KINDS = {
    "dora_scale": "DoRA", "lora_magnitude_vector": "DoRA", "hada_w": "LoHa", "lokr_": "LoKr", "oft_": "OFT",
}  # fmt: skip
"""Parts of keys that tell updates of another kind than LoRA."""


def lora_file(place: Path) -> Path | None:
    """Return the LoRA file that a folder holds, None where it holds none.

    Raises:
        GeneratorError: a folder holds several, and nothing says which.
    """
    named = next((place / name for name in (LORA_FILE, _PEFT_FILE) if (place / name).is_file()), None)
    if named:
        return named
    found = [path for path in sorted(place.glob("*.safetensors")) if is_lora(path)]
    if len(found) > 1:
        raise GeneratorError(
            f"model {str(place)!r} holds {len(found)} LoRA files ({found[0].name}, {found[1].name} ...): "
            "give one of them"
        )
    return found[0] if found else None


def is_lora(file: Path) -> bool:
    """Return whether a file of weights is a LoRA, or another kind of update, by its keys.

    Raises:
        GeneratorError: it is no safetensors.
    """
    try:
        names = read_header(file).shapes
    except Malformed as error:
        raise GeneratorError(f"model {str(file)!r} cannot be read ({error}): get it again") from error
    return any(name.endswith(_DOWN) or any(kind in name for kind in _OTHER_KINDS) for name in names)


def load_lora_file(pipeline: Any, file: Path, adapter_name: str) -> None:
    """Put a LoRA of another program on a pipeline, at the strength that its file states.

    Args:
        pipeline: the model that it was trained on.
        file: of :func:`lora_file`.
        adapter_name: of the LoRA inside PEFT.

    Raises:
        Malformed: it is of another kind, half of an update is missing, or weights are not finite.
        ValueError: it does not fit the pipeline.
    """
    tensors, architecture = read_tensors(file), architecture_of(pipeline)
    # What diffusers loads of a DoRA: that of the network that denoises, with PEFT's own keys and settings.
    first, known = f"{next(iter(architecture.kohya))}.", is_dora(lora_settings(file))
    norms = {name for name in tensors if known and name.startswith(first) and name.endswith(_MAGNITUDE)}
    _refuse_others(name for name in tensors if name not in norms)
    layers = {_cut(name, _DOWN) for name in tensors if name.endswith(_DOWN)}
    if layers != {_cut(name, _UP) for name in tensors if name.endswith(_UP)}:
        raise Malformed("half of an update is missing")
    of_peft = all(name.startswith(_PEFT_PREFIX) for name in tensors)
    if of_peft:
        tensors = _of_peft(tensors, file.parent / _PEFT_SETTINGS, architecture.kohya)
    if not architecture.reads_kohya and any(name.endswith(".lora_down.weight") for name in tensors):
        pipeline.load_lora_weights(_of_kohya(tensors, architecture, pipeline), adapter_name=adapter_name)
    elif of_peft:
        pipeline.load_lora_weights(tensors, adapter_name=adapter_name)
    else:  # by its path, since diffusers finds strengths in the metadata of the file alone
        options = {"weight_name": file.name, "local_files_only": True, "use_safetensors": True}
        pipeline.load_lora_weights(str(file.parent), adapter_name=adapter_name, **options)
    networks = architecture.adaptable(pipeline).values()
    put = sum(_layers_on(network, adapter_name) for network in networks)
    joined = architecture.joined.items()
    stated = sum(next((count for end, count in joined if name.endswith(end)), 1) for name in layers)
    if put != stated:
        raise ValueError(f"{stated - put} of its {stated} layers are not in this model")


def _layers_on(network: Any, adapter_name: str) -> int:
    return sum(adapter_name in getattr(module, "lora_A", {}) for module in network.modules())


def _cut(name: str, ends: Iterable[str]) -> str:
    return next((name.removesuffix(end) for end in ends if name.endswith(end)), name)


def _refuse_others(names: Iterable[str]) -> None:
    for name in names:
        if kind := next((kind for part, kind in _OTHER_KINDS.items() if part in name), None):
            raise Malformed(f"it is a {kind}, and of other programs' updates only LoRA is read")


def _of_kohya(
    tensors: Mapping[str, torch.Tensor], architecture: Architecture, pipeline: Any
) -> dict[str, torch.Tensor]:
    """Return a LoRA in kohya's keys in those of diffusers, with its strength in the weights."""
    networks = architecture.adaptable(pipeline)
    layers = {
        prefix + layer.removeprefix("text_model.").replace(".", "_"): f"{network}.{layer}"
        for network, prefix in architecture.kohya.items()
        for layer, _ in networks[network].named_modules()
    }
    found = {}
    for name, tensor in tensors.items():
        layer = name.partition(".")[0]
        if name.endswith(".alpha"):
            continue
        if layer not in layers:
            raise ValueError(f"its layer {layer[:100]} is not in this model")
        if half := name.endswith(".lora_up.weight"):
            tensor = tensor * float(tensors.get(f"{layer}.alpha", tensor.shape[1])) / tensor.shape[1]
        found[f"{layers[layer]}.lora_{'B' if half else 'A'}.weight"] = tensor
    return found


def _of_peft(
    tensors: Mapping[str, torch.Tensor], settings_file: Path, prefixes: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    """Return what ``save_pretrained`` of PEFT wrote of a LoRA of the denoising network, in kohya's keys."""
    if not settings_file.is_file():
        raise Malformed(f"{_PEFT_SETTINGS} is not beside it, so that its strength is not known")
    settings = read_json(settings_file)
    refuse_unlike(settings, dict[str, Any], _PEFT_SETTINGS)
    first = next(iter(prefixes))
    layers = {f"{first}.{name.removeprefix(_PEFT_PREFIX)}": tensor for name, tensor in tensors.items()}
    return kohya_keys(layers, {f"{first}.{name}": value for name, value in settings.items()}, prefixes)


def is_dora(settings: Mapping[str, Any]) -> bool:
    """Return whether :func:`lora_settings` say of any network that its updates are DoRA."""
    return any(name.endswith(".use_dora") and value is True for name, value in settings.items())


def lora_settings(file: Path) -> dict[str, Any]:
    """Return the settings of PEFT that a LoRA file of diffusers or skindiff has, each behind its network.

    Raises:
        Malformed: they are none.
    """
    settings = metadata_json(read_header(file), LORA_ADAPTER_METADATA_KEY) or {}
    refuse_unlike(settings, dict[str, Any], "its settings")
    return dict(settings)


def kohya_keys(
    layers: Mapping[str, torch.Tensor], settings: Mapping[str, Any], prefixes: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    """Return a LoRA in kohya's keys, with the strength of every layer.

    Args:
        layers: in PEFT's keys behind the name of the network, ``unet.….lora_A.weight``.
        settings: of PEFT's ``LoraConfig``, each behind the name of the network, ``unet.lora_alpha``.
        prefixes: of kohya's keys, by network, as an architecture has them.

    Returns:
        Two matrices and ``.alpha`` for each layer; a layer's update is ``alpha / rank * up @ down``.

    Raises:
        Malformed: an update is of another kind, or of a network that kohya has no name for.
    """
    _refuse_others(layers)
    found: dict[str, torch.Tensor] = {}
    for network, prefix in prefixes.items():
        own = {name.removeprefix(f"{network}."): value for name, value in settings.items()
               if name.startswith(f"{network}.")}  # fmt: skip
        for name, tensor in layers.items():
            if not name.startswith(f"{network}."):
                continue
            layer = _cut(_cut(name, _DOWN), _UP).removeprefix(f"{network}.")
            half = "lora_down" if name.endswith(_DOWN) else "lora_up"
            # transformers had the text encoder's layers below "text_model" until 5.
            named = layer.removeprefix("text_model.")
            key = prefix + (named if prefix.endswith(".") else named.replace(".", "_"))
            found[f"{key}.{half}.weight"] = tensor.contiguous()
            if half == "lora_down":
                found[f"{key}.alpha"] = torch.tensor(_alpha(layer, len(tensor), own))
    if len(found) * 2 != len(layers) * 3:
        raise Malformed(f"it has weights of other networks than {' and '.join(prefixes)}")
    return found


def _alpha(layer: str, rank: int, settings: Mapping[str, Any]) -> float:
    """Return the alpha at which ``alpha / rank`` is PEFT's scale of a layer."""
    patterns: Mapping[str, float] = settings.get("alpha_pattern") or {}
    alpha = patterns.get(get_pattern_key(list(patterns), layer), settings.get("lora_alpha", rank))
    if not is_scale(alpha):
        raise Malformed("its settings have an alpha that is no number from 0 to a million")
    return float(alpha * rank**0.5 if settings.get("use_rslora") else alpha)


def is_scale(value: object) -> bool:
    """Return whether a value can be meant as the alpha of a LoRA."""
    return isinstance(value, (int, float)) and 0 <= value <= 10**6
