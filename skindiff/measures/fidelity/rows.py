"""The rows of the report's key ``fidelity``, as they are in JSON."""

from typing import Literal, TypedDict

Grouping = Literal["class", "attribute"]


class FidelityGroup(TypedDict):
    """The scores of a class, or of a value of what is scarce; ``by`` is ``class`` or the column of that, such
    as ``skin_type``."""

    by: str
    name: str
    real: int
    generated: int
    scores: dict[str, float]


class FidelityContent(TypedDict):
    """The fields of :class:`~skindiff.measures.fidelity.scores.Fidelity`."""

    features: str
    real: int
    generated: int
    kid_subset_size: int
    scores: dict[str, float]
    groups: list[FidelityGroup]
    warning: str | None


class FidelityRow(FidelityContent):
    """A row of the report's key ``fidelity``: the name of the images, their seed, and the scores."""

    images: str
    seed: int
