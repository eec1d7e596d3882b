"""A classifier as timm keeps its own on the Hub: ``config.json`` and ``model.safetensors``."""

import json
import tempfile
from pathlib import Path
from typing import Any

import timm
from timm.models._hub import save_config_for_hf

from skindiff.classification.networks import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    SkinClassifier,
    load_classifier,
)
from skindiff.errors import HubError
from skindiff.files import real_path
from skindiff.hub.clean import clean_json, shareable
from skindiff.hub.client import Content

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_CROP_MODES = {"stretch": "squash", "pad": "border", "longest": "border"}
"""What timm calls the crops of a corpus; all others are the middle square there."""
_PAPER_CROP = 0.875
"""The paper's classifiers see the central 224 of 256 pixels."""


def classifier_files(folder: Path, model: SkinClassifier) -> dict[str, Content]:
    """Return the files of a classifier's repository by their names there.

    Args:
        folder: that the classifier lies in, staged.
        model: as it was loaded from there.

    Raises:
        HubError: its head is one that timm cannot build.
    """
    architecture = model.architecture
    if architecture.head != "linear":
        raise HubError(
            f"folder: the classifier has the head {architecture.head!r}, which timm.create_model cannot "
            "build; train one with head: linear to push it"
        )
    return {
        WEIGHTS: folder / WEIGHTS_FILE,
        CONFIG: clean_json(_timm_config(model)),
        DESCRIPTION_FILE: f"{json.dumps(shareable(architecture.description()), indent=2)}\n".encode(),
    }


def read_classifier(folder: Path) -> SkinClassifier:
    """Return the classifier whose repository :func:`classifier_files` made, in evaluation mode."""
    with tempfile.TemporaryDirectory() as place:
        for name, ours in ((WEIGHTS, WEIGHTS_FILE), (DESCRIPTION_FILE, DESCRIPTION_FILE)):
            (Path(place) / ours).symlink_to(real_path(folder / name))
        return load_classifier(Path(place))


def _head_inputs(model: SkinClassifier) -> int:
    weight = next(weight for weight in model.head_parameters() if weight.ndim == 2)
    return int(weight.shape[1])


def _timm_config(model: SkinClassifier) -> bytes:
    architecture = model.architecture
    # timm reads these two off a network; its own have them, the papers' small ones do not.
    network: Any = model.network
    network.in_chans = architecture.channels
    network.num_features = getattr(network, "num_features", _head_inputs(model))
    data = timm.data.resolve_model_data_config(model.network)
    side = architecture.image_size
    data |= {
        "input_size": (architecture.channels, side, side),
        "mean": tuple(model.mean.flatten().tolist()),
        "std": tuple(model.std.flatten().tolist()),
        "crop_pct": _PAPER_CROP if architecture.augment == "published" else 1.0,
    }
    if architecture.crop in _CROP_MODES:
        data["crop_mode"] = _CROP_MODES[architecture.crop]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / CONFIG
        save_config_for_hf(
            model.network,
            str(path),
            model_config={"label_names": list(architecture.class_names)},
            data_config=data,
        )
        return path.read_bytes()
