"""The state of a training on disk: complete or absent, newest only, and never unpickled."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.logging import get_logger
from safetensors.torch import load_file, save_file
from torch import nn

from skindiff.errors import RunFolderError, TrainingError
from skindiff.files import PARTIAL, replacing_folder
from skindiff.manifest import DONE, changed, hashes_of, read_list

logger = get_logger(__name__)

_PREFIX = "checkpoint-"
_WEIGHTS, _OPTIMISER, _STATE = "weights.safetensors", "optimiser.pt", "state.json"


@dataclass(frozen=True)
class Progress:
    """What a checkpoint says beside tensors: the steps done, the settings they were made with, the log."""

    step: int
    settings: dict[str, Any]
    log: list[dict[str, float]]


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the complete checkpoint with the most steps in ``folder``, or ``None``.

    A checkpoint is moved into place in one piece, so a partial one carries another name; one of which a file
    is gone or damaged is passed over too.
    """
    found = [path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdigit()]
    complete = [path for path in found if _is_whole(path)]
    return max(complete, key=lambda path: int(path.name.removeprefix(_PREFIX)), default=None)


def _is_whole(checkpoint: Path) -> bool:
    try:
        listed = read_list(checkpoint / DONE)
    except RunFolderError:
        listed = {}
    bad = changed(checkpoint, listed) if listed else [DONE]
    if bad:
        logger.warning(
            "%s is not what was written, or is gone: the checkpoint is passed over", checkpoint / bad[0]
        )
    return not bad


def save_checkpoint(folder: Path, progress: Progress, module: nn.Module, states: dict[str, Any]) -> Path:
    """Write ``folder/checkpoint-<step>`` in one piece and remove the older ones.

    Args:
        folder: the training's own folder.
        progress: steps done, settings and log.
        module: its trainable parameters and its buffers are kept; frozen weights are not.
        states: nested dicts and lists of tensors and plain numbers (optimiser, EMA, gradient scaler).
    """
    target = folder / f"{_PREFIX}{progress.step}"
    with replacing_folder(target) as partial:
        tensors = {name: tensor.detach().contiguous() for name, tensor in trainable_state(module).items()}
        save_file(tensors, partial / _WEIGHTS)
        torch.save(states, partial / _OPTIMISER)
        state = {"step": progress.step, "settings": progress.settings, "log": progress.log}
        (partial / _STATE).write_text(json.dumps(state))
        (partial / DONE).write_text(json.dumps({"files": hashes_of(partial)}))
    remove_checkpoints(folder, but=target)
    return target


def read_progress(checkpoint: Path) -> Progress:
    """Read the steps, settings and log of ``checkpoint``."""
    state = json.loads((checkpoint / _STATE).read_text())
    return Progress(step=state["step"], settings=state["settings"], log=state["log"])


def refuse_other_settings(checkpoint: Path, expected: dict[str, Any]) -> None:
    """Raise a :class:`TrainingError` that names the first setting in which ``checkpoint`` differs."""
    saved = read_progress(checkpoint).settings
    for key in sorted(saved.keys() | expected.keys()):
        if saved.get(key) != expected.get(key):
            raise TrainingError(
                f"{checkpoint} was written with {key}={saved.get(key)!r}, now it is {expected.get(key)!r}: "
                "put the setting back to resume, or train into an empty folder"
            )


def load_checkpoint(checkpoint: Path, module: nn.Module) -> dict[str, Any]:
    """Copy the weights and buffers of ``checkpoint`` into ``module`` and return the other states.

    Raises:
        TrainingError: the checkpoint holds other tensors than the module's trainable ones and buffers.
    """
    saved = load_file(checkpoint / _WEIGHTS)
    own = trainable_state(module)
    if {name: tensor.shape for name, tensor in saved.items()} != {k: v.shape for k, v in own.items()}:
        raise TrainingError(f"{checkpoint} belongs to a model with other weights: train into an empty folder")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])
    states: dict[str, Any] = torch.load(checkpoint / _OPTIMISER, map_location="cpu", weights_only=True)
    return states


def remove_checkpoints(folder: Path, but: Path | None = None) -> None:
    """Remove the checkpoints in ``folder`` and what is left of others, all or all but one.

    All are superfluous once the caller has written what the training was for.
    """
    for path in (*folder.glob(f"{_PREFIX}*"), *folder.glob(f".{_PREFIX}*{PARTIAL}")):
        if path != but:
            shutil.rmtree(path)


def trainable_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return what training changes in ``module`` by name: parameters with a gradient, and saved buffers."""
    saved = module.state_dict().keys()
    state: dict[str, torch.Tensor] = {
        name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad
    }
    state.update({name: buffer for name, buffer in module.named_buffers() if name in saved})
    return state
