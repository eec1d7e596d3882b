import pytest
import torch

from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators.adversarial import doublings
from skindiff.generators.dcgan import DCGANDiscriminator, DCGANGenerator, DCGANPipeline
from tests.generators.gan_checks import parameters, seeded


def test_the_published_size_of_s1():
    # Ravani et al. (section IV.C): noise of 100, seven classes, 128 px; widths are Radford et al.'s, Fig. 1.
    generator = DCGANGenerator()
    assert parameters(generator)["input.weight"] == 107 * 512 * 4 * 4
    images = generator.eval()(torch.zeros(2, 100), torch.tensor([0, 6]))
    assert images.shape == (2, 3, 128, 128)
    widths = [part.out_channels for part in generator.modules() if isinstance(part, torch.nn.Conv2d)]
    assert widths == [512, 256, 128, 64, 3]
    discriminator = DCGANDiscriminator()
    widths = [part.out_channels for part in discriminator.modules() if isinstance(part, torch.nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 512, 1]
    assert parameters(discriminator)["label_plane.weight"] == 7 * 128**2
    assert discriminator(images, torch.tensor([0, 6])).scores.shape == (2,)


@pytest.mark.parametrize("image_size", [28, 32, 64, 128, 224])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_sizes_follow_the_setting(image_size, upsampling):
    generator = DCGANGenerator(2, image_size, 1, 4, width=2, upsampling=upsampling)
    images = generator(torch.zeros(2, 4), torch.tensor([0, 1]))
    assert images.shape == (2, 1, image_size, image_size)
    assert DCGANDiscriminator(2, image_size, 1, 2)(images, torch.tensor([0, 1])).scores.shape == (2,)


@pytest.mark.parametrize("image_size", [8, 30, 100, 65, 36 * 2 + 2])
def test_a_size_that_cannot_be_doubled_into_is_named(image_size):
    with pytest.raises(ConfigError, match=rf"gan\.image_size is {image_size}: .*such as 28"):
        doublings(image_size, "gan.")


def test_spectral_normalisation_bounds_every_convolution():
    module = seeded(DCGANDiscriminator, 2, 32, 3, 8, norm="none", spectral_norm=True)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(30):  # one power iteration a forward pass
        module(images, torch.tensor([0, 1, 0, 1]))
    module.eval()
    convolutions = [part for part in module.modules() if isinstance(part, torch.nn.Conv2d)]
    assert len(convolutions) == 4
    for part in convolutions:
        assert torch.linalg.matrix_norm(part.weight.detach().flatten(1), 2) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_a_discriminator_comes_back_as_it_was(tmp_path, norm):
    module = seeded(DCGANDiscriminator, 2, 28, 1, 4, norm=norm, spectral_norm=True).eval()
    images, labels = (
        torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1]),
    )
    module.save_pretrained(tmp_path)
    loaded = DCGANDiscriminator.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), module.parameters(), strict=True))
    torch.testing.assert_close(loaded(images, labels).scores, module(images, labels).scores)
    assert not torch.equal(module(images, labels).scores, module(images, labels.flip(0)).scores)


def test_another_number_of_classes_is_refused():
    with pytest.raises(GeneratorError, match="class_names has 3 classes, but the generator has 2"):
        DCGANPipeline(DCGANGenerator(2, 28, 1, 4, width=2), ["a", "b", "c"], 28, 1)
