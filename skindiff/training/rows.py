"""What a training leaves for the report; this module loads nothing heavy."""

from typing import TypedDict


class Diversity(TypedDict):
    """What a GAN's training keeps of its last step: ratios to real images, and the collapsed classes."""

    collapse_below: float
    of_real: dict[str, float]
    collapsed: list[str]
