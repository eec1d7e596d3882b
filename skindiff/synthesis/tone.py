"""Moving the tone of the skin, which plain img2img hardly does: independent noise averages out over an image.

What a start noise of independent pixels leaves untouched is the *mean* of the latent, and with it the overall
colour. Five settings of ``SynthesisConfig.tone`` change that mean (or the colour itself) before denoising:

- ``prototype_colour`` filters the source's pixels (:mod:`skindiff.synthesis.colour_transfer`) from the colour
  in which the generator itself shows the source's skin type to that of the target's, as told by their
  *prototypes*. Whatever is on the skin is filtered with it, as melanin does, and no photograph of the target
  group is needed.
- ``prototype_contrast`` moves the skin by the same gain, and what deviates from it as the generator itself
  shows it: prototypes of two types come from the same start noises and subjects, so they show the same marks
  at the same places, and how their contrast differs is measured on them. Brown marks stand out more from dark
  skin and redness less, which no filter can do.
- ``latent_mean`` moves each channel's mean from where the generator itself puts the source's skin type to
  where it puts the target's, by the same prototypes. Every deviation from the mean, the lesion among them,
  stays as it is in the latent; but a decoder is not linear, and colours get too lively on dark skin.
- ``offset_noise`` adds a random constant per channel to the start noise, as training with offset noise does,
  and leaves it to the prompt what becomes of it.
- ``colour`` filters the source's pixels between skin colours measured on photographs instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save

from skindiff.errors import SynthesisError
from skindiff.foreign import Malformed
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.progress import progress
from skindiff.seeding import torch_generator
from skindiff.synthesis.colour_transfer import Lab, measure_contrast, measure_references
from skindiff.synthesis.rows import PlanRow
from skindiff.synthesis.schedulers import make_scheduler
from skindiff.weights import read_tensors

PROTOTYPE_TONES = ("prototype_colour", "prototype_contrast", "latent_mean")
"""Settings that need prototypes."""
_DRAWS, _STEPS, _BATCH = 24, 10, 8


@dataclass(frozen=True)
class TonePrototypes:
    """Where a generator puts each skin type.

    Attributes:
        means: mean of the (scaled) latents per channel, shape (channels,), float32, by skin type.
        colours: CIE L*, a*, b* (D65) of the skin, by skin type: the median over images of each one's median.
        contrasts: how deviations from the skin differ (:func:`measure_contrast`), by ``source>target``.
    """

    means: dict[str, torch.Tensor]
    colours: dict[str, Lab]
    contrasts: dict[str, torch.Tensor] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the content of a safetensors file."""
        colours = {name: torch.tensor(colour) for name, colour in self.colours.items()}
        tensors = {"mean": self.means, "colour": colours, "contrast": self.contrasts}
        return save({f"{kind}.{name}": one for kind, named in tensors.items() for name, one in named.items()})

    @classmethod
    def load(cls, path: Path) -> "TonePrototypes":
        """Read a file of what :meth:`to_bytes` gives."""
        found: dict[str, dict[str, torch.Tensor]] = {"mean": {}, "colour": {}, "contrast": {}}
        for name, tensor in load_file(path).items():
            kind, skin_type = name.split(".")
            found[kind][skin_type] = tensor
        colours: dict[str, Any] = {name: tuple(one.tolist()) for name, one in found["colour"].items()}
        return cls(found["mean"], colours, found["contrast"])

    def refuse_missing(self, skin_types: set[str | None], tone: str) -> None:
        """Raise :class:`SynthesisError` if a skin type (None is no type) has no prototype."""
        if missing := skin_types - {None, *self.means}:
            raise SynthesisError(
                f"tone {tone!r}: there is no prototype of skin type {min(map(str, missing))}: estimate it "
                "with estimate_prototypes"
            )


def read_prototypes(path: Path) -> TonePrototypes:
    """Read tone prototypes that somebody names.

    Raises:
        SynthesisError: the file holds none.
    """
    try:
        tensors = read_tensors(path)
        shapes = {"mean": 1, "colour": 1, "contrast": 2}
        for name, tensor in tensors.items():
            kind, dot, _ = name.partition(".")
            if not dot or tensor.ndim != shapes.get(kind) or (kind == "colour" and len(tensor) != 3):
                raise Malformed("its tensors are none of tones")
    except Malformed as error:
        raise SynthesisError(
            f"tones: {path} holds none ({error}); give the tone_prototypes.safetensors of a transfer, or "
            "leave the setting out"
        ) from error
    return TonePrototypes.load(path)


def estimate_prototypes(
    pipeline: Any,
    skin_types: Sequence[str],
    subjects: Sequence[str],
    *,
    size: int | None = None,
    seed: int = 0,
    draws: int = _DRAWS,
) -> TonePrototypes:
    """Measure a generator's own mean latent of each skin type, on images from text alone.

    Every type is generated from the same start noises and subjects, so that what differs is the tone;
    guidance is off, because it would exaggerate the tones.

    Args:
        pipeline: the generator; best before it learnt conditions from one group's images alone.
        skin_types: types to estimate.
        subjects: what the prompts name, taken in turn; a rare condition would drown the words for the tone.
        size: height and width in pixels; the generator's own if left out.
        seed: of the start noises.
        draws: images per type; their mean and median set the tone, so a few dozen are enough.
    """
    architecture = architecture_of(pipeline)
    drawing = architecture.drawing(pipeline, "txt2img", make_scheduler(architecture.samplers[0], pipeline))
    size = size or architecture.image_size(pipeline)
    means: dict[str, torch.Tensor] = {}
    pictures: dict[str, NDArray[np.uint8]] = {}
    types = list(dict.fromkeys(skin_types))
    for skin_type in progress(types, desc="tone of each skin type", unit="type"):
        prompts = [prompt_for(subjects[draw % len(subjects)], skin_type) for draw in range(draws)]
        embeddings = architecture.encode_prompts(pipeline, prompts).cast(architecture.network(pipeline).dtype)
        batches, shown = [], []
        with torch.inference_mode():
            for start in range(0, draws, _BATCH):
                numbers = range(start, min(start + _BATCH, draws))
                latents = drawing(
                    **architecture.conditions(embeddings[start : start + _BATCH]),
                    num_inference_steps=_STEPS,
                    **architecture.guidance(1.0),
                    height=size,
                    width=size,
                    generator=[torch_generator("tone-prototype", seed, number) for number in numbers],
                    output_type="latent",
                ).images
                latents = architecture.unpack(pipeline, latents, size, size)
                batches.append(latents.float().mean(dim=(2, 3)).cpu())
                shown.append(_decoded(pipeline, latents))
        means[skin_type] = torch.cat(batches).mean(dim=0).clone()
        pictures[skin_type] = np.concatenate(shown)
    if not all(mean.isfinite().all() for mean in means.values()):
        raise SynthesisError(
            "tone_subject: the generator's text-to-image samples are not finite: load it in float32 or "
            "bfloat16, or choose tone none"
        )
    colours = {name: measure_references(own, [name] * draws)[name] for name, own in pictures.items()}
    contrasts = {
        f"{source}>{target}": torch.from_numpy(measure_contrast(pictures[source], pictures[target]))
        for source, target in permutations(types, 2)
    }
    return TonePrototypes(means, colours, contrasts)


def subjects_of(tone_subject: str) -> list[str]:
    """Return what ``SynthesisConfig.tone_subject`` names: subjects, with commas between them."""
    return [subject.strip() for subject in tone_subject.split(",")]


def _decoded(pipeline: Any, latents: torch.Tensor) -> NDArray[np.uint8]:
    """Return scaled latents as (n, height, width, 3) images; what is not finite is black."""
    pixels = architecture_of(pipeline).decode(pipeline, latents)
    levels = (pixels.nan_to_num(0.0).clamp(0, 1) * 255).round().byte()
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def latent_shift(
    latent: torch.Tensor,
    source_type: str | None,
    target: str,
    prototypes: TonePrototypes,
    strength: float,
) -> torch.Tensor:
    """Return what to add to a source's latent to move its tone towards ``target``.

    A source that has the target's type is not moved. A source of unknown type is moved from its own mean.

    Args:
        latent: scaled latent of the source, shape (channels, height, width).
        source_type: its skin type, or ``None``.
        target: skin type to move to.
        prototypes: must hold both types.
        strength: share of the way, 0 to 1 (or beyond).

    Returns:
        Shape (channels, 1, 1), float32.

    Raises:
        SynthesisError: a type has no prototype.
    """
    prototypes.refuse_missing({source_type, target}, "latent_mean")
    start = latent.mean(dim=(1, 2)) if source_type is None else prototypes.means[source_type]
    return (strength * (prototypes.means[target] - start))[:, None, None]


def noise_offset(seed: int, channels: int, strength: float) -> torch.Tensor:
    """Return the constant per channel that joins a row's start noise, shape (channels, 1, 1), float32."""
    return strength * torch.randn((channels, 1, 1), generator=torch_generator("noise-offset", seed))


def prototype_types(rows: Sequence[PlanRow]) -> list[str]:
    """Return the skin types whose prototypes are needed to generate ``rows`` of a plan, in order."""
    moved = [
        (row["source_skin_type"], row["skin_type"])
        for row in rows
        if row["tone"] in PROTOTYPE_TONES and row["source_skin_type"] != row["skin_type"]
    ]
    return sorted({skin_type for pair in moved for skin_type in pair if skin_type is not None})
