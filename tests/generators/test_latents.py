"""Images to latents and back, as plain diffusers does it."""

import pytest
import torch

from skindiff.errors import GeneratorError
from skindiff.generators.latents import decode_latents, encode_moments, refuse_shift, scale_latents
from tests.tiny import TINY_SIZE, tiny_pipeline

IMAGES = torch.rand(2, 3, TINY_SIZE, TINY_SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_moments_are_the_posteriors_in_float32() -> None:
    vae = tiny_pipeline().vae.to(torch.bfloat16)
    mean, std = encode_moments(vae, IMAGES)
    posterior = vae.encode(IMAGES.bfloat16()).latent_dist
    assert mean.dtype == std.dtype == torch.float32
    assert torch.equal(mean, posterior.mean.float())
    assert torch.equal(std, posterior.std.float())
    assert not mean.requires_grad


def test_what_is_scaled_is_decoded_as_diffusers_does() -> None:
    pipeline = tiny_pipeline()
    latents = scale_latents(pipeline.vae, encode_moments(pipeline.vae, IMAGES)[0])
    drawn = decode_latents(pipeline.vae, latents)
    expected = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    assert torch.equal(pipeline.image_processor.postprocess(expected, "pt"), drawn.clamp(0, 1))
    plain = decode_latents(pipeline.vae, latents / pipeline.vae.config.scaling_factor, scaled=False)
    assert torch.equal(plain, drawn)


def test_a_shift_is_refused_and_none_is_not() -> None:
    vae = tiny_pipeline().vae
    for shift in (None, 0.0):
        vae.register_to_config(shift_factor=shift)
        refuse_shift(vae)
    vae.register_to_config(shift_factor=-0.25)
    with pytest.raises(GeneratorError, match=r"model 'x': .* shift_factor of -0\.25, which Stable Diffusion"):
        refuse_shift(vae, "model 'x'")
