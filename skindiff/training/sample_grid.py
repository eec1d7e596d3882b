"""Sample grids of a generator while it is being trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusers import DPMSolverMultistepScheduler
from PIL import Image

from skindiff.files import replacing
from skindiff.generators.prompts import prompt_for
from skindiff.seeding import torch_generator

_MOST_SUBJECTS = 8


def grid_prompts(subjects: Sequence[str], *, mention_tone: bool) -> list[list[str]]:
    """Return rows of prompts: one on light and one on dark skin, or a single one that leaves the tone out."""
    tones = ("II", "V") if mention_tone else (None,)
    return [[prompt_for(subject, tone) for subject in subjects[:_MOST_SUBJECTS]] for tone in tones]


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
        steps: DPM-Solver++ steps.
        guidance_scale: weight of the prompt.
    """
    scheduler = pipeline.scheduler
    grid = Image.new("RGB", (size * len(prompts[0]), size * len(prompts)))
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(scheduler.config)
    try:
        for y, row in enumerate(prompts):
            for x, prompt in enumerate(row):
                image = pipeline(
                    prompt,
                    height=size,
                    width=size,
                    num_inference_steps=steps,
                    guidance_scale=guidance_scale,
                    generator=torch_generator("sample_grid", seed, x),
                ).images[0]
                grid.paste(image, (x * size, y * size))
    finally:
        pipeline.scheduler = scheduler
    with replacing(path) as partial:
        grid.save(partial, format="PNG")
