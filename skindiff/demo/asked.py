"""What visitors ask for, and its bounds."""

from dataclasses import dataclass
from typing import Literal

from skindiff.demo.config import DemoConfig
from skindiff.demo.photographs import Pixels
from skindiff.demo.seeds import MOST_SEED
from skindiff.errors import GeneratorError, SynthesisError

Tone = Literal["prototype_colour", "colour", "none"]
LONGEST_CONDITION = 80


@dataclass(frozen=True)
class DrawRequest:
    """Images of conditions on skin types: all of each pair, from the same start noises.

    Attributes:
        generator: its name.
        conditions: classes of the generator, or any words where it takes words.
        values: skin types ``"I"`` to ``"VI"``, or values of the generator's own attribute; all of them if
            empty. Class-conditional generators know none.
        count: images of each pair.
        guidance_scale: classifier-free guidance from 1 (none); for generators that diffuse.
        steps: sampler steps; for generators that diffuse.
        seed: same seed, same start noises.
    """

    generator: str
    conditions: tuple[str, ...]
    values: tuple[str, ...] = ()
    count: int = 6
    guidance_scale: float = 2.0
    steps: int = 14
    seed: int = 0


@dataclass(frozen=True)
class TransferRequest:
    """A photograph, to be transferred to skin types (or the generator's own values) from one noise.

    Attributes are those of :class:`DrawRequest`, and:
        photograph: (height, width, 3) uint8 sRGB.
        condition: what it shows.
        value: of the photograph, such as the type of its skin, None where it is not known.
        targets: values to transfer to; all that the generator knows if empty.
        strengths: how far img2img goes back into noise, above 0 and at most 1; all of them for each target.
        tone: how the skin's colour is changed (:class:`~skindiff.synthesis.config.SynthesisConfig`).
    """

    photograph: Pixels
    generator: str = "bundled"
    condition: str = "smooth skin"
    value: str | None = None
    targets: tuple[str, ...] = ()
    strengths: tuple[float, ...] = (0.3,)
    guidance_scale: float = 2.0
    steps: int = 14
    seed: int = 0
    tone: Tone = "prototype_colour"


def refuse_outside(config: DemoConfig, request: DrawRequest | TransferRequest, count: int) -> None:
    """Raise SynthesisError where a number of a request, or of its images, is outside its bounds."""
    for name, value, least, most in (
        ("steps", request.steps, 1, config.max_steps),
        ("guidance", request.guidance_scale, 1, 20),
        ("seed", request.seed, 0, MOST_SEED),
    ):
        if not least <= value <= most:
            raise SynthesisError(f"{name}: {str(value)[:20]} is outside {least} to {most}")
    if not 1 <= count <= config.max_images:
        raise SynthesisError(
            f"images: {str(count)[:20]} in all are outside 1 to {config.max_images}; ask for other numbers"
        )


def condition_of(words: str) -> str:
    """Return a condition as it was typed, without needless spaces.

    Raises:
        GeneratorError: it is empty, too long, or not printable.
    """
    words = " ".join(words.split())
    if not words.isprintable() or not 0 < len(words) <= LONGEST_CONDITION:
        raise GeneratorError(f"condition: give one in 1 to {LONGEST_CONDITION} characters, such as red patch")
    return words
