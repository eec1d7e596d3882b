"""What a generator is and knows, in words that stand under its name."""

from collections.abc import Iterable

from skindiff.demo.drawing import image_size
from skindiff.demo.generator_cache import Loaded
from skindiff.generators.models import BUNDLED_NAMES

_COLOURS, _SHAPES = ("red", "brown", "pale", "painted"), ("patch", "spots", "lines")
BUNDLED_SUBJECTS = ("smooth skin", "hairy skin", *(f"{c} {s}" for c in _COLOURS for s in _SHAPES))
"""What the bundled pipeline was taught (``scripts/pretrain_tiny_sd.py``)."""
BUNDLED_ABOUT = (
    "A toy: 64 x 64 pixels, taught on computed skin alone, no patient and no disease. It knows "
    f"{', '.join(_COLOURS)} as patch, spots or lines; smooth skin; hairy skin."
)

LATER = "What it is and knows is said here when it is chosen or used."


def about(loaded: Loaded) -> str:
    """Return what a generator is, the size of its images, and what it knows."""
    generator, size = loaded.generator, image_size(loaded)
    toy = generator.place.model in BUNDLED_NAMES
    if toy and generator.adapter is None:
        return BUNDLED_ABOUT
    if not loaded.takes_words:
        kind = f"A {generator.pipeline.family} trained from scratch"
    elif generator.adapter:
        kind = "The bundled toy with an adapter" if toy else "Stable Diffusion with an adapter"
    else:
        kind = "A model of text to image"
    known = generator.class_names
    knows = (
        f"It knows {', '.join(known)}."
        if known
        else "What it was taught is not recorded in it; look where it comes from."
    )
    return f"{kind}: {size} x {size} pixels. {knows}"


def unknown_words(loaded: Loaded, conditions: Iterable[str]) -> list[str]:
    """Return the words of conditions that the generator was never taught, where it is known what it was."""
    generator = loaded.generator
    if generator.place.model not in BUNDLED_NAMES or generator.adapter is not None:
        return []  # others refuse what they do not know, or nobody here knows what they know
    known = {word for subject in BUNDLED_SUBJECTS for word in subject.split()}
    words = dict.fromkeys(word for condition in conditions for word in condition.lower().split())
    return [word for word in words if word not in known]
