"""skindiff: diffusion-based augmentation for skin images, judged with honest statistics.

The rooms, in the order in which data flows: :mod:`skindiff.corpora` (where images come from),
:mod:`skindiff.generators` (what draws images), :mod:`skindiff.training` (how they learn),
:mod:`skindiff.synthesis` (from a generator to a synthetic data set), :mod:`skindiff.evaluation`
(is it any good). ``skindiff.load(source)`` loads any generator. Importing this package
does not import torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skindiff.generators.resolve import load as load

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is asked for on first use; everything else here is light."""
    if name == "load":
        from skindiff.generators.resolve import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
