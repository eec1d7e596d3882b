"""Laying one picture over another, and how well they then agree: batches of pairs on any device.

A crop is laid over its original to a fraction of a pixel by Gauss-Newton steps on the squared difference, up
to contrast and brightness (Lucas & Kanade 1981, "An iterative image registration technique"). OpenCV has the
like (``findTransformECC``), one pair at a time and in an extra; here ten thousand pairs take seconds.

Then every neighbourhood is correlated with its counterpart and the correlations are averaged with the
contrast that both have there as weight: the structure term of SSIM (Wang, Bovik, Sheikh & Simoncelli 2004),
without its constants. A change of brightness, colour or contrast does not count, what is smooth in either
picture hardly does, and two dark discs on skin agree at their rims and not within.
"""

import torch
from torch import Tensor
from torch.nn import functional

from skindiff.measures.copying.structure import SIDE, blurred, greys

FINE, WINDOW = 1.0, 4.0
"""Standard deviations in pixels, at ``SIDE``, of the blur that takes off noise and of a neighbourhood. Of 2-
and 3-pixel band-passes and windows of 3 to 6 these found most planted copies in the tuning halves of
HAM10000 and Fitzpatrick17k (see scripts/plant_copies.py)."""
_STEPS = 8
_FIT_SIDE, _FIT_COARSE = 32, 4.0
_LEAST, _MOST = 0.72, 1.02
"""Shares of the known image's side that a picture may show."""
_MOST_STEP = 0.1
_SMOOTH = 0.1
"""Contrast (standard deviation in grey levels) below which a neighbourhood shows nothing."""


def refine(pictures: Tensor, known: Tensor, windows: Tensor) -> Tensor:
    """Move and stretch windows of known images until they show the pictures as well as they can.

    Args:
        pictures: luminance ``(b, SIDE, SIDE)``.
        known: luminance ``(b, SIDE, SIDE)``.
        windows: ``(b, 4)``, where to begin: width, height and centre (x, y) in known images that reach from
            -1 to 1.

    Returns:
        Windows ``(b, 4)`` whose correlation with the pictures is that of the first ones or better.
    """
    target = _detail(_to_fit(pictures)).flatten(1)
    stack = _to_fit(known)
    stack = torch.cat([stack, *_slopes(stack)], dim=1)
    seen = _seen(stack, windows)
    best = _correlation(seen[:, 0], target)
    damping = torch.full((len(windows), 1), 1e-2, device=windows.device)
    for _ in range(_STEPS):
        moved = _bounded(windows + _step(seen, target, damping))
        then = _seen(stack, moved)
        reached = _correlation(then[:, 0], target)
        better = reached > best
        best = torch.where(better, reached, best)
        windows = torch.where(better[:, None], moved, windows)
        seen = torch.where(better[:, None, None], then, seen)
        damping = torch.where(better[:, None], damping * 0.3, damping * 8)
    return windows


def agreement(pictures: Tensor, known: Tensor, windows: Tensor) -> Tensor:
    """Return how well pictures agree with windows of known images, ``(b,)``, -1 to 1; 0 where one is flat.

    The best of luminance, the largest and the smallest channel, so that no change of colour hides a copy.

    Args:
        pictures: RGB ``(b, 3, SIDE, SIDE)`` float32, 0 to 255.
        known: of the same shape.
        windows: ``(b, 4)``, from :func:`refine`.
    """
    one, other = _fine(pictures), _fine(_warp(known, windows, SIDE))
    one_mean, other_mean = blurred(one, WINDOW), blurred(other, WINDOW)
    one_contrast = (blurred(one * one, WINDOW) - one_mean**2).clamp_min(0).sqrt()
    other_contrast = (blurred(other * other, WINDOW) - other_mean**2).clamp_min(0).sqrt()
    contrast = one_contrast * other_contrast
    correlation = (blurred(one * other, WINDOW) - one_mean * other_mean) / contrast.clamp_min(_SMOOTH**2)
    weight = torch.where(contrast < _SMOOTH**2, 0.0, contrast.sqrt())
    whole = (correlation.clamp(-1, 1) * weight).sum((-2, -1)) / weight.sum((-2, -1)).clamp_min(1e-6)
    return whole.amax(1)


def _fine(rgb: Tensor) -> Tensor:
    """Return three greys without noise, around 0 so that float32 holds their variances."""
    images = blurred(greys(rgb), FINE)
    return images - images.mean((-2, -1), keepdim=True)


def _to_fit(luminance: Tensor) -> Tensor:
    return functional.avg_pool2d(luminance[:, None], SIDE // _FIT_SIDE)


def _detail(images: Tensor) -> Tensor:
    return images - blurred(images, _FIT_COARSE)


def _seen(stack: Tensor, windows: Tensor) -> Tensor:
    """Return what windows show and how it changes with each number of a window, ``(b, 5, pixels)``."""
    shown, across, down = _warp(stack, windows, _FIT_SIDE).unbind(1)
    x, y = _positions(_FIT_SIDE, windows.device)
    return _detail(torch.stack([shown, across * x, down * y, across, down], dim=1)).flatten(2)


def _slopes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return how images ``(b, 1, s, s)`` change to the right and downwards, per unit of half their side."""
    across, down = torch.zeros_like(images), torch.zeros_like(images)
    across[..., 1:-1] = (images[..., 2:] - images[..., :-2]) * _FIT_SIDE / 4
    down[..., 1:-1, :] = (images[..., 2:, :] - images[..., :-2, :]) * _FIT_SIDE / 4
    return across, down


def _warp(images: Tensor, windows: Tensor, side: int) -> Tensor:
    """Return the windows of images, ``(b, c, side, side)``."""
    x, y = _positions(side, windows.device)
    width, height, centre_x, centre_y = windows.T[:, :, None, None]
    grid = torch.stack([width * x + centre_x, height * y + centre_y], dim=-1)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _positions(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    centres = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return x, y


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    return (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1)).clamp_min(1e-3)


def _step(seen: Tensor, target: Tensor, damping: Tensor) -> Tensor:
    """Return one damped Gauss-Newton step of the windows, ``(b, 4)``; contrast and brightness are fitted."""
    shown = seen[:, 0] - seen[:, 0].mean(1, keepdim=True)
    wanted = target - target.mean(1, keepdim=True)
    gain = (shown * wanted).sum(1, keepdim=True) / (shown * shown).sum(1, keepdim=True).clamp_min(1e-3)
    gain = gain.clamp_min(0.05)
    slopes = gain[:, :, None] * seen[:, 1:]
    jacobian = torch.cat([slopes, shown[:, None], torch.ones_like(shown)[:, None]], dim=1)
    normal = jacobian @ jacobian.transpose(1, 2)
    diagonal = torch.diagonal(normal, dim1=1, dim2=2)
    normal = normal + torch.diag_embed(diagonal * damping + 1e-3)
    found = torch.linalg.solve(normal, jacobian @ (wanted - gain * shown)[..., None])
    return found[:, :4, 0].clamp(-_MOST_STEP, _MOST_STEP)


def _bounded(windows: Tensor) -> Tensor:
    """Keep windows inside the known image, but for a rim of 1%."""
    sides = windows[:, :2].clamp(_LEAST, _MOST)
    room = _MOST - sides
    return torch.cat([sides, torch.minimum(torch.maximum(windows[:, 2:], -room), room)], dim=1)
