from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import concatenate_datasets
from PIL import Image

from skindiff.errors import ConfigError, GeneratorError, TrainingError
from skindiff.generators.adapter import load_adapter, unload_adapter
from skindiff.generators.text_to_image.loading import ARCHITECTURES, architecture_of
from skindiff.generators.tokens import text_homes, token_ids
from skindiff.training import loop as loop_module
from skindiff.training.loop_config import LoopConfig
from skindiff.training.textual_inversion import (
    TextualInversionConfig,
    TrainableRows,
    balanced_batches,
    paper_textual_inversion,
    train_textual_inversion,
)
from tests.tiny import TINY_BUILDERS, TINY_CLASSES, tiny_corpus, tiny_pipeline, tiny_sd3, tiny_z_image

WORDS = {known.name: TINY_BUILDERS[known.name] for known in ARCHITECTURES if known.token_homes}
"""Architectures that diffusers has a loader of learned words for."""


def config(**settings) -> TextualInversionConfig:
    loop = LoopConfig(steps=3, batch_size=4, learning_rate=0.05, max_grad_norm=0.0)
    return TextualInversionConfig(
        loop=replace(loop, **settings.pop("loop", {})), validation_examples=16, **settings
    )


def embeddings(pipeline) -> list[torch.Tensor]:
    return [encoder.get_input_embeddings().weight.detach() for _, encoder in text_homes(pipeline)]


def same_embeddings(one, other) -> bool:
    return all(map(torch.equal, embeddings(one), embeddings(other)))


@pytest.fixture(scope="module", params=WORDS.values(), ids=WORDS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    pipeline = request.param()
    folder = tmp_path_factory.mktemp("words")
    return pipeline, train_textual_inversion(
        Accelerator(cpu=True), pipeline, config(vectors=2), tiny_corpus(), folder
    )


def fresh_like(pipeline):
    return TINY_BUILDERS[architecture_of(pipeline).name]()


def test_every_new_row_and_nothing_else_changes(trained) -> None:
    pipeline, adapter = trained
    untouched = fresh_like(pipeline)
    ids = token_ids(pipeline, adapter.tokens)
    for old, new, home, own in zip(
        embeddings(untouched), embeddings(pipeline), text_homes(untouched), ids, strict=True
    ):
        assert torch.equal(new[: len(old)], old)
        (skin,) = home[0]("skin", add_special_tokens=False).input_ids
        for row in [row for rows in own.values() for row in rows]:
            assert not torch.equal(new[row], old[skin])
    for name in set(untouched.components) & {"unet", "transformer", "vae"}:
        state, expected = getattr(pipeline, name).state_dict(), getattr(untouched, name).state_dict()
        assert all(torch.equal(state[key], expected[key]) for key in expected)
    for _, encoder in text_homes(pipeline):
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        assert type(encoder.get_input_embeddings()) is torch.nn.Embedding


def test_the_optimiser_sees_the_new_rows_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[torch.Size] = []
    build = loop_module._optimiser

    def spy(settings, parameters):
        seen.extend(parameter.shape for parameter in parameters)
        return build(settings, parameters)

    monkeypatch.setattr(loop_module, "_optimiser", spy)
    train_textual_inversion(
        Accelerator(cpu=True), tiny_pipeline(), config(vectors=3), tiny_corpus(), tmp_path
    )
    assert seen == [(3 * len(TINY_CLASSES), 16)]


def test_steps_count_each_condition(trained) -> None:
    assert [row["step"] for row in trained[1].log] == [1, 2, 3, 4, 5, 6]
    assert all(row["grad_norm"] > 0 for row in trained[1].log)
    assert trained[1].log[-1]["validation_loss"] > 0
    assert config(steps_per_condition=False).run_loop(7).steps == 3


def test_loading_what_was_saved_gives_the_same_embeddings(trained) -> None:
    pipeline, adapter = trained
    fresh = fresh_like(pipeline)
    load_adapter(fresh, adapter.folder)
    prompts = [f"An image of {adapter.tokens.subject(name)}" for name in TINY_CLASSES]
    encode = architecture_of(pipeline).encode_prompts
    found, expected = encode(fresh, prompts).tensors, encode(pipeline, prompts).tensors
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_words_lower_the_loss_on_fixed_noise(tmp_path: Path) -> None:
    settings = config(loop={"steps": 15, "learning_rate": 0.1, "validate_every": 1})
    log = train_textual_inversion(
        Accelerator(cpu=True), tiny_pipeline(), settings, tiny_corpus(), tmp_path
    ).log
    assert log[-1]["validation_loss"] < log[0]["validation_loss"]


def test_words_one_by_one_are_those_of_trainings_of_their_own(tmp_path: Path) -> None:
    settings = config(one_by_one=True, vectors=2)
    accelerator, both = Accelerator(cpu=True), tiny_pipeline()
    adapter = train_textual_inversion(accelerator, both, settings, tiny_corpus(), tmp_path / "both")
    assert [row["step"] for row in adapter.log] == [1, 2, 3, 4, 5, 6]
    (rows,) = token_ids(both, adapter.tokens)
    alone = tiny_pipeline()
    pool = concatenate_datasets([tiny_corpus(), tiny_corpus(seed=1)])
    mixed = pool.select([row if row % 2 else 8 + row for row in range(8)])  # other images of the first class
    train_textual_inversion(accelerator, alone, settings, mixed, tmp_path / "alone")
    (one, two) = (rows[name] for name in TINY_CLASSES)
    assert not torch.equal(embeddings(alone)[0][one], embeddings(both)[0][one])
    assert torch.equal(embeddings(alone)[0][two], embeddings(both)[0][two])
    (skin,) = both.tokenizer("skin", add_special_tokens=False).input_ids
    (learnt,) = embeddings(both)
    assert not any(torch.equal(learnt[row], learnt[skin]) for row in [*one, *two])


@pytest.mark.parametrize("build", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_killed_run_goes_on_bitwise(
    one_by_one: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build
) -> None:
    settings = config(loop={"checkpoint_every": 2}, one_by_one=one_by_one)
    accelerator, dataset = Accelerator(cpu=True), tiny_corpus()
    whole = build()
    log = train_textual_inversion(accelerator, whole, settings, dataset, tmp_path / "whole").log

    save = loop_module.save_checkpoint

    def killed(*arguments, **keywords):
        save(*arguments, **keywords)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop_module, "save_checkpoint", killed)
    first = build()
    with pytest.raises(KeyboardInterrupt):
        train_textual_inversion(accelerator, first, settings, dataset, tmp_path / "killed")
    assert type(first.text_encoder.get_input_embeddings()) is torch.nn.Embedding
    monkeypatch.undo()
    resumed = build()
    assert train_textual_inversion(accelerator, resumed, settings, dataset, tmp_path / "killed").log == log
    assert same_embeddings(resumed, whole)


def test_another_corpus_does_not_resume_this_one(tmp_path: Path) -> None:
    settings = config(loop={"checkpoint_every": 2})
    accelerator = Accelerator(cpu=True)
    train_textual_inversion(accelerator, tiny_pipeline(), settings, tiny_corpus(), tmp_path)
    with pytest.raises(TrainingError, match="context"):
        train_textual_inversion(accelerator, tiny_pipeline(), settings, tiny_corpus(seed=1), tmp_path)


def test_accumulation_traces_the_same_loss(tmp_path: Path) -> None:
    logs = []
    for batch, accumulation in ((4, 1), (1, 4)):
        settings = config(loop={"batch_size": batch, "gradient_accumulation_steps": accumulation})
        adapter = train_textual_inversion(
            Accelerator(cpu=True), tiny_pipeline(), settings, tiny_corpus(), tmp_path / str(batch)
        )
        logs.append([row["loss"] for row in adapter.log])
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-4)


@pytest.mark.parametrize("build", [tiny_sd3, tiny_z_image])
def test_words_that_nothing_could_load_are_refused(build, tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="takes no learned words, as diffusers has no loader for them"):
        train_textual_inversion(Accelerator(cpu=True), build(), config(), tiny_corpus(), tmp_path)


def test_a_second_training_on_a_fresh_pipeline_starts_afresh(trained, tmp_path: Path) -> None:
    again = fresh_like(trained[0])
    train_textual_inversion(Accelerator(cpu=True), again, config(vectors=2), tiny_corpus(), tmp_path)
    assert same_embeddings(again, trained[0])


def test_training_can_be_undone(tmp_path: Path) -> None:
    pipeline = tiny_pipeline()
    adapter = train_textual_inversion(Accelerator(cpu=True), pipeline, config(), tiny_corpus(), tmp_path)
    unload_adapter(pipeline, adapter)
    assert same_embeddings(pipeline, tiny_pipeline())


def test_grids_are_drawn_while_training(tmp_path: Path) -> None:
    settings = config(loop={"steps": 2, "validate_every": 2}, sample_every=2)
    train_textual_inversion(Accelerator(cpu=True), tiny_pipeline(), settings, tiny_corpus(), tmp_path)
    grids = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert grids == ["textual_inversion-000002.png", "textual_inversion-000004.png"]
    assert Image.open(tmp_path / "samples" / grids[0]).size == (64, 32)


def test_rows_learn_through_a_frozen_matrix() -> None:
    frozen = torch.nn.Embedding(6, 3).requires_grad_(False)
    before = frozen.weight.clone()
    rows = TrainableRows(frozen, range(4, 6))
    ids = torch.tensor([[0, 4, 5, 4]])
    assert torch.equal(rows(ids), frozen(ids))
    rows(ids).sum().backward()
    assert rows.learnt.weight.grad is not None
    assert rows.learnt.weight.grad.tolist() == [[2.0] * 3, [1.0] * 3]
    with torch.no_grad():
        rows.learnt.weight += 1
    assert torch.equal(rows.merge().weight[4:], before[4:] + 1)
    between = TrainableRows(frozen, range(2, 4))
    assert torch.equal(between(torch.arange(6)), frozen.weight)


def test_classes_take_turns() -> None:
    labels = np.array([0] * 10 + [1] * 3 + [2] * 5)
    sample = balanced_batches(labels, 4, "key")
    rows = np.concatenate([sample(step) for step in range(45)])
    assert np.bincount(labels[rows]).tolist() == [60, 60, 60]
    assert np.bincount(rows).tolist() == [6] * 10 + [20] * 3 + [12] * 5
    assert np.array_equal(sample(7), balanced_batches(labels, 4, "key")(7))


def test_a_class_without_images_is_refused(tmp_path: Path) -> None:
    dataset = tiny_corpus(4).select([0, 2])
    with pytest.raises(TrainingError, match="'squamous cell carcinoma' has no training image"):
        train_textual_inversion(Accelerator(cpu=True), tiny_pipeline(), config(), dataset, tmp_path)


def test_an_initialiser_of_two_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="'skin lesion' is 2 tokens"):
        train_textual_inversion(
            Accelerator(cpu=True), tiny_pipeline(), config(initialiser="skin lesion"), tiny_corpus(), tmp_path
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vectors": 0}, "ti.vectors is 0"),
        ({"image_size": 60}, "ti.image_size is 60"),
        ({"sample_every": 5}, "ti.loop.validate_every=0"),
        ({"loop": {"steps": 0}}, "ti.loop.steps is 0"),
        ({"one_by_one": True, "steps_per_condition": False}, "ti.one_by_one learns each word for ti.loop"),
    ],
)
def test_settings_that_cannot_work_are_named(settings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**settings).validate("ti.")


def test_the_papers_settings() -> None:
    paper = paper_textual_inversion()
    paper.validate()
    assert (paper.one_by_one, paper.random_flip, paper.loop.weight_decay) == (True, True, 1e-2)
    assert paper.run_loop(7).steps == 500
    assert paper.loop.learning_rate * paper.loop.global_batch(1) == pytest.approx(8e-3)
