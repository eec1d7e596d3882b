"""What every GAN family must do, for the families' own tests."""

from pathlib import Path

import torch
from torch import nn

from skindiff.generators.adversarial import GANPipeline
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.seeding import torch_generator


def seeded(build, *arguments, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(*arguments, **options)


def parameters(module: nn.Module) -> dict[str, int]:
    return {name: parameter.numel() for name, parameter in module.named_parameters()}


def draw(pipeline: ClassConditionalPipeline, labels, keys) -> torch.Tensor:
    generators = [torch_generator("draw", key) for key in keys]
    return pipeline(labels, generator=generators, output_type="pt").images


def check_pipeline(pipeline: GANPipeline, folder: Path) -> None:
    """Shapes, classes by name, a row without its batch mates, and a round trip through a folder."""
    pipeline.generator.eval()
    size, channels = pipeline.config.image_size, pipeline.config.channels
    names = pipeline.config.class_names
    images = draw(pipeline, [0, 1, 1], [5, 6, 7])
    assert images.shape == (3, channels, size, size)
    assert 0 <= images.min() < images.max() <= 1
    alone = draw(pipeline, names[1], [6])
    torch.testing.assert_close(alone[0], images[1], rtol=0, atol=1e-5)
    others = draw(pipeline, [1, 1, 0], [9, 6, 5])
    assert torch.equal(others[1], images[1])
    assert not torch.allclose(images[1], images[2], atol=1e-6)
    assert not torch.allclose(draw(pipeline, [0], [6])[0], alone[0], atol=1e-6)
    pipeline.save_pretrained(folder)
    loaded = type(pipeline).from_pretrained(folder)
    assert torch.equal(draw(loaded, [0, 1, 1], [5, 6, 7]), images)
    assert list(loaded.config.class_names) == list(names)
    assert loaded.family == pipeline.family
