"""The papers' small networks against their layer tables, and the door they come through."""

import pytest
import timm
import torch
from torch import nn

from skindiff.classification.networks import (
    Architecture,
    build_classifier,
    load_classifier,
    refuse_impossible,
    save_classifier,
)
from skindiff.errors import ConfigError

NAMES = ("a", "b")
FIG_9 = [448, 32, 2320, 32, 9280, 128, 36928, 128, 36928, 128, 131200, 16512, 1161]
"""Le Roux 2022, Fig. 9: parameters of every layer that has some, from Conv2d-1 to Linear-22."""
FIG_9_SHAPES = [
    (16, 26, 26), (16, 24, 24), (64, 10, 10), (64, 8, 8), (64, 8, 8), (128,), (128,), (9,),
]  # fmt: skip
"""Output shapes of its convolutions and linear layers."""


def test_the_cnn_of_s3_is_its_layer_table() -> None:
    network = timm.create_model("medmnist_cnn", num_classes=9).eval()
    layers = [part for part in network.modules() if isinstance(part, (nn.Conv2d, nn.BatchNorm2d, nn.Linear))]
    assert [sum(weight.numel() for weight in layer.parameters()) for layer in layers] == FIG_9
    assert sum(weight.numel() for weight in network.parameters()) == 235_225
    shapes: list[tuple[int, ...]] = []
    for layer in layers:
        if not isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(lambda _part, _given, found: shapes.append(tuple(found.shape[1:])))
    network(torch.zeros(1, 3, 28, 28))
    assert shapes == FIG_9_SHAPES


def test_the_detector_of_s4_has_three_blocks() -> None:
    network = timm.create_model("lesion_detector", num_classes=7).eval()
    kinds = [[type(part).__name__ for part in block] for block in network.blocks]
    assert kinds == [["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Dropout2d"]] * 3
    for side in (28, 64, 128):
        assert network(torch.zeros(2, 3, side, side)).shape == (2, 7)


@pytest.mark.parametrize("name", ["medmnist_cnn", "lesion_detector"])
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (64, 3)])
def test_they_are_classifiers_like_any_other(name: str, size: int, channels: int, tmp_path) -> None:
    architecture = Architecture(name, size, NAMES, channels=channels, dropout=0.1)
    model = build_classifier(architecture, pretrained=False, weights=None, seed=3).eval()
    images = torch.rand(2, 3, size, size)
    logits = model(images)
    assert logits.shape == (2, 2)
    # One channel is the first, and what the others hold does not matter.
    changed = torch.cat([images[:, :1], torch.rand(2, 2, size, size)], 1)
    assert torch.equal(model(changed), logits) == (channels == 1)
    save_classifier(tmp_path, model)
    assert torch.equal(load_classifier(tmp_path)(images), logits)
    assert len(model.head_parameters()) == 2


def test_grey_networks_need_fewer_weights() -> None:
    network = timm.create_model("medmnist_cnn", num_classes=2, in_chans=1)
    # One input channel for three in Conv2d-1, two classes for nine in Linear-22.
    assert sum(weight.numel() for weight in network.parameters()) == 235_225 - 2 * 16 * 9 - 7 * 129
    grey = build_classifier(
        Architecture("resnet18", 28, NAMES, channels=1), pretrained=False, weights=None, seed=0
    )
    assert grey.network.conv1.in_channels == 1
    assert grey.mean.shape == (1, 1, 1, 1)


def test_what_they_cannot_do_is_said() -> None:
    with pytest.raises(ConfigError, match=r"c\.image_size is 15, which medmnist_cnn cannot take.*16 pixels"):
        refuse_impossible(Architecture("medmnist_cnn", 15, NAMES), None, "c.")
    with pytest.raises(ConfigError, match=r"c\.pretrained is true, and there are no weights of medmnist_cnn"):
        refuse_impossible(Architecture("medmnist_cnn", 28, NAMES), None, "c.", pretrained=True)
    with pytest.raises(ConfigError, match="did you mean medmnist_cnn"):
        refuse_impossible(Architecture("medmnist_cn", 28, NAMES), None)
