"""Weights in safetensors that others wrote: checked before anything is allocated, and finite once loaded."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from skindiff.foreign import Malformed, parse_json, regular_size


@dataclass(frozen=True)
class Header:
    """What a file of weights says that it holds."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    @property
    def numbers(self) -> int:
        """How many weights there are."""
        return sum(map(prod, self.shapes.values()))


def read_header(path: Path) -> Header:
    """Return what a file of weights says that it holds, without reading the weights.

    Raises:
        Malformed: it is no regular file, or no safetensors.
    """
    regular_size(path)
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return Header(shapes, file.metadata() or {})
    except (OSError, SafetensorError, ValueError) as error:
        raise Malformed(f"no readable safetensors ({_words(error)})") from None


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file, by name.

    Raises:
        Malformed: see :func:`read_header`; a tensor is not finite, or of a type that torch lacks.
    """
    regular_size(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # Beside its own error the library lets through those of the system, of types and of shapes.
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise Malformed(f"no readable safetensors ({_words(error)})") from None
    refuse_not_finite(tensors)
    return tensors


def refuse_not_finite(tensors: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse weights that are NaN or infinite, by the name of the first tensor that holds one.

    Raises:
        Malformed: there is one.
    """
    for name, tensor in tensors.items():
        checked = isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and not tensor.is_meta
        # The sum is not finite either where a number is not, and is cheaper; it may overflow, so look again.
        if checked and not torch.isfinite(tensor.sum(dtype=torch.float32)) and not _all_finite(tensor):
            raise Malformed(f"{prefix}{name} holds NaN or infinite weights")


def _all_finite(tensor: torch.Tensor) -> bool:
    return bool(torch.isfinite(tensor.float()).all())


def refuse_broken_parts(parts: Mapping[str, Any]) -> None:
    """Refuse networks with weights that are missing, NaN or infinite (:func:`refuse_not_finite`).

    Args:
        parts: of a pipeline, by name; what is no network is passed over.

    Raises:
        Malformed: by part and tensor.
    """
    for part, network in parts.items():
        if isinstance(network, nn.Module):
            state = network.state_dict()
            if lacking := next((name for name, tensor in state.items() if tensor.is_meta), None):
                raise Malformed(f"{part} has no weights for {lacking}")
            refuse_not_finite(state, f"{part}: ")


@contextlib.contextmanager
def parameters_at_most(numbers: int, part: str) -> Iterator[None]:
    """Refuse to build more parameters in this thread than there are weights for.

    On the device ``meta``, where they take no memory: those of other devices are not counted.

    Args:
        numbers: of weights in the files.
        part: what is built, for the message.

    Raises:
        Malformed: there are more.
    """
    built: dict[int, nn.Parameter] = {}  # kept, so that no other parameter gets the id of one that is gone
    asked = 0
    thread = threading.get_ident()

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal asked
        if parameter is None or not parameter.is_meta or threading.get_ident() != thread:
            return
        if id(parameter) not in built:
            built[id(parameter)] = parameter
            asked += parameter.numel()
        if asked > numbers:
            raise Malformed(f"{part} asks for more weights than the {numbers:,} that its files hold")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def metadata_json(header: Header, name: str) -> Any:
    """Return an entry of a header's metadata as the JSON that it is, None where there is none.

    Raises:
        Malformed: it is no JSON.
    """
    return parse_json(header.metadata[name]) if name in header.metadata else None


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
