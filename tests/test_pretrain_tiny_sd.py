import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import load_from_disk
from diffusers import StableDiffusionPipeline

from scripts import pretrain_tiny_sd as script
from skindiff.errors import ConfigError
from skindiff.training.loop_config import LoopConfig


def further(real_data: Path, start: Path, folder: Path) -> script.Pretraining:
    """Two steps on one condition, from a pipeline that has learnt from it."""
    return script.Pretraining(
        output_dir=str(folder),
        corpus="fitzpatrick17k",
        data_dir=str(real_data / "fitzpatrick17k"),
        conditions=["seborrheic keratosis"],
        start=str(start),
        views=2,
        unseen=["dermatofibroma"],
        unet=LoopConfig(steps=2, batch_size=4, learning_rate=1e-3, ema_decay=0.5),
    )


def test_pre_training_further_moves_the_denoiser_alone(
    real_data: Path, real_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "UNSEEN_DRAWS", 1)
    script.main(further(real_data, real_model, tmp_path))
    pool = load_from_disk(str(tmp_path / "pool"))
    assert len(pool) == 2 * 69
    first, turned = (np.asarray(pool[row]["image"]) for row in (0, 1))
    assert first.shape == turned.shape == (64, 64, 3)
    assert not np.array_equal(first, turned)
    assert all("seborrheic keratosis" in prompt for prompt in pool["prompt"])
    old, new = (
        StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float16, safety_checker=None)
        for folder in (real_model, tmp_path / "pipeline")
    )
    for part, moves in (("vae", False), ("unet", True), ("text_encoder", True)):
        before, after = (getattr(pipeline, part).state_dict() for pipeline in (old, new))
        assert any(not torch.equal(before[name], after[name]) for name in before) == moves
    assert new.tokenizer.get_vocab() == old.tokenizer.get_vocab()
    losses = json.loads((tmp_path / "pretraining.json").read_text())["loss on unseen"]
    assert losses["before"] != losses["after"]
    assert 0 < losses["after"][0] < 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"unseen": ["acne"], "conditions": ["acne", "eczema"], "corpus": "fitzpatrick17k"}, "acne is in"),
        ({"views": 4}, "corpus is phantom"),
    ],
)
def test_refuses_what_cannot_be_measured(changes: dict[str, object], problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        script.main(script.Pretraining(output_dir=str(tmp_path), **changes))
    assert not list(tmp_path.iterdir())
