"""Sample grids of a generator while it is being trained."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from PIL import Image

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.files import replacing
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.seeding import torch_generator

_MOST_SUBJECTS = 8


def grid_prompts(subjects: Sequence[str], attribute: Attribute | None) -> list[list[str]]:
    """Return rows of prompts: one of the majority and one of the minority, or a single one that names
    neither.

    Args:
        subjects: what prompts name.
        attribute: whose last majority and first minority value are named, II and V of skin types; None for
            none.
    """
    values = (attribute.of_majority[-1], attribute.of_minority[0]) if attribute else (None,)
    return [
        [prompt_for(subject, value, attribute or SKIN_TYPE) for subject in subjects[:_MOST_SUBJECTS]]
        for value in values
    ]


def draw_grid(
    pipeline: Any,
    prompts: Sequence[Sequence[str]],
    path: Path,
    *,
    size: int,
    seed: int,
    steps: int = 20,
    guidance_scale: float = 3.0,
) -> None:
    """Generate an image per prompt with the modules as they are and write the grid as a PNG, in one piece.

    Columns share their first noise from one call to the next, so grids of different steps can be compared.

    Args:
        pipeline: it is left as it is.
        prompts: rows of equal length.
        path: of the PNG file.
        size: height and width of each image in pixels.
        seed: of the first noise.
        steps: of DPM-Solver++, or of Euler's method of flow matching.
        guidance_scale: weight of the prompt.
    """
    architecture, kind = architecture_of(pipeline), type(pipeline.scheduler)
    if kind is not FlowMatchEulerDiscreteScheduler:
        kind = DPMSolverMultistepScheduler
    drawing = architecture.drawing(pipeline, "txt2img", kind.from_config(pipeline.scheduler.config))
    asked = [*itertools.chain(*prompts), ""]
    told = architecture.encode_prompts(pipeline, asked).cast(architecture.network(pipeline).dtype)
    grid = Image.new("RGB", (size * len(prompts[0]), size * len(prompts)))
    for y, row in enumerate(prompts):
        for x, prompt in enumerate(row):
            place = asked.index(prompt)
            latents = drawing(
                **architecture.conditions(told[place : place + 1], told[-1:]),
                **architecture.guidance(guidance_scale),
                height=size,
                width=size,
                num_inference_steps=steps,
                generator=torch_generator("sample_grid", seed, x),
                output_type="latent",
            ).images
            pixels = architecture.decode(pipeline, architecture.unpack(pipeline, latents, size, size))
            levels = (pixels[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
            grid.paste(Image.fromarray(levels.cpu().numpy()), (x * size, y * size))
    with replacing(path) as partial:
        grid.save(partial, format="PNG")
