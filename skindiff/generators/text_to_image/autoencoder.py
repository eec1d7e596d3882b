"""Latents of diffusers' ``AutoencoderKL``, scaled by a factor and, where it has one, a shift."""

from typing import Any

import torch

from skindiff.generators.fingerprints import weights_fingerprint
from skindiff.generators.text_to_image.architecture import Architecture


class WithAutoencoder(Architecture):
    """The part of an architecture that is its autoencoder."""

    def precisions(self, dtype: torch.dtype) -> dict[str, torch.dtype]:
        """Return float32 for the autoencoder, which is small and decides every latent, and for text encoders
        in which learned words live."""
        whole = ["vae", *(home.text_encoder for home in self.token_homes)]
        return {"default": dtype, **dict.fromkeys(whole, torch.float32)}

    def latent_facts(self, pipeline: Any) -> dict[str, Any]:
        """Return precision, scale, shift where there is one, and weights of the autoencoder."""
        vae = pipeline.vae
        shift = vae.config.shift_factor
        return {
            "dtype": str(vae.dtype),
            "scaling_factor": vae.config.scaling_factor,
            **({"shift_factor": shift} if shift else {}),
            "vae": weights_fingerprint(vae),
        }

    def encode_moments(self, pipeline: Any, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode images (see :mod:`~skindiff.generators.text_to_image.architecture`)."""
        vae = pipeline.vae
        with torch.no_grad():
            posterior = vae.encode(images.to(working_device(vae), vae.dtype)).latent_dist
        return posterior.mean.float().cpu(), posterior.std.float().cpu()

    def scale(self, pipeline: Any, latents: torch.Tensor) -> torch.Tensor:
        """Return latents less the shift, times the scaling factor."""
        config = pipeline.vae.config
        factor: float = config.scaling_factor
        return (latents - config.shift_factor if config.shift_factor else latents) * factor

    def decode(self, pipeline: Any, latents: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        """Decode latents (see :mod:`~skindiff.generators.text_to_image.architecture`)."""
        vae = pipeline.vae
        latents = latents.to(working_device(vae), vae.dtype)
        if scaled:
            latents = latents / vae.config.scaling_factor
            latents = latents + vae.config.shift_factor if vae.config.shift_factor else latents
        with torch.no_grad():
            images: torch.Tensor = vae.decode(latents).sample
        return images.float() / 2 + 0.5


def working_device(module: Any) -> torch.device:
    """Return where a network runs: of one that waits elsewhere (CPU offload) not where it is."""
    waiting = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    return torch.device(module.device if waiting is None else waiting)


def is_scale(value: object) -> bool:
    """Return whether a value can be meant as the factor of an autoencoder's latents."""
    return isinstance(value, (int, float)) and value > 0
