"""What was learnt must draw the same in memory, through load_adapter and through plain diffusers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from skindiff.errors import GeneratorError
from skindiff.generators.adapter import (
    LORA_FILE,
    Adapter,
    load_adapter,
    read_adapter,
    save_adapter,
    unload_adapter,
)
from skindiff.generators.learned_embeds import embedding_files
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.loading import architecture_of, load_pipeline
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from skindiff.training.textual_inversion import TextualInversionConfig, train_textual_inversion
from tests.tiny import TINY_BUILDERS, TINY_CLASSES, TINY_SIZE, tiny_corpus, tiny_pipeline

PLAIN_PROMPT = "an image of eczema"


Trained = tuple[Any, Adapter]


def fresh_like(pipeline: Any) -> Any:
    return TINY_BUILDERS[architecture_of(pipeline).name]()


def load_words(pipeline: Any, adapter: Adapter) -> None:
    """As plain diffusers does: the files themselves, or the rows of each of several text encoders."""
    homes = architecture_of(pipeline).token_homes
    if len(homes) == 1:
        pipeline.load_textual_inversion(embedding_files(adapter.folder))
        return
    for token in adapter.tokens.tokens.values():
        rows = load_file(adapter.folder / "learned_embeds" / f"{token.strip('<>')}.safetensors")
        assert set(rows) == {home.key for home in homes} == {"clip_l", "clip_g"}
        for home in homes:
            key, encoder = str(home.key), getattr(pipeline, home.text_encoder)
            tokenizer = getattr(pipeline, home.tokenizer)
            pipeline.load_textual_inversion(rows[key], token=token, text_encoder=encoder, tokenizer=tokenizer)


def draw(pipeline: Any, prompt: str) -> np.ndarray:
    images = pipeline(
        prompt,
        num_inference_steps=3,
        height=TINY_SIZE,
        width=TINY_SIZE,
        **architecture_of(pipeline).guidance(3.0),
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images
    return np.asarray(images)


def train_both(
    folder: Path, *, vectors: int, text_encoder: bool, build: Callable[[], Any] = tiny_pipeline
) -> Trained:
    pipeline, dataset, accelerator = build(), tiny_corpus(), Accelerator(cpu=True)
    architecture, learnt = architecture_of(pipeline), None
    if architecture.token_homes:
        words = TextualInversionConfig(
            loop=LoopConfig(steps=2, batch_size=2, learning_rate=0.1),
            vectors=vectors,
            validation_examples=0,
            image_size=TINY_SIZE,
        )
        learnt = train_textual_inversion(accelerator, pipeline, words, dataset, folder / "words")
    # alpha unlike rank, and B far enough from 0 to show in the images
    updates = LoRAConfig(
        loop=LoopConfig(steps=4, batch_size=2, learning_rate=0.1),
        rank=2,
        alpha=5.0,
        train_text_encoder=text_encoder and len(architecture.adaptable(pipeline)) > 1,
        image_size=TINY_SIZE,
        validation_examples=0,
    )
    return pipeline, train_lora(accelerator, pipeline, updates, dataset, folder / "lora", learnt=learnt)


CASES = [(tiny_pipeline, 1, False), *((build, 2, True) for build in TINY_BUILDERS.values())]


@pytest.fixture(scope="module", params=CASES, ids=["unet", *TINY_BUILDERS])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    build, vectors, text_encoder = request.param
    folder = tmp_path_factory.mktemp("trained")
    return train_both(folder, vectors=vectors, text_encoder=text_encoder, build=build)


@pytest.fixture
def prompt(trained: Trained) -> str:
    return prompt_for(trained[1].tokens.subject("squamous cell carcinoma"), "V")


def test_loaded_draws_like_trained(trained: Trained, prompt: str) -> None:
    memory, adapter = trained
    pipeline = fresh_like(trained[0])
    load_adapter(pipeline, adapter.folder)
    expected = draw(memory, prompt)
    np.testing.assert_array_equal(draw(pipeline, prompt), expected)
    assert np.abs(draw(fresh_like(memory), PLAIN_PROMPT) - draw(pipeline, PLAIN_PROMPT)).max() > 1e-3


@pytest.mark.parametrize("words_first", [True, False])
def test_plain_diffusers_draws_like_trained(trained: Trained, prompt: str, words_first: bool) -> None:
    memory, adapter = trained
    pipeline = fresh_like(trained[0])
    steps = [
        lambda: load_words(pipeline, adapter),
        lambda: pipeline.load_lora_weights(str(adapter.folder)),
    ]
    for step in steps if words_first else reversed(steps):
        step()
    np.testing.assert_array_equal(draw(pipeline, prompt), draw(memory, prompt))


def test_fused_draws_like_trained_without_lora_layers(trained: Trained, prompt: str) -> None:
    memory, adapter = trained
    pipeline = fresh_like(trained[0])
    fused = load_adapter(pipeline, adapter.folder, fuse=True)
    network = architecture_of(pipeline).network(pipeline)
    assert not any("lora" in name for name, _ in network.named_modules())
    np.testing.assert_allclose(draw(pipeline, prompt), draw(memory, prompt), atol=1e-4)
    with pytest.raises(GeneratorError, match="fused"):
        unload_adapter(pipeline, fused)


def test_unloading_puts_everything_back(trained: Trained, prompt: str) -> None:
    adapter = trained[1]
    pipeline, untouched = fresh_like(trained[0]), fresh_like(trained[0])
    for _ in range(2):
        loaded = load_adapter(pipeline, adapter.folder)
        unload_adapter(pipeline, loaded)
        assert len(pipeline.tokenizer) == len(untouched.tokenizer)
        np.testing.assert_array_equal(draw(pipeline, PLAIN_PROMPT), draw(untouched, PLAIN_PROMPT))
        for name in architecture_of(pipeline).adaptable(pipeline):
            state, expected = getattr(pipeline, name).state_dict(), getattr(untouched, name).state_dict()
            assert state.keys() == expected.keys()
            assert all(torch.equal(state[key], expected[key]) for key in expected)
    if architecture_of(pipeline).token_homes:
        with pytest.raises(GeneratorError, match="no learned token"):
            architecture_of(pipeline).encode_prompts(pipeline, [prompt])


def test_a_second_adapter_is_refused_until_the_first_is_unloaded(
    trained: Trained,
) -> None:
    pipeline = fresh_like(trained[0])
    first = load_adapter(pipeline, trained[1].folder)
    with pytest.raises(GeneratorError, match="already"):
        load_adapter(pipeline, trained[1].folder)
    unload_adapter(pipeline, first)
    load_adapter(pipeline, trained[1].folder)


def test_the_folder_says_how_it_was_made(trained: Trained) -> None:
    adapter = trained[1]
    read = read_adapter(adapter.folder)
    assert read.tokens == adapter.tokens
    assert read.has_lora
    assert read.config == adapter.config
    assert read.config["lora"]["alpha"] == 5.0
    if words := bool(architecture_of(trained[0]).token_homes):
        assert read.config["textual_inversion"]["initialiser"] == "skin"
    assert [row["stage"] for row in read.log] == ["textual_inversion"] * 4 * words + ["lora"] * 4
    assert read.log == adapter.log
    entries = json.loads((adapter.folder / "tokens.json").read_text())
    assert list(entries) == list(TINY_CLASSES) * words
    assert not list(adapter.folder.parent.glob(".*.partial"))
    assert not list(adapter.folder.parent.glob(".stale-*"))


def test_the_folder_names_no_path_of_this_machine(trained: Trained) -> None:
    folder = trained[1].folder
    for path in folder.rglob("*"):
        assert path.is_dir() or str(folder.parent).encode() not in path.read_bytes()


def test_saving_again_gives_the_same_bytes(trained: Trained, tmp_path: Path) -> None:
    pipeline, adapter = trained
    save_adapter(replace(adapter, folder=tmp_path / "copy"), pipeline)
    save_adapter(replace(adapter, folder=tmp_path / "copy"), pipeline)
    files = sorted(path.relative_to(adapter.folder) for path in adapter.folder.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "copy") for path in (tmp_path / "copy").rglob("*") if path.is_file()
    )
    for path in files:
        assert (adapter.folder / path).read_bytes() == (tmp_path / "copy" / path).read_bytes()


def test_a_model_trained_on_photographs_draws_the_same_in_plain_diffusers(
    real_model: Path, tmp_path: Path
) -> None:
    memory = load_pipeline(str(real_model))
    loop = LoopConfig(steps=1, batch_size=2, learning_rate=0.1)
    words = TextualInversionConfig(loop=loop, vectors=2, validation_examples=0)
    dataset, accelerator = tiny_corpus(), Accelerator(cpu=True)
    learnt = train_textual_inversion(accelerator, memory, words, dataset, tmp_path / "words")
    updates = LoRAConfig(loop=loop, rank=2, alpha=5.0, train_text_encoder=True, validation_examples=0)
    adapter = train_lora(accelerator, memory, updates, dataset, tmp_path / "lora", learnt=learnt)
    prompt = prompt_for(adapter.tokens.subject("squamous cell carcinoma"), "V")
    plain = StableDiffusionPipeline.from_pretrained(str(real_model), safety_checker=None)
    plain.set_progress_bar_config(disable=True)
    plain.load_textual_inversion(embedding_files(adapter.folder))
    plain.load_lora_weights(str(adapter.folder))
    np.testing.assert_array_equal(draw(plain, prompt), draw(memory, prompt))


def test_a_folder_that_is_no_adapter_is_one_clear_line(tmp_path: Path) -> None:
    pipeline = tiny_pipeline()
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(GeneratorError, match="cannot be read") as error:
            load_adapter(pipeline, folder)
        assert "\n" not in str(error.value)


def test_an_adapter_of_another_model_is_refused_and_leaves_no_trace(trained: Trained, tmp_path: Path) -> None:
    pipeline, adapter = trained
    other = replace(adapter, folder=tmp_path / "other")
    save_adapter(other, pipeline)
    weights = load_file(other.folder / LORA_FILE)
    wrong = {key: torch.cat([tensor, tensor]) for key, tensor in weights.items()}
    save_file(wrong, other.folder / LORA_FILE)
    fresh = fresh_like(pipeline)
    with pytest.raises(GeneratorError, match="does not fit"):
        load_adapter(fresh, other.folder)
    np.testing.assert_array_equal(draw(fresh, PLAIN_PROMPT), draw(fresh_like(pipeline), PLAIN_PROMPT))
    for path in embedding_files(other.folder):
        save_file({key: tensor[:, :-1].contiguous() for key, tensor in load_file(path).items()}, path)
    words = architecture_of(pipeline).token_homes
    with pytest.raises(GeneratorError, match="embeddings of shape" if words else "does not fit"):
        load_adapter(fresh, other.folder)
