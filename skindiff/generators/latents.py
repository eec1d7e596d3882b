"""Between images and the latents of Stable Diffusion 1.x/2.x: the one encoding and the one decoding."""

import torch
from diffusers import AutoencoderKL

from skindiff.errors import GeneratorError


def refuse_shift(vae: AutoencoderKL, name: str = "the pipeline") -> None:
    """Raise :class:`GeneratorError` if an autoencoder shifts its latents, which Stable Diffusion never does.

    Plain diffusers' ``StableDiffusionPipeline`` scales latents and nothing else, so that a model trained with
    a shift would be drawn from without it. The shift belongs to architectures whose pipeline applies it.
    """
    if vae.config.shift_factor:
        raise GeneratorError(
            f"{name}: its autoencoder has a shift_factor of {vae.config.shift_factor:g}, which Stable "
            "Diffusion 1.x/2.x does not apply: give a model with the autoencoder that it was made with"
        )


def encode_moments(vae: AutoencoderKL, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode images in the autoencoder's own precision and on its device.

    Args:
        vae: of a Stable Diffusion pipeline.
        images: (b, 3, height, width) in [-1, 1].

    Returns:
        Mean and standard deviation of the posterior, each (b, channels, height, width) in float32 on the CPU,
        not yet scaled: :func:`scale_latents` makes what the U-Net sees.
    """
    with torch.no_grad():
        posterior = vae.encode(images.to(vae.device, vae.dtype)).latent_dist
    return posterior.mean.float().cpu(), posterior.std.float().cpu()


def scale_latents(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Return latents of the autoencoder as the U-Net sees them."""
    scale: float = vae.config.scaling_factor
    return latents * scale


def decode_latents(vae: AutoencoderKL, latents: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
    """Decode latents in the autoencoder's own precision and on its device.

    Args:
        vae: of a Stable Diffusion pipeline.
        latents: (b, channels, height, width).
        scaled: they are what the U-Net sees, not what the encoder gives.

    Returns:
        Images, (b, 3, height, width) in float32 on that device: [0, 1], a little beyond, or not finite.
    """
    latents = latents.to(vae.device, vae.dtype)
    with torch.no_grad():
        images: torch.Tensor = vae.decode(latents / vae.config.scaling_factor if scaled else latents).sample
    return images.float() / 2 + 0.5
