"""Captions by columns of a corpus, in prompts, keys and records, and what is cut of them."""

import inspect
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate import Accelerator
from datasets import Dataset, Value

from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators.adapter import Adapter
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training.captions import captions, cut_captions
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from tests.tiny import TINY_BUILDERS, tiny_corpus, tiny_pipeline, tiny_sdxl

PARTS = ["{site}", "{age} years old", "dermoscopy"]


def corpus(**columns: list[str | None]) -> Dataset:
    rows = tiny_corpus(4)
    for name, cells in columns.items():
        rows = rows.add_column(name, cells, feature=Value("string"))
    return rows


def described() -> Dataset:
    return corpus(site=["trunk", None, "arm", "trunk"], age=["30", "45", None, "30"])


def train(folder: Path, rows: Dataset, pipeline: Any = None, **settings: Any) -> Adapter:
    loop = LoopConfig(steps=1, batch_size=4)
    config = LoRAConfig(loop=loop, rank=2, validation_examples=0, image_size=32, **settings)
    return train_lora(Accelerator(cpu=True), pipeline or tiny_pipeline(), config, rows, folder)


def test_a_part_without_its_cell_is_left_out() -> None:
    assert captions(PARTS, described()) == [
        "trunk, 30 years old, dermoscopy",
        "45 years old, dermoscopy",
        "arm, dermoscopy",
        "trunk, 30 years old, dermoscopy",
    ]
    assert captions([], described()) == [""] * 4


@pytest.mark.parametrize("build", TINY_BUILDERS.values(), ids=TINY_BUILDERS)
def test_captions_decide_the_training_and_are_recorded(tmp_path: Path, build: Any) -> None:
    plain = train(tmp_path / "plain", described(), build())
    told = train(tmp_path / "told", described(), build(), captions=["{site}"])
    pipeline = build()
    texts = len(architecture_of(pipeline).adaptable(pipeline)) > 1
    live = train(tmp_path / "live", described(), pipeline, captions=["{site}"], train_text_encoder=texts)
    assert told.log[0]["loss"] != plain.log[0]["loss"]
    assert live.log[0]["loss"] == pytest.approx(told.log[0]["loss"], rel=1e-5)
    assert "captions" not in plain.config["lora"]
    assert "cut_captions" not in plain.config
    kept = yaml.safe_load((told.folder / "config.yaml").read_text())
    assert kept["lora"]["captions"] == ["{site}"]
    assert kept["cut_captions"] == {}


def test_long_captions_are_cut_at_each_encoders_own_limit_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = corpus(note=["red lesion " * 30, None, "red", "skin " * 20])
    with pytest.raises(ConfigError, match="no column 'notes' of words"):
        train(tmp_path / "unknown", rows, captions=["{notes}"])
    with caplog.at_level(logging.WARNING):
        adapter = train(tmp_path / "cut", rows, tiny_sdxl(), captions=["{note}"])
    # "An image of eczema on the skin of a very light-skinned individual, " and 60 words are 77 tokens.
    lost = {"images": 2, "most_tokens": 77 - 32}
    assert adapter.config["cut_captions"] == {"text_encoder": lost, "text_encoder_2": lost}
    for name in ("text_encoder", "text_encoder_2"):
        assert f"of 2 of 4 images are longer than {name} takes, and lose up to 45" in caplog.text


@pytest.mark.parametrize("build", TINY_BUILDERS.values(), ids=TINY_BUILDERS)
def test_what_is_cut_is_what_diffusers_cuts_and_prompts_are_not(build: Any) -> None:
    pipeline, prompt = build(), "An image of eczema, " + "red skin " * 300
    architecture = architecture_of(pipeline)
    told = architecture.conditions(architecture.encode_prompts(pipeline, [prompt], cut=True))
    given = {"num_images_per_prompt": 1, "do_classifier_free_guidance": False, "device": "cpu"}
    given |= dict.fromkeys(("prompt_2", "prompt_3"))
    takes = inspect.signature(pipeline.encode_prompt).parameters
    found = pipeline.encode_prompt(prompt, **{name: given[name] for name in given if name in takes})
    theirs = [found] if torch.is_tensor(found) else [one for one in found if one is not None and len(one)]
    for name, ours in told.items():
        assert any(_same(ours, one) for one in theirs), name
    encoders = architecture.surplus(pipeline, [prompt])
    assert all(more > 0 for (more,) in encoders.values())
    for encoder, (more,) in encoders.items():
        cut = {"images": 2, "most_tokens": more}
        assert cut_captions(pipeline, ["", prompt], torch.tensor([1, 1]))[encoder] == cut
    with pytest.raises(GeneratorError, match=r"too long: .*\(only captions of a training are cut\)"):
        architecture.encode_prompts(pipeline, [prompt])


def _same(ours: Any, theirs: Any) -> bool:
    """Whether two are one embedding, as a tensor or as a list of one."""
    mine, other = (one[0] for one in (ours, theirs))
    return mine.shape == other.shape and torch.equal(mine, other)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("", "no part of a caption"),
        ("two\nlines", "no part of a caption"),
        ("{site", "other braces"),
        ("{site.name}", "other braces"),
        ("{site!r}", "other braces"),
        ("{}", "other braces"),
        ("{site:>9}", "other braces"),
    ],
)
def test_a_part_that_can_be_none_is_refused(part: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"lora.captions: .*{message}"):
        LoRAConfig(captions=[part]).validate("lora.")


@pytest.mark.parametrize("column", ["image_id", "group_id", "label"])
def test_columns_that_tell_patients_are_none(tmp_path: Path, column: str) -> None:
    with pytest.raises(ConfigError, match=f"no column '{column}' of words; it has site, age"):
        train(tmp_path, described(), captions=[f"{{{column}}}"])
