import pytest
import torch

from skindiff.generators.attention_gan import (
    AttentionDiscriminator,
    AttentionGenerator,
    SelfAttention,
    working_size,
)
from tests.generators.gan_checks import parameters, seeded

# Fig. 25 and Fig. 26 of Le Roux, for PathMNIST, top to bottom; a row is a module with its weight and bias.
FIGURE_25 = [896, 32_832, 512, 512, 4_096, 131_200, 524_544, 4_097, 36_864, 36_873]
FIGURE_26 = [409_856, 2_304, 2_304, 524_416, 1_152, 1_152, 131_136, 576, 576, 3_075]


def rows(module) -> list[int]:
    found: dict[str, int] = {}
    for name, count in parameters(module).items():
        if not name.endswith(".scale"):
            owner = (
                name.split(".parametrizations")[0] if "parametrizations" in name else name.rsplit(".", 1)[0]
            )
            found[owner] = found.get(owner, 0) + count
    return list(found.values())


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_the_discriminator_matches_figure_25_to_the_parameter(spectral_norm):
    module = AttentionDiscriminator(classes=9, image_size=28, channels=3, spectral_norm=spectral_norm)
    assert sorted(rows(module)) == sorted(FIGURE_25)
    if not spectral_norm:
        assert rows(module) == FIGURE_25
    assert sum(rows(module)) == 772_426
    assert sum(parameters(module).values()) == 772_426 + 1  # the attention's scale


def test_the_generator_matches_figure_26_to_the_parameter():
    module = AttentionGenerator(classes=9, image_size=28, channels=3)
    assert rows(module) == FIGURE_26
    assert sum(parameters(module).values()) == 1_076_547
    # Section 2.5 says 128 where the table says 100.
    assert parameters(AttentionGenerator(latent_size=128))["blocks.0.convolution.weight"] == 128 * 256 * 16


def test_the_maps_have_the_shapes_of_figure_25():
    module, shapes = AttentionDiscriminator(), []
    for part in module.features:
        part.register_forward_hook(lambda part, _, out: shapes.append((type(part).__name__, *out.shape[1:])))
    verdict = module(torch.zeros(2, 3, 32, 32), torch.tensor([0, 8]))
    kept = [shape for shape in shapes if shape[0] in ("Conv2d", "SelfAttention", "Flatten")]
    assert kept == [
        ("Conv2d", 32, 32, 32),
        ("Conv2d", 64, 16, 16),
        ("SelfAttention", 64, 16, 16),
        ("Conv2d", 128, 8, 8),
        ("Conv2d", 256, 4, 4),
        ("Flatten", 4096),
    ]
    assert verdict.scores.shape == (2,)
    assert verdict.class_logits.shape == (2, 9)


def test_attention_starts_as_the_identity_and_can_be_differentiated_twice():
    attention = seeded(SelfAttention, 16)
    maps = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    assert torch.equal(attention(maps), maps)
    attention.scale.data.fill_(1.0)
    (gradient,) = torch.autograd.grad(attention(maps).square().sum(), maps, create_graph=True)
    gradient.square().sum().backward()
    assert attention.query.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("image_size", "side"), [(28, 32), (32, 32), (64, 64), (128, 128), (224, 256)])
def test_the_networks_work_at_the_next_power_of_two(image_size, side):
    assert working_size(image_size) == side
    generator = AttentionGenerator(2, image_size, 1, 8, width=16)
    images = generator(torch.zeros(1, 8), torch.zeros(1, dtype=torch.int64))
    assert images.shape == (1, 1, side, side)
    discriminator = AttentionDiscriminator(2, image_size, 1, width=16)
    assert discriminator(images, torch.zeros(1, dtype=torch.int64)).scores.shape == (1,)
