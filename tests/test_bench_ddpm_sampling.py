import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonargparse import auto_cli

from skindiff.corpora.phantom import PhantomConfig
from skindiff.corpora.registry import CorpusConfig
from skindiff.errors import ConfigError
from skindiff.measures.features import FeatureConfig
from skindiff.training.ddpm import DDPMConfig
from skindiff.training.loop_config import LoopConfig
from tests.test_scripts import load_script

pytest.importorskip("torch_fidelity")
bench = load_script("bench_ddpm_sampling")


def _config(folder: Path) -> object:
    phantom = PhantomConfig(classes=["nodule", "ulcer"], images_per_class={"I": 12})
    ddpm = DDPMConfig(
        image_size=16, widths=[32], validation_examples=0, loop=LoopConfig(steps=2, batch_size=2)
    )
    return bench.Bench(
        output_dir=str(folder),
        corpus=CorpusConfig(image_size=16, phantom=phantom),
        ddpm=ddpm,
        features=FeatureConfig("test_resnet", weights="random", image_size=32),
        images=8,
        batch_size=4,
        ancestral_steps=40,
        solver_steps=1,
        held_out_share=0.4,
    )


def test_both_samplers_are_compared_and_nothing_is_drawn_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _config(tmp_path)

    result = bench.main(config)

    assert result["speed"]["median"] > 2
    assert result["seconds_per_image"]["ancestral"] > result["seconds_per_image"]["fast"]
    kid = result["kid_difference"]
    assert kid["low"] < kid["value"] < kid["high"]
    assert kid["margin"] == pytest.approx(bench.MARGIN * result["scores"]["ancestral"]["kid"])
    text = capsys.readouterr().out
    assert text.startswith("aims: 20 times as fast")
    assert "random weights, 32 px" in text
    monkeypatch.setattr(bench, "train_ddpm", None)
    monkeypatch.setattr(bench.ConditionalDDPMPipeline, "draw", None)
    again = bench.main(config)
    for part in ("speed", "kid_difference", "scores", "met", "pipeline"):
        assert again[part] == result[part]
    assert json.loads((tmp_path / "bench.json").read_text())["kid_difference"] == kid
    with pytest.raises(TypeError):
        bench.main(replace(config, solver_steps=2))


def test_arguments_and_what_cannot_work(tmp_path: Path) -> None:
    words = ["--images", "64", "--corpus.name", "ham10000", "--ddpm.loop.steps", "5"]
    assert auto_cli(bench.Bench, as_positional=False, args=words).ddpm.loop.steps == 5
    config = _config(tmp_path)
    with pytest.raises(ConfigError, match="images is 9: set it to a multiple of batch_size=4"):
        bench.main(replace(config, images=9))
    with pytest.raises(ConfigError, match="held_out_share is 1"):
        bench.main(replace(config, held_out_share=1.0))
