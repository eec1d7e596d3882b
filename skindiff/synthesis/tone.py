"""Moving the tone of the skin, which plain img2img hardly does: independent noise averages out over an image.

What a start noise of independent pixels leaves untouched is the *mean* of the latent, and with it the overall
colour. Three settings of ``SynthesisConfig.tone`` change that mean (or the colour itself) before denoising:

- ``latent_mean`` moves each channel's mean from where the generator itself puts the source's skin type to
  where it puts the target's, as told by their *prototypes*. Every deviation from the mean, the lesion among
  them, stays as it is, and no photograph of the target group is needed.
- ``offset_noise`` adds a random constant per channel to the start noise, as training with offset noise does,
  and leaves it to the prompt what becomes of it.
- ``colour`` filters the source's pixels first (:mod:`skindiff.synthesis.colour_transfer`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save

from skindiff.errors import SynthesisError
from skindiff.generators.prompts import prompt_for
from skindiff.generators.tokens import encode_prompts
from skindiff.seeding import torch_generator
from skindiff.synthesis.schedulers import make_scheduler

_DRAWS, _STEPS, _BATCH = 24, 10, 8


@dataclass(frozen=True)
class TonePrototypes:
    """Where a generator puts each skin type.

    Attributes:
        means: mean of the (scaled) latents per channel, shape (channels,), float32, by skin type.
    """

    means: dict[str, torch.Tensor]

    def to_bytes(self) -> bytes:
        """Return the content of a safetensors file."""
        return save(self.means)

    @classmethod
    def load(cls, path: Path) -> "TonePrototypes":
        """Read a file of what :meth:`to_bytes` gives."""
        return cls(load_file(path))


def estimate_prototypes(
    pipeline: StableDiffusionPipeline,
    skin_types: Sequence[str],
    subjects: Sequence[str],
    *,
    size: int | None = None,
    seed: int = 0,
    draws: int = _DRAWS,
) -> TonePrototypes:
    """Ask a generator for its own mean latent of each skin type, by drawing from text alone.

    Every type is drawn from the same start noises and subjects, so that what differs is the tone; guidance
    is off, because it would exaggerate the tones.

    Args:
        pipeline: the generator; best before it learnt conditions from one group's images alone.
        skin_types: types to estimate.
        subjects: what the prompts name, taken in turn; a rare condition would drown the words for the tone.
        size: height and width in pixels; the generator's own if left out.
        seed: of the start noises.
        draws: images per type (never decoded); their mean moves the tone, so a few dozen are enough.
    """
    scheduler = make_scheduler("dpmsolver++", pipeline)
    drawing = StableDiffusionPipeline(
        **{**pipeline.components, "scheduler": scheduler}, requires_safety_checker=False
    )
    drawing.set_progress_bar_config(disable=True)
    means = {}
    for skin_type in dict.fromkeys(skin_types):
        prompts = [prompt_for(subjects[draw % len(subjects)], skin_type) for draw in range(draws)]
        embeddings = encode_prompts(pipeline, prompts)
        batches = []
        with torch.inference_mode():
            for start in range(0, draws, _BATCH):
                numbers = range(start, min(start + _BATCH, draws))
                latents = drawing(
                    prompt_embeds=embeddings[start : start + _BATCH],
                    num_inference_steps=_STEPS,
                    guidance_scale=1.0,
                    height=size,
                    width=size,
                    generator=[torch_generator("tone-prototype", seed, number) for number in numbers],
                    output_type="latent",
                ).images
                batches.append(latents.float().mean(dim=(2, 3)).cpu())
        means[skin_type] = torch.cat(batches).mean(dim=0).clone()
    if not all(mean.isfinite().all() for mean in means.values()):
        raise SynthesisError(
            "tone 'latent_mean': the generator's text-to-image samples are not finite: load it in float32 or "
            "bfloat16, or choose tone none"
        )
    return TonePrototypes(means)


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
    missing = {source_type, target} - {None, *prototypes.means}
    if missing:
        raise SynthesisError(
            f"tone 'latent_mean': there is no prototype of skin type {min(map(str, missing))}: estimate it "
            "with estimate_prototypes"
        )
    start = latent.mean(dim=(1, 2)) if source_type is None else prototypes.means[source_type]
    return (strength * (prototypes.means[target] - start))[:, None, None]


def noise_offset(seed: int, channels: int, strength: float) -> torch.Tensor:
    """Return the constant per channel that joins a row's start noise, shape (channels, 1, 1), float32."""
    return strength * torch.randn((channels, 1, 1), generator=torch_generator("noise-offset", seed))


def prototype_types(rows: Sequence[Mapping[str, str | None]]) -> list[str]:
    """Return the skin types whose prototypes are needed to draw ``rows`` of a plan, in order."""
    moved = [
        (row["source_skin_type"], row["skin_type"])
        for row in rows
        if row["tone"] == "latent_mean" and row["source_skin_type"] != row["skin_type"]
    ]
    return sorted({skin_type for pair in moved for skin_type in pair if skin_type is not None})
