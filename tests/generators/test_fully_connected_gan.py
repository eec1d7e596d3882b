import torch
from torch import nn

from skindiff.generators.fully_connected_gan import (
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
)
from tests.generators.gan_checks import seeded


def test_three_hidden_layers_in_both_players_as_s2_section_3_2_says():
    for module, sizes in (
        (FullyConnectedGenerator(), [(102, 256), (256, 512), (512, 1024), (1024, 784)]),
        (FullyConnectedDiscriminator(), [(786, 1024), (1024, 512), (512, 256), (256, 1)]),
    ):
        linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
        assert [(part.in_features, part.out_features) for part in linear] == sizes
    assert not [part for part in FullyConnectedGenerator().modules() if "Norm" in type(part).__name__]


def test_the_discriminator_looks_at_the_class():
    module = seeded(FullyConnectedDiscriminator, 3, widths=(8, 8, 8)).eval()
    images = torch.zeros(3, 1, 28, 28)
    assert len(module(images, torch.tensor([0, 1, 2])).scores.unique()) == 3
