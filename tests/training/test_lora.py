from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from datasets import ClassLabel
from PIL import Image

from skindiff.errors import ConfigError, GeneratorError, TrainingError
from skindiff.generators.adapter import ADAPTER_NAME, load_adapter, unload_adapter
from skindiff.generators.text_to_image.conditioning import Conditioning
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training import loop as loop_module
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, add_lora, paper_lora, train_lora
from skindiff.training.merged_lora import merged_updates
from skindiff.training.textual_inversion import TextualInversionConfig, train_textual_inversion
from tests.tiny import TINY_BUILDERS, TINY_SIZE, tiny_corpus, tiny_pipeline


def config(**settings) -> LoRAConfig:
    loop = LoopConfig(steps=4, batch_size=2, learning_rate=0.02)
    return LoRAConfig(
        loop=replace(loop, **settings.pop("loop", {})),
        rank=settings.pop("rank", 2),
        image_size=settings.pop("image_size", TINY_SIZE),
        validation_examples=16,
        **settings,
    )


def run(folder: Path, pipeline=None, dataset=None, **settings):
    pipeline = pipeline or tiny_pipeline()
    adapter = train_lora(
        Accelerator(cpu=True), pipeline, config(**settings), dataset or tiny_corpus(), folder
    )
    return pipeline, adapter


def lora_weights(pipeline) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": parameter.detach()
        for name, network in architecture_of(pipeline).adaptable(pipeline).items()
        for key, parameter in network.named_parameters()
        if "lora_" in key
    }


BUILDS = pytest.mark.parametrize("build", TINY_BUILDERS.values(), ids=TINY_BUILDERS)


@BUILDS
@pytest.mark.parametrize("text_encoder", [False, True])
def test_every_update_and_nothing_else_changes(tmp_path: Path, text_encoder: bool, build) -> None:
    fresh = build()
    if text_encoder and len(architecture_of(fresh).adaptable(fresh)) == 1:
        with pytest.raises(
            ConfigError, match=r"diffusers loads no LoRA of .*'s text encoder: set it to false"
        ):
            add_lora(fresh, config(train_text_encoder=True))
        return
    add_lora(fresh, config(train_text_encoder=text_encoder))
    pipeline, _ = run(tmp_path, build(), train_text_encoder=text_encoder)
    before, after = lora_weights(fresh), lora_weights(pipeline)
    assert before.keys() == after.keys()
    assert any(key.startswith("text_encoder") for key in after) == text_encoder
    unchanged = [key for key in before if torch.equal(before[key], after[key])]
    assert not unchanged
    if text_encoder:
        parts = {key.partition(".")[0] for key in after}
        assert parts == set(architecture_of(pipeline).adaptable(pipeline))
    networks = (architecture_of(pipeline).networks(one) for one in (pipeline, fresh))
    for trained, other in zip(*networks, strict=True):
        state, expected = trained.state_dict(), other.state_dict()
        frozen = [key for key in expected if "lora_" not in key]
        assert all(torch.equal(state[key], expected[key]) for key in frozen)
    network = architecture_of(pipeline).network(pipeline)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_step_runs_neither_autoencoder_nor_text_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = tiny_pipeline()
    calls = []
    pipeline.vae.encoder.register_forward_hook(lambda *_: calls.append("vae"))
    pipeline.text_encoder.register_forward_hook(lambda *_: calls.append("text"))
    _, first = run(tmp_path, pipeline)
    once = len(calls)
    unload_adapter(pipeline, first)
    run(tmp_path / "longer", pipeline, loop={"steps": 12})
    assert len(calls) == 2 * once
    assert calls.count("text") == 2 * 9, "eight rows with a prompt each, and the empty one"


def test_the_loss_on_fixed_noise_falls(tmp_path: Path) -> None:
    _, adapter = run(tmp_path, loop={"steps": 30, "validate_every": 1, "batch_size": 4})
    losses = [row["validation_loss"] for row in adapter.log]
    assert losses[-1] < losses[0]
    assert all(0 < row["grad_norm"] < float("inf") for row in adapter.log)


@BUILDS
def test_a_killed_run_goes_on_bitwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build) -> None:
    settings = {
        "loop": {"checkpoint_every": 2, "ema_decay": 0.5},
        "dropout": 0.2,
        "prompt_dropout": 0.3,
        "noise_offset": 0.1,
        "train_text_encoder": len(architecture_of(build()).adaptable(build())) > 1,
    }
    whole, adapter = run(tmp_path / "whole", build(), **settings)

    save = loop_module.save_checkpoint

    def killed(*arguments, **keywords):
        save(*arguments, **keywords)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop_module, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", build(), **settings)
    monkeypatch.undo()
    resumed, again = run(tmp_path / "killed", build(), **settings)
    assert again.log == adapter.log
    after, expected = lora_weights(resumed), lora_weights(whole)
    assert all(torch.equal(after[key], expected[key]) for key in expected)


def test_another_learning_target_does_not_resume_this_one(tmp_path: Path) -> None:
    run(tmp_path, loop={"checkpoint_every": 2})
    with pytest.raises(TrainingError, match="context"):
        run(tmp_path, loop={"checkpoint_every": 2}, noise_offset=0.1)


def test_accumulation_traces_the_same_loss(tmp_path: Path) -> None:
    logs = []
    for batch, accumulation in ((4, 1), (1, 4)):
        loop = {"batch_size": batch, "gradient_accumulation_steps": accumulation}
        _, adapter = run(tmp_path / str(batch), loop=loop, prompt_dropout=0.3)
        logs.append([row["loss"] for row in adapter.log])
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-4)


def test_settings_reach_the_loss(tmp_path: Path) -> None:
    variants = {
        "plain": {},
        "min-SNR": {"min_snr_gamma": 1.0},
        "offset": {"noise_offset": 0.5},
        "no tone": {"mention_tone": False},
        "prompt dropout": {"prompt_dropout": 0.9},
        "no flip": {"random_flip": False},
    }
    losses = {
        name: tuple(row["loss"] for row in run(tmp_path / name, **settings)[1].log)
        for name, settings in variants.items()
    }
    assert len(set(losses.values())) == len(losses)
    checkpointed = run(tmp_path / "checkpointed", gradient_checkpointing=True)[1].log
    plain = run(tmp_path / "again")[1].log
    np.testing.assert_allclose(
        [row["grad_norm"] for row in checkpointed], [row["grad_norm"] for row in plain], rtol=1e-5
    )


@pytest.mark.slow
def test_compiled_blocks_learn_the_same(tmp_path: Path) -> None:
    pipeline, compiled = run(tmp_path / "compiled", compile_blocks=True)
    _, plain = run(tmp_path / "plain")
    for key in ("loss", "grad_norm"):
        np.testing.assert_allclose(
            [row[key] for row in compiled.log], [row[key] for row in plain.log], rtol=1e-4
        )
    assert not any(module._compiled_call_impl for module in pipeline.unet.modules())


def test_the_norm_of_the_gradient_is_clipped(tmp_path: Path) -> None:
    free, _ = run(tmp_path / "free", loop={"steps": 1, "optimiser": "adam", "weight_decay": 0.0})
    tight, adapter = run(
        tmp_path / "tight",
        loop={"steps": 1, "optimiser": "adam", "weight_decay": 0.0, "max_grad_norm": 1e-9},
    )
    assert adapter.log[0]["grad_norm"] > 1e-4, "the norm in the log is the one before clipping"
    assert any(not torch.equal(lora_weights(free)[key], one) for key, one in lora_weights(tight).items())


def test_averaged_weights_are_the_ones_that_are_saved(tmp_path: Path) -> None:
    averaged, adapter = run(tmp_path / "averaged", loop={"ema_decay": 0.9})
    plain, _ = run(tmp_path / "plain")
    assert any(not torch.equal(lora_weights(plain)[key], one) for key, one in lora_weights(averaged).items())
    loaded = tiny_pipeline()
    load_adapter(loaded, adapter.folder)
    assert all(torch.equal(lora_weights(averaged)[key], one) for key, one in lora_weights(loaded).items())


def test_training_again_on_a_fresh_pipeline_gives_the_same(tmp_path: Path) -> None:
    first, adapter = run(tmp_path / "first")
    second, _ = run(tmp_path / "second")
    assert all(torch.equal(lora_weights(first)[key], one) for key, one in lora_weights(second).items())
    unload_adapter(first, adapter)
    third, _ = run(tmp_path / "third", first)
    assert all(torch.equal(lora_weights(second)[key], one) for key, one in lora_weights(third).items())


@BUILDS
def test_activations_that_are_computed_again_give_the_same(tmp_path: Path, build) -> None:
    logs, calls = [], []
    for again in (False, True):
        pipeline, called = build(), []
        network = architecture_of(pipeline).network(pipeline)
        name = next(name for name, _ in network.named_modules() if name.endswith(".to_q"))
        attention = network.get_submodule(name.removesuffix(".to_q"))
        attention.register_forward_hook(lambda *_, called=called: called.append(torch.is_grad_enabled()))
        loop = {"steps": 2, "batch_size": 2}
        logs.append(run(tmp_path / str(again), pipeline, loop=loop, gradient_checkpointing=again)[1].log)
        calls.append(sum(called))
        assert not network.is_gradient_checkpointing
    assert calls == [2, 4]
    assert [row["loss"] for row in logs[1]] == pytest.approx([row["loss"] for row in logs[0]], rel=1e-5)


@pytest.mark.parametrize("variant", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_merged_updates_are_pefts_function(variant) -> None:
    pipeline = tiny_pipeline()
    add_lora(pipeline, config(rank=3, alpha=7.0, **variant))
    for key, parameter in pipeline.unet.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.3)
    module = architecture_of(pipeline).denoiser(pipeline, live_text=False)
    prompts = Conditioning({"prompt_embeds": torch.randn(1, 6, 16)})
    places, told = torch.tensor([0, 0]), Conditioning({})
    inputs = (torch.randn(2, 4, 8, 8), torch.tensor([5, 900]), prompts, places, told)

    def gradients() -> list[torch.Tensor]:
        module.zero_grad()
        module(*inputs).square().mean().backward()
        return [parameter.grad.clone() for parameter in module.parameters() if parameter.requires_grad]

    expected = module(*inputs), gradients()
    with merged_updates(module, ADAPTER_NAME):
        actual = module(*inputs), gradients()
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-5)
    assert torch.equal(module(*inputs), expected[0]), "PEFT's own pass is back"


def test_zero_terminal_snr_trains_and_samples_on_the_same_schedule(tmp_path: Path) -> None:
    pipeline, adapter = run(
        tmp_path, tiny_pipeline("v_prediction"), zero_terminal_snr=True, min_snr_gamma=5.0
    )
    loaded = tiny_pipeline("v_prediction")
    before = loaded.scheduler
    found = load_adapter(loaded, adapter.folder)
    for one in (pipeline, loaded):
        assert one.scheduler.config.rescale_betas_zero_snr
        assert one.scheduler.config.timestep_spacing == "trailing"
    unload_adapter(loaded, found)
    assert loaded.scheduler is before
    with pytest.raises(ConfigError, match="zero_terminal_snr"):
        run(tmp_path / "epsilon", zero_terminal_snr=True)


def test_learnt_words_go_into_the_prompts_and_the_adapter(tmp_path: Path) -> None:
    pipeline, dataset, accelerator = tiny_pipeline(), tiny_corpus(), Accelerator(cpu=True)
    words = TextualInversionConfig(loop=LoopConfig(steps=1, batch_size=2, learning_rate=0.1))
    learnt = train_textual_inversion(accelerator, pipeline, words, dataset, tmp_path / "words")
    adapter = train_lora(accelerator, pipeline, config(), dataset, tmp_path / "lora", learnt=learnt)
    assert adapter.tokens == learnt.tokens
    named = run(tmp_path / "named")[1]
    assert adapter.log[-1]["loss"] != named.log[-1]["loss"]
    unload_adapter(pipeline, adapter)
    assert pipeline.text_encoder.get_input_embeddings().num_embeddings == len(tiny_pipeline().tokenizer)
    with pytest.raises(GeneratorError, match="load its adapter first"):
        train_lora(accelerator, tiny_pipeline(), config(), dataset, tmp_path / "without", learnt=learnt)


def test_words_of_another_corpus_are_refused(tmp_path: Path) -> None:
    pipeline, accelerator = tiny_pipeline(), Accelerator(cpu=True)
    dataset = tiny_corpus()
    one_class = dataset.cast_column("label", ClassLabel(names=["eczema", "psoriasis"]))
    words = TextualInversionConfig(loop=LoopConfig(steps=1, batch_size=2), validation_examples=0)
    learnt = train_textual_inversion(accelerator, pipeline, words, one_class, tmp_path / "words")
    with pytest.raises(GeneratorError, match="'squamous cell carcinoma' has no word"):
        train_lora(accelerator, pipeline, config(), dataset, tmp_path / "lora", learnt=learnt)


@pytest.fixture
def bf16_accelerator() -> Iterator[Accelerator]:
    # Accelerate keeps one precision per process.
    AcceleratorState._reset_state()
    yield Accelerator(cpu=True, mixed_precision="bf16")
    AcceleratorState._reset_state()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mixed_precision_trains_in_float32(
    tmp_path: Path, bf16_accelerator: Accelerator, dtype: torch.dtype
) -> None:
    pipeline = tiny_pipeline()
    for network in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        network.to(dtype)
    loop = LoopConfig(steps=2, batch_size=2, learning_rate=0.02, validate_every=2)
    words = TextualInversionConfig(loop=loop, sample_every=2, validation_examples=8)
    learnt = train_textual_inversion(bf16_accelerator, pipeline, words, tiny_corpus(), tmp_path / "words")
    updates = LoRAConfig(loop=loop, rank=2, train_text_encoder=True, validation_examples=8)
    train_lora(bf16_accelerator, pipeline, updates, tiny_corpus(), tmp_path / "lora", learnt=learnt)
    assert {one.dtype for one in lora_weights(pipeline).values()} == {torch.float32}
    assert pipeline.unet.dtype == pipeline.text_encoder.dtype == dtype


def test_a_pipeline_that_carries_a_lora_is_refused(tmp_path: Path) -> None:
    pipeline, _ = run(tmp_path / "first")
    with pytest.raises(GeneratorError, match="already"):
        run(tmp_path / "second", pipeline)


def test_held_out_rows_and_grids(tmp_path: Path) -> None:
    dataset = tiny_corpus(12)
    settings = config(loop={"validate_every": 2}, sample_every=4)
    adapter = train_lora(
        Accelerator(cpu=True),
        tiny_pipeline(),
        settings,
        dataset.select(range(8)),
        tmp_path,
        validation=dataset.select(range(8, 12)),
        latent_cache=tmp_path / "latents",
    )
    assert [row["step"] for row in adapter.log if "validation_loss" in row] == [2, 4]
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["lora-000004.png"]
    assert Image.open(tmp_path / "samples" / "lora-000004.png").size == (64, 64)
    assert len(list((tmp_path / "latents").iterdir())) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "lora.rank is 0"),
        ({"alpha": 0.0}, "lora.alpha is 0.0"),
        ({"prompt_dropout": 1.0}, "lora.prompt_dropout is 1.0"),
        ({"min_snr_gamma": -1.0}, "lora.min_snr_gamma is -1.0"),
        ({"targets": []}, "lora.targets is empty"),
        ({"noise_offset": -0.1}, "lora.noise_offset is -0.1"),
    ],
)
def test_settings_that_cannot_work_are_named(settings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**settings).validate("lora.")


def test_an_unknown_layer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'to_queries'"):
        run(tmp_path, targets=["to_q", "to_queries"])
    assert not list(tmp_path.rglob("latents-*")), "images are encoded before that"


def test_the_papers_settings() -> None:
    paper = paper_lora()
    paper.validate()
    assert (paper.rank, paper.loop.steps, paper.loop.batch_size) == (8, 3000, 4)
    assert (paper.loop.learning_rate, paper.loop.max_grad_norm) == (5e-6, 1.0)
    assert not paper.random_flip
    assert paper.loop.shared_by(4).global_batch(4) == 4
