"""sdxl.yaml is read and runs small, on a tiny Stable Diffusion XL beside a tiny Stable Diffusion."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recipes.fitz_lora import FitzLoraConfig, main
from skindiff.config import parse_config
from skindiff.synthesis.strategies import FurtherGenerator
from tests.recipes.tiny_study import SMOKE, tiny_study
from tests.tiny import save_tiny_pipeline, tiny_sdxl


def small(settings: Any) -> Any:
    """A training of the file, of two steps at 32 px."""
    loop = replace(settings.loop, steps=2, checkpoint_every=0)
    return replace(settings, image_size=32, validation_examples=0, loop=loop)


@pytest.mark.slow
def test_the_settings_run_small_with_an_arm_for_each_base(tmp_path: Path, model: Path) -> None:
    given = parse_config(FitzLoraConfig, ["--config", str(SMOKE.with_name("sdxl.yaml"))], default=SMOKE)
    assert given.generator.model == "stabilityai/stable-diffusion-xl-base-1.0"
    xl = save_tiny_pipeline(tmp_path / "xl", build=tiny_sdxl)
    trainings = replace(
        given.generator,
        model=str(xl),
        textual_inversion=small(given.generator.textual_inversion),
        lora=small(given.generator.lora),
    )
    config = tiny_study(
        tmp_path / "run",
        xl,
        generator=trainings,
        # Of another size than the corpus, as in paper.yaml.
        synthesis=replace(given.synthesis, steps=4, images_per_source=1, output_size=16),
        further_generators={"sd": FurtherGenerator(model=str(model))},
    )
    asked = replace(config.experiment, arms=["real", "real+syn"])
    config = replace(config, experiment=asked, copying=replace(config.copying, enabled=False))
    main(config)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    drawn = {row["generator"] for row in report["results"] if row["arm"] == "real+syn"}
    assert len(drawn) == 2
    kinds = {
        path.read_text().partition("base_class: ")[2].split()[0]
        for path in (tmp_path / "run").glob("stages/lora-*/adapter/config.yaml")
    }
    assert kinds == {"StableDiffusionPipeline", "StableDiffusionXLPipeline"}
