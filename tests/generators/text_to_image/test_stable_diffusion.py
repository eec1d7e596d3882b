"""Images to latents and back, as plain diffusers does it."""

import pytest
import torch

from skindiff.errors import GeneratorError
from skindiff.generators.text_to_image.stable_diffusion import StableDiffusion
from tests.tiny import TINY_SIZE, tiny_pipeline

SEAM = StableDiffusion()
IMAGES = torch.rand(2, 3, TINY_SIZE, TINY_SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_moments_are_the_posteriors_in_float32() -> None:
    pipeline = tiny_pipeline().to(torch.bfloat16)
    mean, std = SEAM.encode_moments(pipeline, IMAGES)
    posterior = pipeline.vae.encode(IMAGES.bfloat16()).latent_dist
    assert mean.dtype == std.dtype == torch.float32
    assert torch.equal(mean, posterior.mean.float())
    assert torch.equal(std, posterior.std.float())
    assert not mean.requires_grad


def test_what_is_scaled_is_decoded_as_diffusers_does() -> None:
    pipeline = tiny_pipeline()
    latents = SEAM.scale(pipeline, SEAM.encode_moments(pipeline, IMAGES)[0])
    drawn = SEAM.decode(pipeline, latents)
    expected = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    assert torch.equal(pipeline.image_processor.postprocess(expected, "pt"), drawn.clamp(0, 1))
    plain = SEAM.decode(pipeline, latents / pipeline.vae.config.scaling_factor, scaled=False)
    assert torch.equal(plain, drawn)


def test_a_shift_is_refused_and_none_is_not() -> None:
    pipeline = tiny_pipeline()
    for shift in (None, 0.0):
        pipeline.vae.register_to_config(shift_factor=shift)
        SEAM.refuse_unfit(pipeline)
    pipeline.vae.register_to_config(shift_factor=-0.25)
    with pytest.raises(GeneratorError, match=r"model 'x': .* shift_factor of -0\.25, which Stable Diffusion"):
        SEAM.refuse_unfit(pipeline, "model 'x'")
