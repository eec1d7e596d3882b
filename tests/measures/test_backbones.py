"""The contract of every backbone, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from skindiff.errors import ConfigError
from skindiff.measures.backbones import check_backbone, load_backbone

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 48, 48, 3), dtype=np.uint8)
OFFLINE = ("lite0", "bundled")


@pytest.mark.parametrize("name", OFFLINE)
def test_the_contract(name: str) -> None:
    state = torch.random.get_rng_state()
    backbone = load_backbone(name, image_size=64)
    features = backbone(PIXELS)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (features.shape, features.dtype) == ((9, backbone.width), torch.float32)
    assert not features.requires_grad
    assert not features.is_inference()  # or no layer could learn from them
    assert torch.isfinite(features).all()
    assert features.std(0).mean() > 0.01
    tensor = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(backbone(tensor), features, atol=1e-5, rtol=0)

    for batch_size in (1, 8):
        again = load_backbone(name, image_size=64, batch_size=batch_size)
        torch.testing.assert_close(again(PIXELS), features, atol=1e-5, rtol=0)
        assert again.digest == backbone.digest
    assert load_backbone(name, image_size=32).digest != backbone.digest
    assert backbone.name.startswith(f"{name} (")
    assert backbone.name.endswith(", 64 px)")


def test_the_bundled_pipeline_says_which_and_how() -> None:
    backbone = load_backbone("bundled")
    assert backbone.name.startswith("bundled (U-Net of tiny-skin-sd@")
    assert backbone.name.endswith(" at timestep 1, 64 px)")
    assert backbone.width == 400


@pytest.mark.parametrize(("name", "size"), [
    ("test_resnet", 32), ("test_vit", 160), ("test_vit", 96), ("test_convnext", 64),
    ("test_efficientnet", 64), ("swin_tiny_patch4_window7_224", 224),
])  # fmt: skip
def test_a_file_in_timms_names_is_read_whole(tmp_path: Path, name: str, size: int) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3).eval()
    file = tmp_path / "mine.safetensors"
    save_file(network.state_dict(), file)
    found = load_backbone(name, weights=file, image_size=size)
    random = load_backbone(name, weights="random", image_size=size)
    assert random.name == f"{name} (random weights, {size} px)"
    assert found.name.startswith(f"{name} (mine.safetensors@")
    assert found.digest != random.digest
    if size == network.pretrained_cfg["input_size"][-1] or name != "test_vit":
        network.reset_classifier(0)
        mean, std = (torch.tensor(network.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
        images = torch.rand(1, 3, size, size)
        with torch.no_grad():
            torch.testing.assert_close(found(images), network((images - mean) / std), atol=1e-4, rtol=1e-4)
    incomplete = network.state_dict()
    del incomplete[next(name for name in incomplete if name.endswith("weight"))]
    save_file(incomplete, file)
    with pytest.raises(ConfigError, match=r"mine\.safetensors, which does not fit the network.*Missing key"):
        load_backbone(name, weights=file)


def test_no_file_of_a_deeper_network_is_cut_to_fit(tmp_path: Path) -> None:
    file = tmp_path / "deep.safetensors"
    save_file(timm.create_model("resnet34").state_dict(), file)
    with pytest.raises(ConfigError, match=r"does not fit the network.*Unexpected key"):
        load_backbone("resnet18", weights=file)
    file.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="does not fit the network"):
        load_backbone("resnet18", weights=file)


@pytest.mark.parametrize(("settings", "message"), [
    ({"name": "resnet19"}, r"p\.net: timm knows no 'resnet19': did you mean resnet18.* use lite0, bundled"),
    ({"name": "resnet18.no"}, r"p\.net: 'resnet18\.no' has a tag .* take resnet18\.a1_in1k"),
    ({"name": "me/mine"}, r"p\.net: 'me/mine' is no backbone; use lite0.* or hf-hub:OWNER/NAME"),
    ({"name": "hf-hub:mine"}, r"p\.net: 'hf-hub:mine' is no backbone"),
    ({"name": "https://me/mine"}, r"is no backbone"),
    ({"name": "lite0", "weights": "random"}, r"p\.weights is random, but p\.net=lite0 has its own: leave"),
    ({"name": "timm/x", "weights": "a"}, r"p\.weights is a, but p\.net=timm/x has its own"),
    ({"name": "lite0", "revision": "main"}, r"p\.revision is main, but these weights are not of the Hub"),
    ({"name": "resnet18", "weights": "random", "revision": "v1"}, r"p\.revision is v1, but these"),
    ({"name": "timm/x@v1", "revision": "v2"}, r"p\.revision is v2, but timm/x@v1 names another"),
    ({"name": "resnet18", "weights": "a.bin"}, r"p\.weights is a\.bin: only safetensors .* or random"),
    ({"name": "resnet18", "weights": "a.safetensors"}, r"p\.weights is a\.safetensors, which is not a file"),
])  # fmt: skip
def test_what_cannot_be_is_refused_with_the_way_out(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_backbone(**settings, setting="net", path="p.")


def test_weights_that_cannot_be_had_are_never_random_ones() -> None:
    for name in ("resnet18", "timm/resnet18.a1_in1k", "hf-hub:me/mine@v1"):
        check_backbone(name)
        with pytest.raises(ConfigError, match=r"neither in the local cache nor .* or take lite0"):
            load_backbone(name)
    with pytest.raises(ConfigError, match="image_size is 63, which test_vit cannot take"):
        load_backbone("test_vit", weights="random", image_size=63)
