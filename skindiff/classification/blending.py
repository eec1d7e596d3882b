"""Images that are part real and part synthetic: mixup and cutmix across the two kinds, with soft labels.

Zhang et al. 2018 (mixup, arXiv 1710.09412) and Yun et al. 2019 (cutmix, arXiv 1905.04899), here between a row
and one of the other kind.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from skindiff.seeding import numpy_generator

Blend = Literal["mixup", "cutmix"]
PARTNER = 1 << 40
"""Added to a row's position, so that its partner is augmented by random numbers of its own."""


@dataclass(frozen=True)
class Drawn:
    """Partners of some rows.

    Attributes:
        rows: (b,) of the partners.
        shares: (b,) of each row in the blend, in [0, 1]; the rest is its partner's.
        centres: (b, 2) of the pasted box, in shares of height and width.
    """

    rows: NDArray[np.int64]
    shares: NDArray[np.float64]
    centres: NDArray[np.float64]


@dataclass(frozen=True)
class Blending:
    """How rows of a table are blended with those of the other kind.

    Attributes:
        kind: mixup adds them pixel by pixel; cutmix pastes a box.
        alpha: shares are drawn from Beta(alpha, alpha).
        real: how many rows are real; they come first.
        count: how many rows there are.
    """

    kind: Blend
    alpha: float
    real: int
    count: int

    def draw(self, rows: NDArray[np.int64], positions: NDArray[np.int64], *key: str | int) -> Drawn:
        """Return a partner for each row, decided by the key and the row's position."""
        partners, shares, centres = [], [], []
        for row, position in zip(rows.tolist(), positions.tolist(), strict=True):
            generator = numpy_generator(*key, "blending", int(position))
            first, last = (self.real, self.count) if row < self.real else (0, self.real)
            partners.append(int(generator.integers(first, last)))
            shares.append(float(generator.beta(self.alpha, self.alpha)))
            centres.append(generator.random(2))
        return Drawn(np.array(partners), np.array(shares), np.array(centres).reshape(-1, 2))

    def blend(
        self, images: torch.Tensor, others: torch.Tensor, drawn: Drawn
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return blended images (b, channels, height, width), and the share (b,) of the first in each."""
        shares = torch.as_tensor(drawn.shares, dtype=images.dtype, device=images.device)
        if self.kind == "mixup":
            share = shares.view(-1, 1, 1, 1)
            return share * images + (1 - share) * others, shares
        height, width = images.shape[-2:]
        inside = torch.zeros(len(images), 1, height, width, dtype=torch.bool, device=images.device)
        for place, (share, (y, x)) in enumerate(zip(drawn.shares, drawn.centres, strict=True)):
            half = np.sqrt(1 - share) / 2
            top, bottom = (round(float(np.clip(end, 0, 1)) * height) for end in (y - half, y + half))
            left, right = (round(float(np.clip(end, 0, 1)) * width) for end in (x - half, x + half))
            inside[place, 0, top:bottom, left:right] = True
        kept = 1 - inside.float().mean((1, 2, 3)).to(images.dtype)  # a box at the rim is smaller than drawn
        return torch.where(inside, others, images), kept
