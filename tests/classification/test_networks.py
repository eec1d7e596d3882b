from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from skindiff.classification.networks import (
    Architecture,
    SkinClassifier,
    build_classifier,
    load_classifier,
    refuse_impossible,
)
from skindiff.errors import ConfigError
from skindiff.measures.backbones import load_backbone
from skindiff.training.loop_config import LoopConfig
from tests.classification.test_fine_tuning import CLASSES, CONFIG, SIZE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "resnet_18"}, r"classifier\.architecture is 'resnet_18'.*did you mean resnet18"),
        ({"architecture": "zzz"}, r"classifier\.architecture is 'zzz'.*list_models"),
        ({"architecture": "resnet18.nope"}, r"take resnet18\.a1_in1k"),
        (
            {"architecture": "vgg16", "image_size": 16},
            r"classifier\.image_size is 16, which vgg16 cann",
        ),
        (
            {"architecture": "vit_base_patch16_224", "image_size": 60},
            r"image_size is 60.*16 pixels",
        ),
        ({"weights": "missing.safetensors"}, r"classifier\.weights is missing\.safetensors.*not a file"),
        ({"weights": "model.pth"}, r"classifier\.weights is model\.pth: only safetensors"),
        ({"weights": "a.safetensors", "pretrained": True}, r"both set"),
        ({"colour_jitter": 1.0}, r"classifier\.colour_jitter is 1\.0"),
        ({"dropout": 1.0}, r"classifier\.dropout is 1\.0"),
        ({"loop": LoopConfig(steps=0)}, r"classifier\.loop\.steps is 0"),
    ],
)
def test_settings_that_cannot_work_are_named(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        replace(CONFIG, **change).validate("classifier.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "vit_base_patch16_224", "convnext_tiny"])
def test_the_usual_architectures_take_64_pixels(name):
    refuse_impossible(Architecture(name, 64, CLASSES), None)


def test_pretrained_weights_that_cannot_be_had():
    architecture = Architecture("resnet18", SIZE, CLASSES)
    with pytest.raises(ConfigError, match=r"classifier\.pretrained is true.*set classifier\.weights"):
        build_classifier(architecture, pretrained=True, weights=None, seed=0, path="classifier.")


def test_weights_from_a_local_file(tmp_path):
    donor = timm.create_model("test_resnet", num_classes=10)
    file = tmp_path / "donor.safetensors"
    save_file(donor.state_dict(), file)
    architecture = Architecture("test_resnet", SIZE, CLASSES)
    model = build_classifier(architecture, pretrained=False, weights=str(file), seed=0)
    own, given = model.network.state_dict(), donor.state_dict()
    assert all(torch.equal(own[name], given[name]) for name in own if not name.startswith("fc."))
    assert own["fc.weight"].shape == (3, donor.num_features)
    same = build_classifier(
        replace(architecture, class_names=tuple("abcdefghij")), pretrained=False, weights=str(file), seed=0
    )
    assert torch.equal(same.network.fc.weight, donor.fc.weight)
    with pytest.raises(ConfigError, match=r"lacks .* more tensors of test_vit"):
        build_classifier(Architecture("test_vit", SIZE, CLASSES), pretrained=False, weights=str(file), seed=0)
    file.write_bytes(b"not safetensors")
    with pytest.raises(ConfigError, match="not a readable safetensors file"):
        build_classifier(architecture, pretrained=False, weights=str(file), seed=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_lite0_starts_from_its_own_weights(channels: int, tmp_path: Path) -> None:
    architecture = Architecture("lite0", 64, CLASSES, channels=channels)
    model = build_classifier(architecture, pretrained=True, weights=None, seed=0).eval()
    assert model.mean.flatten().tolist() == model.std.flatten().tolist() == [0.5] * channels
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    if channels == 3:
        seen = model.network.forward_features((images - model.mean) / model.std)
        features = model.network.forward_head(seen, pre_logits=True)
        probed = load_backbone("lite0", image_size=64)(images)
        torch.testing.assert_close(features, probed, rtol=1e-3, atol=1e-4)
    other = build_classifier(architecture, pretrained=False, weights=None, seed=0).eval()
    assert not torch.allclose(model(images), other(images))
    again = load_classifier(model.save(tmp_path / "classifier"))
    torch.testing.assert_close(again(images), model(images))
    refuse_impossible(architecture, None, pretrained=True)


def test_initial_weights_follow_the_seed_alone():
    architecture = Architecture("test_resnet", SIZE, CLASSES)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = build_classifier(architecture, pretrained=False, weights=None, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    second = build_classifier(architecture, pretrained=False, weights=None, seed=1)
    third = build_classifier(architecture, pretrained=False, weights=None, seed=2)
    assert torch.equal(first.network.fc.weight, second.network.fc.weight)
    assert not torch.equal(first.network.fc.weight, third.network.fc.weight)
    assert isinstance(first, SkinClassifier)


def test_a_folder_without_a_classifier_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no classifier\.safetensors"):
        load_classifier(tmp_path)
