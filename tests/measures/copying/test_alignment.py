"""Windows are found to a fraction of a pixel, and agreement is the structure term computed by hand."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional

from skindiff.measures.copying.alignment import FINE, WINDOW, agreement, refine
from skindiff.measures.copying.structure import SIDE, greys
from tests.measures.copying.photographs import photograph


def rgb(*seeds: int) -> Tensor:
    images = [np.asarray(photograph(seed, SIDE)) for seed in seeds]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()


def seen_through(images: Tensor, windows: Tensor) -> Tensor:
    """Windows (width, height, centre x, y) of images, enlarged to the whole side."""
    width, height, x, y = windows.T
    nothing = torch.zeros_like(x)
    maps = torch.stack([torch.stack([width, nothing, x], 1), torch.stack([nothing, height, y], 1)], 1)
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)


def test_a_window_is_found_from_nearby() -> None:
    images = rgb(1, 2, 3)
    true = torch.tensor([[0.9, 0.86, 0.08, -0.1], [1.0, 1.0, 0.0, 0.0], [0.88, 0.95, -0.1, 0.03]])
    pictures = seen_through(images, true)
    off = torch.tensor([[0.02, -0.02, 0.03, -0.03], [-0.03, 0.0, 0.02, 0.0], [0.0, 0.03, -0.03, 0.02]])
    start = true + off
    found = refine(greys(pictures)[:, 0], greys(images)[:, 0], start)
    # A pixel is 1/32 of the half side.
    assert (found - true).abs().max() < 0.25 / 32
    assert off.abs().max() > 0.9 / 32
    assert agreement(pictures, images, found).min() > 0.98
    assert agreement(pictures, images, start).max() < agreement(pictures, images, found).min()


def test_what_cannot_be_laid_over_stays_where_it_was_or_gets_better() -> None:
    images, others = rgb(1, 2), rgb(3, 4)
    start = torch.tensor([[0.9, 0.9, 0.1, 0.0], [0.85, 0.85, -0.15, 0.15]])
    found = refine(greys(others)[:, 0], greys(images)[:, 0], start)
    assert agreement(others, images, found).max() < 0.8
    assert (found[:, :2] / 2 + found[:, 2:].abs() / 2).max() <= 0.51 + 1e-6  # inside, but for the rim


def test_agreement_is_the_structure_term_by_hand() -> None:
    one, other = rgb(5), rgb(6)
    whole = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    expected = []
    for first, second in zip(greys(one)[0].double().numpy(), greys(other)[0].double().numpy(), strict=True):
        first, second = smooth(first, FINE), smooth(second, FINE)
        means = smooth(first, WINDOW), smooth(second, WINDOW)
        deviations = [
            np.sqrt(np.maximum(smooth(image**2, WINDOW) - mean**2, 0))
            for image, mean in zip((first, second), means, strict=True)
        ]
        both = deviations[0] * deviations[1]
        correlation = (smooth(first * second, WINDOW) - means[0] * means[1]) / both
        expected.append(np.average(correlation, weights=np.sqrt(both)))
    assert agreement(one, other, whole).item() == pytest.approx(max(expected), abs=1e-3)
    assert agreement(one, one, whole).item() == pytest.approx(1, abs=1e-4)


def smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian that takes no part of what lies outside."""
    weights = gaussian_filter(np.ones_like(image), sigma, mode="constant", truncate=20)
    return np.asarray(gaussian_filter(image, sigma, mode="constant", truncate=20) / weights)


def test_colour_brightness_and_contrast_do_not_count_and_flat_images_agree_with_nothing() -> None:
    image = rgb(7)
    whole = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    darker = 255 * (image / 255) ** 1.5 * torch.tensor([0.7, 0.5, 0.6]).view(1, 3, 1, 1)
    swapped = image[:, [2, 1, 0]]
    for changed in (darker, swapped):
        assert agreement(changed, image, whole).item() > 0.97
    flat = torch.full_like(image, 120.0)
    assert agreement(flat, image, whole).item() == 0
    assert agreement(image, flat, whole).item() == 0
