"""What every VAE pipeline must keep beyond the contract of families, asserted on what a test gives."""

import pytest
import torch
from PIL import Image
from torch import nn

from skindiff.errors import GeneratorError
from skindiff.generators.class_conditional import ClassConditionalPipeline


def count(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def pictures(pipeline: ClassConditionalPipeline, count: int, seed: int = 0) -> torch.Tensor:
    size, channels = pipeline.config.image_size, pipeline.config.channels
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def drawn(pipeline: ClassConditionalPipeline, labels: list[int], seeds: list[int]) -> torch.Tensor:
    """Draw images of seeds; a re-drawing pipeline is shown for each seed the picture of that seed."""
    options = {}
    if pipeline.needs_images:
        options["images"] = torch.cat([pictures(pipeline, 1, seed) for seed in seeds])
    return pipeline(labels, generator=generators(*seeds), output_type="pt", **options).images


def check_every_weight_moves(pipeline: ClassConditionalPipeline) -> None:
    network = pipeline.vae.train()
    before = {name: part.detach().clone() for name, part in network.named_parameters()}
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for step in range(3):
        images, labels = pictures(pipeline, 4, step), torch.tensor([0, 1, 0, 1])
        found = network(images, labels, network.row_noise(generators(1, 2, 3, 4)))
        ((found.images - images).square().mean() + 0.01 * found.divergences.sum()).backward()
        optimiser.step()
        optimiser.zero_grad()
    still = [name for name, part in network.named_parameters() if torch.equal(part, before[name])]
    assert still == []
    network.eval()


def check_shown_images(pipeline: ClassConditionalPipeline) -> None:
    size, channels = pipeline.config.image_size, pipeline.config.channels
    shown = pictures(pipeline, 2)
    with pytest.raises(GeneratorError, match=r"images: .* one for each of the 2 labels"):
        pipeline([0, 1])
    with pytest.raises(GeneratorError, match="one for each of the 2 labels"):
        pipeline([0, 1], images=shown[:1])
    with pytest.raises(GeneratorError, match=rf"give \(batch, {channels}, {size}, {size}\) in \[-1, 1\]"):
        pipeline([0, 1], images=shown[..., :-1])
    with pytest.raises(GeneratorError, match=r"in \[-1, 1\]"):
        pipeline([0, 1], images=shown * 200)
    with pytest.raises(GeneratorError, match="resize first"):
        pipeline([0, 1], images=[Image.new("RGB", (size + 1, size))] * 2)
    grey = [Image.new("RGB", (size, size), (shade,) * 3) for shade in (0, 255)]
    flat = torch.stack([torch.full((channels, size, size), value) for value in (-1.0, 1.0)])
    from_pil = pipeline([0, 1], images=grey, generator=generators(1, 2), output_type="pt").images
    from_tensor = pipeline([0, 1], images=flat, generator=generators(1, 2), output_type="pt").images
    # The last bit may follow the layout in memory, which differs between the two.
    torch.testing.assert_close(from_pil, from_tensor, atol=1e-6, rtol=0)
