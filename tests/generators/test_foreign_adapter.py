"""Folders of adapters that a stranger made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from skindiff.errors import GeneratorError
from skindiff.generators.adapter import LORA_FILE, load_adapter, read_adapter
from skindiff.generators.tokens import make_token_map
from tests.generators.test_adapter import train_both
from tests.generators.test_foreign_folder import DEEP, Change, text, with_value
from tests.tiny import tiny_pipeline

KEY = "lora_adapter_metadata"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_both(tmp_path_factory.mktemp("made"), vectors=1, text_encoder=False)[1].folder


def tokens(**values: Any) -> Change:
    def change(folder: Path) -> None:
        entries = json.loads((folder / "tokens.json").read_text())
        entries = {name: {**entry, **values} for name, entry in entries.items()}
        (folder / "tokens.json").write_text(json.dumps(entries))

    return change


def config(**values: Any) -> Change:
    def change(folder: Path) -> None:
        settings = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump({**settings, **values}))

    return change


def lora(change: Callable[[dict[str, torch.Tensor]], object], **settings: Any) -> Change:
    def rewrite(folder: Path) -> None:
        with safe_open(folder / LORA_FILE, "pt") as file:
            metadata = json.loads(file.metadata()[KEY])
        kept = load_file(folder / LORA_FILE)
        change(kept)
        found = {**metadata, **{f"unet.{name}": value for name, value in settings.items()}}
        save_file(kept, folder / LORA_FILE, metadata={KEY: json.dumps(found)})

    return rewrite


def embedding(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def rewrite(folder: Path) -> None:
        file = next((folder / "learned_embeds").iterdir())
        kept = load_file(file)
        change(kept)
        save_file(kept, file)

    return rewrite


CASES: dict[str, tuple[Change, str]] = {
    "deep tokens": (text("tokens.json", DEEP), "nested deeper"),
    "tokens are a list": (text("tokens.json", "[]"), "no mapping"),
    "tokens are words": (text("tokens.json", '{"a": "b"}'), "no mapping"),
    "no token": (text("tokens.json", '{"a": {"vectors": 1, "initialiser": "skin"}}'), "no token"),
    "many vectors": (tokens(vectors=10**11), "vectors"),
    "no vector": (tokens(vectors=0), "vectors"),
    "vectors in words": (tokens(vectors="1"), "whole number"),
    "one token for all": (tokens(token="<one>"), "twice"),
    "a token that leads out": (tokens(token="<../../x>"), "no <word>"),
    "a token of nothing": (tokens(token=""), "no <word>"),
    "an initialiser of many words": (tokens(initialiser="skin " * 500), "initialiser"),
    "recursive settings": (text("config.yaml", "a: &a [*a]"), "itself|deeper"),
    "deep settings": (text("config.yaml", DEEP), "nested deeper"),
    "tagged settings": (text("config.yaml", "a: !!python/name:os.system ''"), "no YAML"),
    "settings are a list": (text("config.yaml", "[1]"), "no mapping"),
    "no settings": (text("config.yaml", ""), "no mapping"),
    "a base of numbers": (config(base_model=[1]), "base_model"),
    "lora is a word": (config(lora="x"), "lora"),
    "a class that is no word": (config(base_class=[1]), "base_class"),
    "a log of bytes": (text("training_log.csv", b"\xff\xfe"), "UTF-8"),
    "a log of words": (text("training_log.csv", "stage,step\nlora,x\n"), "log"),
    "a log of more cells": (text("training_log.csv", "stage,step\nlora,1,2,3\n"), "log"),
    "no log": (lambda folder: (folder / "training_log.csv").unlink(), "cannot be read"),
    "rank": (lora(lambda kept: None, r=10**11), "rank"),
    "negative rank": (lora(lambda kept: None, r=-1), "rank"),
    "rank in words": (lora(lambda kept: None, r="8"), "rank"),
    "pattern": (lora(lambda kept: None, rank_pattern={"to_q": 10**11}), "rank"),
    "pattern of words": (lora(lambda kept: None, rank_pattern="x"), "rank"),
    "alpha": (lora(lambda kept: None, lora_alpha="x"), "alpha"),
    "NaN": (lora(with_value(float("nan"))), "NaN or infinite"),
    "no LoRA": (lora(dict.clear), "does not fit"),
    "a part is missing": (lora(lambda kept: kept.popitem()), "does not fit"),
    "deep metadata": (
        lambda folder: save_file(load_file(folder / LORA_FILE), folder / LORA_FILE, metadata={KEY: DEEP}),
        "nested deeper",
    ),
    "torn LoRA": (text(LORA_FILE, b"\x08\x00"), "no readable safetensors"),
    "NaN words": (embedding(with_value(float("nan"))), "NaN or infinite"),
    "a wide word": (
        embedding(lambda kept: kept.update(dict.fromkeys(kept, torch.zeros(1, 17)))),
        "shape",
    ),
    "no word": (embedding(dict.clear), "lacks its token"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", CASES)
def test_a_strangers_adapter_is_refused_in_one_line_and_leaves_no_trace(
    made: Path, tmp_path: Path, name: str
) -> None:
    change, says = CASES[name]
    folder = shutil.copytree(made, tmp_path / "theirs")
    change(folder)
    pipeline = tiny_pipeline()
    words = len(pipeline.tokenizer)
    with pytest.raises(GeneratorError, match=says) as error:
        load_adapter(pipeline, folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    assert len(pipeline.tokenizer) == words
    assert not getattr(pipeline.unet, "peft_config", None)


def test_no_content_of_another_file_is_in_the_error(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / "theirs")
    (tmp_path / "secret").write_text("root: hunter2: x\n- y")
    for name in ("tokens.json", "config.yaml"):
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / "secret")
        with pytest.raises(GeneratorError) as error:
            read_adapter(folder)
        assert "hunter2" not in str(error.value)


def test_more_vectors_than_a_prompt_has_places_are_refused() -> None:
    with pytest.raises(GeneratorError, match="at most 64"):
        make_token_map(["eczema"], vectors=10**11)
