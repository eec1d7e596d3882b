import pytest
import torch

from skindiff.errors import GeneratorError
from skindiff.generators.cvae_conv import CvaeConv, CvaeConvPipeline
from skindiff.generators.grid_sizes import conv_grid
from tests.generators.vae_contract import (
    check_every_weight_moves,
    count,
    drawn,
)


def tiny(classes: int = 2) -> CvaeConvPipeline:
    torch.manual_seed(0)
    network = CvaeConv(classes, image_size=16, channels=3, latent_dim=4, widths=[4, 8, 8])
    return CvaeConvPipeline(network, ["a", "b"], 16, 3)


def test_parameters_of_s3_fig_19_and_fig_20_layer_by_layer() -> None:
    network = CvaeConv()
    assert count(network.encoder) == 1_570_848, "Fig. 20, encoder"
    assert count(network.decoder.hidden) == 1_568_160, "Fig. 19, decoder hidden layers"
    assert count(network.decoder.output) == 19_491, "Fig. 19, decoder output layer"
    start = network.decoder.input
    assert (start.in_features, start.out_features) == (109, 2048), "Fig. 19, decoder input layer"
    rows = [count(part) for part in network.encoder if count(part)]
    assert rows == [1_184, 64, 18_496, 128, 73_856, 256, 295_168, 512, 1_180_160, 1_024], "Fig. 20"
    rows = [count(part) for part in network.decoder.hidden if count(part)]
    assert rows == [1_179_904, 512, 295_040, 256, 73_792, 128, 18_464, 64], "Fig. 19, hidden"
    rows = [count(part) for part in network.decoder.output if count(part)]
    assert rows == [9_248, 64, 9_248, 64, 867], "Fig. 19, output"


def test_shapes_of_s3_fig_19_and_fig_20() -> None:
    network = CvaeConv().eval()
    sides = []
    for part in (*network.encoder, *network.decoder.hidden, *network.decoder.output):
        if isinstance(part, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            part.register_forward_hook(lambda *call: sides.append(call[2].shape[-1]))
    with torch.no_grad():
        network(torch.zeros(1, 3, 28, 28), torch.zeros(1, dtype=torch.long), torch.zeros(1, 100))
    assert sides == [14, 7, 4, 2, 1, 4, 8, 16, 32, 61, 30, 28]


def test_the_latent_width_of_the_papers_text_is_a_setting() -> None:
    assert CvaeConv(latent_dim=150).decoder.input.in_features == 159


@pytest.mark.parametrize("size", [28, 32, 64, 128])
def test_other_sizes_keep_the_tables_parameters(size: int) -> None:
    network = CvaeConv(classes=3, image_size=size, channels=3, latent_dim=4).eval()
    assert count(network.decoder.output) == 19_491
    with torch.no_grad():
        mean, _ = network.encode(torch.zeros(1, 3, size, size), torch.tensor([2]))
        assert network.decode(mean, torch.tensor([2])).shape == (1, 3, size, size)


def test_every_weight_moves() -> None:
    check_every_weight_moves(tiny())


def test_the_class_and_the_temperature_reach_the_image() -> None:
    pipeline = tiny()
    assert not torch.equal(drawn(pipeline, [0], [1]), drawn(pipeline, [1], [1]))
    cold = pipeline([0, 0], temperature=0.0, output_type="pt").images
    assert torch.equal(cold[0], cold[1])


def test_a_size_without_a_grid_is_refused() -> None:
    with pytest.raises(GeneratorError, match="image_size is 30: a decoder of 5 widths makes multiples of 16"):
        CvaeConv(image_size=30)
    assert conv_grid(28, [32, 64, 128, 256, 512]) == (2, 4)
    assert conv_grid(64, [32, 64, 128, 256, 512]) == (4, 0)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(GeneratorError, match="class_names has 2 classes, but the network has 3"):
        tiny(classes=3)
