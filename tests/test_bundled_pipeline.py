from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

import skindiff
from skindiff.corpora.phantom_lesions import LESION_CLASSES
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.loading import load_pipeline
from skindiff.measures.skin.tone import image_ita

FOLDER = Path(skindiff.__file__).parent / "assets" / "tiny-skin-sd"


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    pipeline = load_pipeline("bundled")
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def test_the_bundled_pipeline_is_small_and_safe() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 12e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".md"}


def test_it_is_a_plain_pipeline_that_knows_no_lesion_class(pipeline: StableDiffusionPipeline) -> None:
    plain = StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    assert type(plain.unet) is type(pipeline.unet)
    vocabulary = pipeline.tokenizer.get_vocab()
    assert "skin</w>" in vocabulary
    assert not [name for name in LESION_CLASSES if f"{name}</w>" in vocabulary]


@pytest.mark.slow
def test_the_measured_tone_follows_the_prompt(pipeline: StableDiffusionPipeline) -> None:
    medians = []
    for skin_type in SKIN_TYPES:
        images = pipeline(
            [prompt_for("smooth skin", skin_type)] * 6,
            num_inference_steps=12,
            guidance_scale=3.0,
            generator=[torch.Generator().manual_seed(seed) for seed in range(6)],
            output_type="np",
        ).images
        pixels = (images * 255).round().astype(np.uint8)
        assert pixels.std(axis=(1, 2)).max() > 2, "a constant image is no skin"
        angles = [image_ita(image) for image in pixels]
        medians.append(float(np.median([angle for angle in angles if angle is not None])))
    assert all(lighter > darker for lighter, darker in pairwise(medians)), medians
    assert medians[0] > 45
    assert medians[-1] < 0
