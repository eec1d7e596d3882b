"""From which grids the decoders reach an image size; light, so that settings are checked without networks."""

from collections.abc import Sequence

from skindiff.errors import GeneratorError

LARGEST_GRID = 7
"""Side in pixels of the largest grid that Ravani et al.'s decoder starts from: 7 of 224 and 28, 4 of 128,
64 and 32."""


def conv_features(image_size: int, widths: Sequence[int]) -> int:
    """Return how many numbers Le Roux's encoder leaves of an image: with five widths 512 of 28 px, 2,048 of
    64."""
    side = image_size
    for _ in widths:
        side = (side + 1) // 2
    return widths[-1] * side**2


def conv_grid(image_size: int, widths: Sequence[int]) -> tuple[int, int]:
    """Return the side at which Le Roux's decoder starts, and the pixels that its output layer takes off (0
    or 4).

    Raises:
        GeneratorError: no start leads to ``image_size``.
    """
    factor = 2 ** (len(widths) - 1)
    grid = -(-image_size // factor)
    excess = grid * factor - image_size
    if image_size < 1 or excess not in (0, 4):
        raise GeneratorError(
            f"image_size is {image_size}: a decoder of {len(widths)} widths makes multiples of {factor} and "
            f"sizes 4 below one, such as {2 * factor} or {4 * factor}"
        )
    return grid, excess


def start_grid(image_size: int) -> int:
    """Return the side from which Ravani et al.'s decoder doubles up to ``image_size``.

    Raises:
        GeneratorError: the size is not 4 to 7 times a power of two, from 8 on.
    """
    grid = image_size
    while grid > LARGEST_GRID and grid % 2 == 0:
        grid //= 2
    if not 4 <= grid <= LARGEST_GRID or grid == image_size:
        raise GeneratorError(
            f"image_size is {image_size}: this decoder doubles a grid of 4 to {LARGEST_GRID} pixels, so take "
            "one such as 28, 32, 64, 128 or 224"
        )
    return grid
