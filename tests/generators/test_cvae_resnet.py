import pytest
import timm
import torch

from skindiff.errors import GeneratorError
from skindiff.generators.cvae_resnet import CvaeResNet, CvaeResNetPipeline
from skindiff.generators.grid_sizes import start_grid
from tests.generators.vae_contract import (
    check_every_weight_moves,
    count,
)


def tiny() -> CvaeResNetPipeline:
    torch.manual_seed(0)
    return CvaeResNetPipeline(CvaeResNet(2, 32, 3, latent_dim=8, decoder_width=16), ["a", "b"], 32, 3)


def test_s1_section_iv_b_resnet_18_without_its_head_latent_128_and_224_pixels() -> None:
    network = CvaeResNet().eval()
    assert count(network.encoder) == count(timm.create_model("resnet18", num_classes=0)) == 11_176_512
    assert network.moments.in_features == 512 + 7, "features and one-hot class"
    assert network.moments.out_features == 2 * 128
    assert network.decoder_input.in_features == 128 + 7
    with torch.no_grad():
        assert network.decode(torch.zeros(1, 128), torch.tensor([6])).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(("size", "grid"), [(28, 7), (32, 4), (64, 4), (128, 4), (224, 7)])
def test_the_decoder_reaches_each_size(size: int, grid: int) -> None:
    assert start_grid(size) == grid
    network = CvaeResNet(2, size, 1, latent_dim=4, decoder_width=32).eval()
    with torch.no_grad():
        mean, _ = network.encode(torch.zeros(1, 1, size, size), torch.tensor([1]))
        assert network.decode(mean, torch.tensor([1])).shape == (1, 1, size, size)


@pytest.mark.parametrize("size", [0, 4, 7, 30, 36, 102])
def test_a_size_without_a_grid_is_refused(size: int) -> None:
    with pytest.raises(GeneratorError, match=f"image_size is {size}: this decoder doubles a grid"):
        CvaeResNet(image_size=size)


def test_every_weight_moves() -> None:
    check_every_weight_moves(tiny())
