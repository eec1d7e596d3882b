"""Helpers of the tests of the GAN families."""

import torch
from torch import nn

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
