"""What an autoencoder loses of a photograph, put back into what is made from it.

A latent holds a small part of the numbers of its image, so img2img returns even what it does not change
blurred: hairs, scale and texture go, and blur becomes a mark of the synthetic images. The loss is known for
each source: the ratio of its pixels to their own reconstruction. A ratio in *linear* light is what texture
and shading of skin are (they scale the light that comes back, whatever the tone), so it fits the new tone.
Its mean is taken out: what the autoencoder does to the colour of a whole image is not detail, and the tone is
another setting's.
"""

import torch

LARGEST_RATIO = 4.0
"""Bound of the ratio of a pixel to its reconstruction."""
_FLOOR = 0.02
"""Added to both sides of the ratio (linear light, 1 is white), below which a photograph is mostly noise."""


def restore_detail(
    drawn: torch.Tensor, source: torch.Tensor, reconstruction: torch.Tensor, amount: torch.Tensor
) -> torch.Tensor:
    """Return transferred images with the detail that the autoencoder took from their sources.

    Args:
        drawn: ``(batch, 3, height, width)`` sRGB in [0, 1], what the generator made of the sources.
        source: of the same shape, what it was shown.
        reconstruction: of the same shape, what the autoencoder alone makes of ``source``.
        amount: ``(batch,)``, share of the detail to put back, from 0 (none) to 1 (all).

    Returns:
        Images of the same shape in [0, 1]; what is NaN in ``drawn`` stays NaN.
    """
    ratio = (_to_linear(source) + _FLOOR) / (_to_linear(reconstruction) + _FLOOR)
    logarithm = ratio.clamp(1 / LARGEST_RATIO, LARGEST_RATIO).log()
    logarithm = logarithm - logarithm.mean(dim=(2, 3), keepdim=True)
    return _to_srgb((_to_linear(drawn) * (amount.view(-1, 1, 1, 1) * logarithm).exp()).clamp(0, 1))


def _to_linear(encoded: torch.Tensor) -> torch.Tensor:
    """IEC 61966-2-1, values in [0, 1]."""
    encoded = encoded.clamp(0, 1)
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _to_srgb(linear: torch.Tensor) -> torch.Tensor:
    return torch.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055
    )
