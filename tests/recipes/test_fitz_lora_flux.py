"""flux.yaml is read and runs small, on a tiny FLUX.1 of dev's kind."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from recipes.fitz_lora import FitzLoraConfig, main
from skindiff.config import parse_config
from tests.recipes.tiny_study import SMOKE, tiny_study
from tests.tiny import save_tiny_pipeline, tiny_flux


@pytest.mark.slow
def test_the_settings_run_small(tmp_path: Path) -> None:
    given = parse_config(FitzLoraConfig, ["--config", str(SMOKE.with_name("flux.yaml"))], default=SMOKE)
    assert given.generator.model == "black-forest-labs/FLUX.1-dev"
    assert given.strategies == ["img2img lora"]
    base = save_tiny_pipeline(tmp_path / "flux", build=tiny_flux)
    lora = given.generator.lora
    loop = replace(lora.loop, steps=2, checkpoint_every=0)
    lora = replace(lora, image_size=32, validation_examples=4, loop=loop)
    config = tiny_study(
        tmp_path / "run",
        base,
        strategies=given.strategies,
        generator=replace(given.generator, model=str(base), lora=lora),
        synthesis=replace(given.synthesis, steps=4, images_per_source=1, image_size=32),
    )
    asked = replace(config.experiment, arms=["real", "real+syn"])
    config = replace(config, experiment=asked, copying=replace(config.copying, enabled=False))
    main(config)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert {row["arm"] for row in report["results"]} == {"real", "real+syn"}
    (adapter,) = (tmp_path / "run").glob("stages/lora-*/adapter/config.yaml")
    record = yaml.safe_load(adapter.read_text())
    assert record["base_class"] == "FluxPipeline"
    assert record["lora"]["flow"]["guidance"] == 1.0
