"""Whether a generator has collapsed: how far draws of a class lie apart, beside how far real images do."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from skindiff.corpora.image_table import ImageTable
from skindiff.seeding import numpy_generator, torch_generator
from skindiff.training.generator_data import generator_images

SETTLING_BATCHES, SETTLING_ROWS = 16, 32
COARSE = 8
"""Side in pixels to which images are averaged before they are compared, so that noise is not diversity."""
PREFIX = "diversity_"


def settle_statistics(generator: nn.Module, latent_size: int, labels: np.ndarray, seed: int) -> nn.Module:
    """Give batch norm the mean statistics of the weights as they are, and return the generator in eval mode.

    Running statistics trail behind weights that move, and do not belong to averaged weights at all: those
    are what BigGAN calls standing statistics (Brock et al. 2019, appendix C.1). A generator without batch
    norm comes back as it is.

    Args:
        generator: maps (batch, latent_size) noise and labels to images.
        latent_size: of the noise.
        labels: (n,) int64 codes to draw classes from, as often as they occur.
        seed: of noise and classes.
    """
    generator.eval()
    norms = [part for part in generator.modules() if isinstance(part, nn.BatchNorm2d)]
    if not norms:
        return generator
    device = next(generator.parameters()).device
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    for batch in range(SETTLING_BATCHES):
        rows = numpy_generator("settle", seed, batch).integers(len(labels), size=SETTLING_ROWS)
        noise = torch.randn(SETTLING_ROWS, latent_size, generator=torch_generator("settle", seed, batch))
        with torch.no_grad():
            generator(noise.to(device), torch.from_numpy(labels[rows]).to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return generator


@dataclass(frozen=True)
class DiversityGauge:
    """Compares draws with real images, class by class.

    Attributes:
        table: real images of :func:`~skindiff.training.generator_data.generator_table`.
        images: how many of a class are drawn.
        seed: of noise and the choice of real images.
    """

    table: ImageTable
    images: int
    seed: int

    def __call__(self, generator: nn.Module, latent_size: int) -> dict[str, float]:
        """Return ``diversity_<class>``, the mean distance of two draws over that of two real images.

        About 1 is as diverse as the real images, 0 one picture for all noise. A class of which all real
        images are equal, or there is only one, has no ratio and is left out.
        """
        settled = settle_statistics(copy.deepcopy(generator), latent_size, self.table.labels, self.seed)
        ratios = {}
        for code, name in enumerate(self.table.class_names):
            real = self._real(code)
            if real > 0:
                ratios[PREFIX + name] = self._drawn(settled, latent_size, code) / real
        return ratios

    def _real(self, code: int) -> float:
        rows = np.flatnonzero(self.table.labels == code)
        rows = numpy_generator("diversity", self.seed, code).permutation(rows)[: self.images]
        return mean_distance(generator_images(self.table.pixels[rows], torch.device("cpu")))

    def _drawn(self, generator: nn.Module, latent_size: int, code: int) -> float:
        device = next(generator.parameters()).device
        noise = torch.randn(self.images, latent_size, generator=torch_generator("diversity", self.seed, code))
        with torch.no_grad():
            images = generator(noise.to(device), torch.full((self.images,), code, device=device))
        return mean_distance(images.float().cpu())


def mean_distance(images: torch.Tensor) -> float:
    """Return the mean RMS difference of two of (n, channels, height, width) images, 0 for n < 2."""
    if len(images) < 2:
        return 0.0
    flat = functional.adaptive_avg_pool2d(images, COARSE).flatten(1)
    return float(torch.pdist(flat).mean()) / flat.shape[1] ** 0.5


def collapsed_classes(row: dict[str, float], class_names: Sequence[str], below: float) -> list[str]:
    """Return the classes whose diversity in a row of the log is under ``below``."""
    return [name for name in class_names if row.get(PREFIX + name, 1.0) < below]
