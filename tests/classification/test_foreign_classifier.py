"""Folders of classifiers that a stranger made."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from skindiff.classification.networks import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    Architecture,
    build_classifier,
    load_classifier,
    save_classifier,
)
from skindiff.errors import ConfigError

SETTINGS: dict[str, dict[str, Any]] = {
    "a name that timm lacks": {"name": "nothing"},
    "a name of the Hub": {"name": "hf-hub:owner/model"},
    "a name of a folder": {"name": "local-dir:/tmp"},
    "a name of numbers": {"name": 7},
    "a huge image": {"image_size": 10**9},
    "a negative image": {"image_size": -1},
    "an image in words": {"image_size": "32"},
    "a huge corpus": {"corpus_size": 10**9},
    "no class": {"class_names": []},
    "classes of numbers": {"class_names": [1, 2]},
    "one class twice": {"class_names": ["a", "a"]},
    "a word of classes": {"class_names": "ab"},
    "other classes": {"class_names": ["a", "b", "c"]},
    "another head": {"head": "published"},
    "a head that is none": {"head": "x"},
    "dropout": {"dropout": 2.0},
    "many channels": {"channels": 10**9},
    "a larger network": {"name": "resnet18"},
    "an unknown setting": {"hunter2": 1},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    architecture = Architecture("medmnist_cnn", 28, ("a", "b"))
    save_classifier(tmp_path, build_classifier(architecture, pretrained=False, weights=None, seed=0))
    load_classifier(tmp_path)
    return tmp_path


def _refused(folder: Path, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        load_classifier(folder)
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", SETTINGS)
def test_strange_settings_are_refused(folder: Path, name: str) -> None:
    path = folder / DESCRIPTION_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **SETTINGS[name]}))
    _refused(folder, r"\w")


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "{}", "hunter2", '{"name": NaN}', "null"])
def test_a_strange_description_is_refused(folder: Path, content: str) -> None:
    (folder / DESCRIPTION_FILE).write_text(content)
    _refused(folder, "no whole classifier")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[-1] = value
    save_file(tensors, folder / WEIGHTS_FILE)
    _refused(folder, f"{name} holds NaN or infinite")


def test_weights_that_are_missing_or_none_are_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    tensors.popitem()
    save_file(tensors, folder / WEIGHTS_FILE)
    _refused(folder, "no whole classifier")
    save_file({"x": torch.zeros(10**6)}, folder / WEIGHTS_FILE)
    _refused(folder, "no whole classifier")
    (folder / WEIGHTS_FILE).write_bytes(b"\xff" * 16)
    _refused(folder, "no readable safetensors")
