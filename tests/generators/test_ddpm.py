from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler

from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators.ddpm import ConditionalDDPMPipeline, build_unet, check_levels, default_widths
from tests.tiny_generators import tiny_ddpm

REPOSITORY = Path(__file__).resolve().parents[2]


def _generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize(
    "scheduler", ["ddpm", "ddim", "dpmsolver++", "unipc", "euler", "DEISMultistepScheduler"]
)
def test_an_image_depends_on_its_own_label_and_generator_alone(scheduler: str) -> None:
    pipeline = tiny_ddpm()

    def draw(labels: list[int], seeds: list[int]) -> torch.Tensor:
        options = {"steps": 3, "guidance_scale": 2.0, "scheduler": scheduler, "output_type": "pt"}
        return pipeline(labels, generator=_generators(*seeds), **options).images

    images = draw([0, 1, 1], [5, 6, 7])

    assert images.shape == (3, 3, 8, 8)
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images, draw([0, 1, 1], [5, 6, 7]))
    assert torch.equal(images[1], draw([1, 1, 0], [9, 6, 4])[1])
    assert not torch.equal(images[1], draw([1, 0, 0], [9, 6, 4])[1])
    assert not torch.equal(images[1], images[2])


def test_guidance_moves_away_from_the_null_class_and_one_is_none() -> None:
    pipeline = tiny_ddpm()
    labels = torch.tensor([0, 1])
    forwards: list[int] = []
    pipeline.unet.register_forward_hook(lambda module, args, output: forwards.append(len(args[0])))

    def draw(codes: torch.Tensor, guidance_scale: float) -> torch.Tensor:
        return pipeline.draw(codes, _generators(1, 2), steps=1, guidance_scale=guidance_scale)

    plain, guided = draw(labels, 1.0), draw(labels, 3.0)
    free = draw(torch.full((2,), pipeline.null_class), 1.0)

    assert forwards == [2, 4, 2]
    assert not torch.equal(plain, guided)
    assert not torch.equal(plain, free)
    with torch.no_grad():
        pipeline.unet.class_embedding.weight[:] = pipeline.unet.class_embedding.weight[-1]
    assert torch.allclose(draw(labels, 1.0), draw(labels, 3.0), atol=1e-5)


def test_grey_images_and_patches_of_one_pixel(tmp_path: Path) -> None:
    unet = build_unet(2, 8, channels=1, patch=1, widths=[32])
    scheduler = DDPMScheduler(prediction_type="v_prediction", beta_schedule="squaredcos_cap_v2")
    pipeline = ConditionalDDPMPipeline(unet, scheduler, ["one", "two"], 8, channels=1)
    pipeline.set_progress_bar_config(disable=True)

    image = pipeline("two", steps=2).images[0]

    assert (image.mode, image.size) == ("L", (8, 8))


def test_widths_follow_the_size() -> None:
    assert default_widths(14) == [64, 128]
    assert default_widths(16) == [64, 96, 128]
    assert default_widths(112) == [64, 96, 128, 128, 128]
    for image_size in (28, 32, 64, 128, 224):
        assert check_levels(image_size, 2, None, ())


@pytest.mark.parametrize(("settings", "message"), [
    ({"image_size": 31, "patch": 2}, r"patch: 2 does not divide image_size=31"),
    ({"image_size": 28, "patch": 2, "widths": [64, 96, 128]}, r"3 levels halve 14 patches 2 times"),
    ({"image_size": 32, "patch": 2, "widths": [40]}, r"widths: \[40\] must be multiples of 32"),
    ({"image_size": 32, "patch": 2, "attention_sides": [5]}, r"attention_sides: 5 is not a side"),
])  # fmt: skip
def test_levels_that_cannot_be_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_unet(2, **settings)


def test_what_does_not_fit_the_pipeline_is_named() -> None:
    pipeline = tiny_ddpm()

    with pytest.raises(GeneratorError, match="3 names for a U-Net of 3 class embeddings"):
        ConditionalDDPMPipeline(pipeline.unet, pipeline.scheduler, ["a", "b", "c"], 8)
    with pytest.raises(GeneratorError, match="image_size: 16 px with channels=3 do not fit"):
        ConditionalDDPMPipeline(pipeline.unet, pipeline.scheduler, ["a", "b"], 16)
    with pytest.raises(GeneratorError, match="'dpm' cannot follow a DDPMScheduler; use one of dpmsolver"):
        pipeline("one", scheduler="dpm")
    with pytest.raises(GeneratorError, match="steps is 0"):
        pipeline("one", steps=0)
