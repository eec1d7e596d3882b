"""Precision, recall, density and coverage image by image, for intervals over images.

Kynkaanniemi et al. 2019 (arXiv 1904.06991): precision is the share of generated images inside a ball around a
real one, recall the share of real images inside a ball around a generated one. Naeem et al. 2020 (arXiv
2002.09797), equations 4 and 5: density is how many real images' balls a generated image lies in, over the
number of neighbours; coverage is the share of real balls with a generated image. A ball reaches to its
image's n-th nearest of the same side. torch-fidelity has the first two, no library that is kept up has the
others.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances

from skindiff.seeding import numpy_generator

FloatArray = NDArray[np.float64]


def manifold_shares(real: FloatArray, generated: FloatArray, neighbours: int) -> dict[str, FloatArray]:
    """Return what each image adds to each score, whose mean is the score.

    Args:
        real: (n, features).
        generated: (m, features).
        neighbours: which nearest neighbour a ball reaches to.

    Returns:
        ``precision`` and ``density`` of shape (m,), ``recall`` and ``coverage`` of shape (n,).
    """
    across = pairwise_distances(real, generated)
    real_balls, generated_balls = (
        np.partition(pairwise_distances(one), neighbours, axis=1)[:, neighbours] for one in (real, generated)
    )
    # Precision and recall count the rim of a ball, as torch-fidelity does; density and coverage do not.
    within, inside = across <= real_balls[:, None], across < real_balls[:, None]
    return {
        "precision": within.any(axis=0).astype(np.float64),
        "recall": (across <= generated_balls[None]).any(axis=1).astype(np.float64),
        "density": inside.sum(axis=0) / neighbours,
        "coverage": inside.any(axis=1).astype(np.float64),
    }


def manifold_intervals(
    shares: dict[str, FloatArray], replicates: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return 95% bootstrap intervals over the images of each score, with the balls as they are.

    Args:
        shares: from :func:`manifold_shares`.
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """
    found = {}
    for name, values in shares.items():
        chances = np.full(len(values), 1 / len(values))
        drawn = numpy_generator("manifold bootstrap", name, seed).multinomial(
            len(values), chances, size=replicates
        )
        low, high = np.percentile(drawn @ values / len(values), (2.5, 97.5))
        found[name] = (float(low), float(high))
    return found
