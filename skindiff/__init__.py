"""skindiff: diffusion-based augmentation for skin images, judged with honest statistics.

The rooms, in the order in which data flows: :mod:`skindiff.corpora` (real images and splits),
:mod:`skindiff.generators` (networks and pipelines), :mod:`skindiff.training` (training of generators),
:mod:`skindiff.synthesis` (synthetic data sets), :mod:`skindiff.measures` (measurements
of images), :mod:`skindiff.classification` (classifiers), :mod:`skindiff.evaluation` (statistics),
:mod:`skindiff.report` (reports), :mod:`skindiff.hub`, :mod:`skindiff.demo`, and
:mod:`skindiff.api`, whose functions are available here, from :func:`skindiff.api.corpora.load_corpus` to
:func:`skindiff.api.sharing.push`. Importing this package does not import torch.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skindiff.api.classifiers import train_classifier as train_classifier
    from skindiff.api.corpora import load_corpus as load_corpus
    from skindiff.api.corpora import make_split as make_split
    from skindiff.api.corpora import read_image as read_image
    from skindiff.api.elsewhere import evaluate_elsewhere as evaluate_elsewhere
    from skindiff.api.evaluation import compare as compare
    from skindiff.api.evaluation import evaluate as evaluate
    from skindiff.api.evaluation import fidelity as fidelity
    from skindiff.api.evaluation import find_copies as find_copies
    from skindiff.api.generators import load as load
    from skindiff.api.generators import train_generator as train_generator
    from skindiff.api.generators import train_lora as train_lora
    from skindiff.api.generators import train_textual_inversion as train_textual_inversion
    from skindiff.api.label_errors import find_label_errors as find_label_errors
    from skindiff.api.sharing import push as push
    from skindiff.api.synthesis import generate as generate
    from skindiff.api.synthesis import transfer as transfer
    from skindiff.corpora.registry import register_corpus as register_corpus
    from skindiff.generators.families import register_family as register_family

__version__ = "0.2.0"

# OpenMP's threads spin for milliseconds while they wait, which on shared cores costs everybody many times
# what it gains. Here they spin for some 30 microseconds: alone that is a third faster than to sleep at once,
# beside another process a fifth slower (scripts/bench_shared_machine.py). Read once, as torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_PUBLIC = {
    "read_image": "skindiff.api.corpora",
    "load_corpus": "skindiff.api.corpora",
    "find_label_errors": "skindiff.api.label_errors",
    "make_split": "skindiff.api.corpora",
    "load": "skindiff.api.generators",
    "train_textual_inversion": "skindiff.api.generators",
    "train_lora": "skindiff.api.generators",
    "train_generator": "skindiff.api.generators",
    "train_classifier": "skindiff.api.classifiers",
    "generate": "skindiff.api.synthesis",
    "transfer": "skindiff.api.synthesis",
    "evaluate": "skindiff.api.evaluation",
    "evaluate_elsewhere": "skindiff.api.elsewhere",
    "find_copies": "skindiff.api.evaluation",
    "fidelity": "skindiff.api.evaluation",
    "compare": "skindiff.api.evaluation",
    "push": "skindiff.api.sharing",
    "register_corpus": "skindiff.corpora.registry",
    "register_family": "skindiff.generators.families",
}
"""Where each public name is defined."""
__all__ = [
    "compare",
    "evaluate",
    "evaluate_elsewhere",
    "fidelity",
    "find_copies",
    "find_label_errors",
    "generate",
    "load",
    "load_corpus",
    "make_split",
    "push",
    "read_image",
    "register_corpus",
    "register_family",
    "train_classifier",
    "train_generator",
    "train_lora",
    "train_textual_inversion",
    "transfer",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for on first use; everything else here is light."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])


if "pdoc" in sys.modules:
    del __all__  # by which it leaves out all rooms, and finds no name that is imported on first use
