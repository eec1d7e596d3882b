"""Sample grids of a generator while it is being trained."""

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
        pipeline: its scheduler is put back afterwards.
        prompts: rows of equal length.
        path: of the PNG file.
        size: height and width of each image in pixels.
        seed: of the first noise.
        steps: of DPM-Solver++, or of Euler's method of flow matching.
        guidance_scale: weight of the prompt.
    """
    scheduler = pipeline.scheduler
    grid = Image.new("RGB", (size * len(prompts[0]), size * len(prompts)))
    if not isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(scheduler.config)
    guidance = architecture_of(pipeline).guidance(guidance_scale)
    try:
        for y, row in enumerate(prompts):
            for x, prompt in enumerate(row):
                image = pipeline(
                    prompt,
                    height=size,
                    width=size,
                    num_inference_steps=steps,
                    **guidance,
                    generator=torch_generator("sample_grid", seed, x),
                ).images[0]
                grid.paste(image, (x * size, y * size))
    finally:
        pipeline.scheduler = scheduler
    with replacing(path) as partial:
        grid.save(partial, format="PNG")
