from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

import skindiff
from skindiff.generators.adapter import Adapter, read_adapter
from skindiff.generators.learned_embeds import embedding_files
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training import adapters, denoising_task, lora, textual_inversion
from skindiff.training.loop_config import LoopConfig
from skindiff.weights import read_tensors
from tests.tiny import TINY_BUILDERS, TINY_SIZE, save_tiny_pipeline, tiny_corpus, tiny_pipeline

LOOP = LoopConfig(steps=2, batch_size=2, learning_rate=0.02, validate_every=2)
COMMON: dict[str, Any] = {"loop": LOOP, "image_size": TINY_SIZE, "validation_examples": 8}
Train = Callable[..., tuple[Adapter, set[str]]]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Train:
    """Train ``method`` and return its adapter, and the parts that had no weights as the loop began."""

    def trained(method: Any, pipeline: Any, name: str, *, unload: bool, **settings: Any) -> Any:
        bare: set[str] = set()

        def loop(*arguments: Any, **named: Any) -> Any:
            for part, module in pipeline.components.items():
                if isinstance(module, nn.Module) and list(module.parameters())[-1].is_meta:
                    bare.add(part)
            return plain(*arguments, **named)

        monkeypatch.setattr(method, "train", loop)
        monkeypatch.setattr(denoising_task, "draw_grid", lambda *_, **__: None)
        accelerator, folder = Accelerator(cpu=True), tmp_path / name
        if method is lora:
            config = lora.LoRAConfig(rank=2, **COMMON, **settings)
            adapter = lora.train_lora(accelerator, pipeline, config, tiny_corpus(), folder, unload=unload)
            return adapter, bare
        words = textual_inversion.TextualInversionConfig(**COMMON, **settings)
        return textual_inversion.train_textual_inversion(
            accelerator, pipeline, words, tiny_corpus(), folder, unload=unload
        ), bare

    plain = textual_inversion.train
    return trained


def files(adapter: Adapter) -> dict[str, bytes]:
    found = sorted(path for path in adapter.folder.rglob("*") if path.is_file())
    return {path.relative_to(adapter.folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("build", TINY_BUILDERS.values(), ids=TINY_BUILDERS)
def test_what_has_encoded_is_unloaded_and_the_lora_is_the_same(
    train: Train, build: Callable[..., Any]
) -> None:
    kept, none = train(lora, build(), "kept", unload=False)
    pipeline = build()
    unloaded, bare = train(lora, pipeline, "unloaded", unload=True)
    assert none == set()
    assert files(unloaded) == files(kept)
    frozen = [*architecture_of(pipeline).text_encoders(pipeline), pipeline.vae]
    assert bare == {name for name, part in pipeline.components.items() if any(part is one for one in frozen)}


def test_what_is_trained_and_what_grids_need_stays(train: Train) -> None:
    _, bare = train(lora, tiny_pipeline(), "texts", unload=True, train_text_encoder=True)
    assert bare == {"vae"}
    _, bare = train(lora, tiny_pipeline(), "grids", unload=True, sample_every=2)
    assert bare == set()
    t5 = TINY_BUILDERS["FLUX.1"]()
    _, bare = train(textual_inversion, t5, "words", unload=True)
    assert bare == {"vae", "text_encoder_2"}


def test_learnt_words_survive_the_encoder_that_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    for name in ("train_lora", "train_textual_inversion"):
        method = getattr(adapters, name)

        def spied(*arguments: Any, method: Any = method, **named: Any) -> Any:
            asked.append(named["unload"])
            return method(*arguments, **named)

        monkeypatch.setattr(adapters, name, spied)
    base = str(save_tiny_pipeline(tmp_path / "base"))
    corpus = skindiff.load_corpus("phantom", images_per_class={"I": 2, "V": 2})
    settings: dict[str, Any] = {
        "steps": 2,
        "batch_size": 2,
        "image_size": TINY_SIZE,
        "validation_examples": 4,
    }
    words = skindiff.train_textual_inversion(
        corpus, None, base, output_dir=tmp_path / "words", steps_per_condition=False, **settings
    )
    skindiff.train_lora(corpus, None, words, output_dir=tmp_path / "lora", rank=2, **settings)
    assert asked == [True, True]
    first, second = (read_adapter(tmp_path / name / "adapter") for name in ("words", "lora"))
    for one, other in zip(*map(embedding_files, (first.folder, second.folder)), strict=True):
        rows, again = read_tensors(Path(one)), read_tensors(Path(other))
        assert rows.keys() == again.keys()
        assert all(torch.equal(rows[name], again[name]) for name in rows)
