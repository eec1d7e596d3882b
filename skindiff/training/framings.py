"""What of its original each training image shows, which some architectures are told (SDXL's time ids).

Podell et al. 2023 (arXiv 2307.01952), section 2.2. All numbers count pixels.
"""

import torch
from accelerate.logging import get_logger
from datasets import Dataset

from skindiff.corpora.buckets import FRAMED, row_sizes
from skindiff.generators.text_to_image.architecture import Architecture
from skindiff.generators.text_to_image.conditioning import Conditioning

logger = get_logger(__name__)


def image_conditions(architecture: Architecture, dataset: Dataset, size: int) -> Conditioning:
    """Return what a network is told of the rows of a table, and of their mirror images.

    Args:
        architecture: of the network.
        dataset: training rows of the schema. Without the column ``framed``, which the cache of a corpus
            gives, images count as not resized and not cropped, as they do where pipelines generate.
        size: height and width of the training images, or of the square that buckets have the area of.

    Returns:
        Tensors of shape (rows, 2, ...), the image and its mirror image.
    """
    found = architecture.image_conditions(framings(dataset, size))
    if found.tensors and FRAMED not in dataset.column_names:
        logger.info("what was cut from the images is not known: the network is told that nothing was")
    return found


def framings(dataset: Dataset, size: int) -> torch.Tensor:
    """Return height and width of the original, top and left of the crop, height and width of the image.

    The crop is given at the scale of the image, in which it was cut out of a resized original. Of a mirror
    image it is that in the mirrored original.

    Args:
        dataset: see :func:`image_conditions`.
        size: see :func:`image_conditions`.

    Returns:
        (rows, 2, 6) int64: the image and its mirror image.
    """
    shapes = row_sizes(dataset, size)
    if FRAMED in dataset.column_names:
        framed = dataset[FRAMED][:]
    else:
        framed = [(height, width, 0, 0, height, width) for width, height in shapes]
    rows = []
    for (wide, tall), (height, width, top, left, bottom, right) in zip(shapes, framed, strict=True):
        down, across = tall / (bottom - top), wide / (right - left)
        places = round(left * across), round((width - right) * across)
        rows.append([(height, width, round(top * down), place, tall, wide) for place in places])
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 2, 6)
