"""skindiff: diffusion-based augmentation for skin images, judged with honest statistics.

The rooms, in the order in which data flows: :mod:`skindiff.corpora` (where images come from),
:mod:`skindiff.generators` (what draws images), :mod:`skindiff.training` (how they learn),
:mod:`skindiff.synthesis` (from a generator to a synthetic data set), :mod:`skindiff.evaluation`
(is it any good). ``skindiff.load(source)`` loads any generator; ``register_family`` and ``register_corpus``
add one of a plugin's. Importing this package does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skindiff.corpora.registry import register_corpus as register_corpus
    from skindiff.generators.families import register_family as register_family
    from skindiff.generators.resolve import load as load

__version__ = "0.2.0"


_PUBLIC = {
    "load": "skindiff.generators.resolve",
    "register_corpus": "skindiff.corpora.registry",
    "register_family": "skindiff.generators.families",
}
"""Where each public name is defined."""
__all__ = ["load", "register_corpus", "register_family"]


def __getattr__(name: str) -> Any:
    """Import what is asked for on first use; everything else here is light."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
