from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

import skindiff
from skindiff.errors import ConfigError, TrainingError
from skindiff.generators.text_to_image.loading import ARCHITECTURES, architecture_of, load_pipeline
from skindiff.training import adapters, denoising_task, precision, sample_grid
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from skindiff.training.textual_inversion import TextualInversionConfig, train_textual_inversion
from tests.tiny import TINY_BUILDERS, TINY_SIZE, save_tiny_pipeline, tiny_corpus, tiny_flux, tiny_sdxl

LOOP = LoopConfig(steps=2, batch_size=2, learning_rate=0.02, validate_every=2)


def lora(**settings: Any) -> LoRAConfig:
    return LoRAConfig(loop=LOOP, rank=2, image_size=TINY_SIZE, validation_examples=8, **settings)


@pytest.fixture
def mixed(request: pytest.FixtureRequest) -> Iterator[Accelerator]:
    # Accelerate keeps one precision per process.
    AcceleratorState._reset_state()
    yield Accelerator(cpu=True, mixed_precision=request.param)
    AcceleratorState._reset_state()


@pytest.fixture(autouse=True)
def _grids_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoising_task, "draw_grid", partial(sample_grid.draw_grid, steps=2))


@pytest.mark.parametrize(
    ("build", "mixed"),
    [*((build, "no") for build in TINY_BUILDERS.values()), (tiny_sdxl, "bf16"), (tiny_flux, "bf16")],
    ids=[*TINY_BUILDERS, "mixed with bf16, SDXL", "mixed with bf16, FLUX.1"],
    indirect=["mixed"],
)
def test_a_lora_is_trained_in_float32_on_a_frozen_base_in_half(
    tmp_path: Path, mixed: Accelerator, build: Callable[..., Any]
) -> None:
    folder = save_tiny_pipeline(tmp_path / "base", build=build)
    logs = []
    for base_dtype in ("float32", "bfloat16"):
        dtype = precision.torch_dtype(base_dtype)
        pipeline = load_pipeline(str(folder), dtype=dtype)
        settings = lora(base_dtype=base_dtype, sample_every=2)
        learnt = train_lora(mixed, pipeline, settings, tiny_corpus(), tmp_path / base_dtype)
        logs.append(learnt.log)
        seam = architecture_of(pipeline)
        by_learning: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
        for name, weight in seam.network(pipeline).named_parameters():
            by_learning["lora_" in name].add(weight.dtype)
        assert by_learning == {True: {torch.float32}, False: {dtype}}
        whole = [pipeline.vae, *(getattr(pipeline, home.text_encoder) for home in seam.token_homes)]
        assert {part.dtype for part in whole} == {torch.float32}
        assert (learnt.folder.parent / "samples" / "lora-000002.png").is_file()
    for row, expected in zip(*logs, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=0.05)
        assert row["loss"] != expected["loss"] or mixed.mixed_precision == "bf16"


@pytest.mark.parametrize(
    "build", [TINY_BUILDERS[known.name] for known in ARCHITECTURES if known.token_homes],
    ids=[known.name for known in ARCHITECTURES if known.token_homes],
)  # fmt: skip
def test_words_are_learnt_in_float32_on_a_frozen_base_in_half(
    tmp_path: Path, build: Callable[..., Any]
) -> None:
    pipeline = load_pipeline(str(save_tiny_pipeline(tmp_path / "base", build=build)), dtype=torch.bfloat16)
    settings = TextualInversionConfig(
        loop=LOOP, image_size=TINY_SIZE, validation_examples=8, sample_every=2, base_dtype="bfloat16"
    )
    corpus = tiny_corpus()
    learnt = train_textual_inversion(Accelerator(cpu=True), pipeline, settings, corpus, tmp_path / "words")
    home = architecture_of(pipeline).token_homes[0]
    ids = getattr(pipeline, home.tokenizer).convert_tokens_to_ids(list(learnt.tokens.tokens.values()))
    rows = getattr(pipeline, home.text_encoder).get_input_embeddings().weight[ids]
    assert not torch.equal(rows, rows.bfloat16().float()), "rounded to the precision of the base"
    assert architecture_of(pipeline).network(pipeline).dtype == torch.bfloat16


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that bitsandbytes and CUDA are there."""
    monkeypatch.setattr(precision, "lacking_for_bitsandbytes", lambda: None)


@pytest.mark.parametrize(
    ("base_dtype", "launched", "message"),
    [
        ("float16", "no", r"lora\.base_dtype is float16, in which small .*--mixed_precision fp16"),
        ("float16", "bf16", r"lora\.base_dtype is float16"),
        ("bfloat16", "fp16", r"lora\.base_dtype is bfloat16, .*launch with --mixed_precision bf16"),
        ("nf4", "fp16", r"lora\.base_dtype is nf4, which computes in bfloat16"),
    ],
)
def test_it_goes_with_mixed_precision_where_that_is_known(
    base_dtype: Any, launched: str, message: str, cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    lora(base_dtype=base_dtype).validate("lora.")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    with pytest.raises(ConfigError, match=message):
        lora(base_dtype=base_dtype).validate("lora.")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16" if base_dtype == "float16" else "bf16")
    lora(base_dtype=base_dtype).validate("lora.")


def test_what_the_machine_has_not_is_refused_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {"base_dtype is nf4": lora(base_dtype="nf4"), "loop.optimiser is adamw_8bit": lora()}
    needs["loop.optimiser is adamw_8bit"].loop = LoopConfig(optimiser="adamw_8bit")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for spec, lacking in ((None, r"needs bitsandbytes: pip install"), (object(), "needs a GPU with CUDA")):
        monkeypatch.setattr(precision, "find_spec", lambda name, spec=spec: spec)
        for setting, config in needs.items():
            with pytest.raises(ConfigError, match=rf"^lora\.{setting}, which {lacking}.*, or set it to"):
                config.validate("lora.")
    monkeypatch.setattr(precision, "is_bf16_available", lambda: False)
    with pytest.raises(ConfigError, match=r"^lora\.base_dtype is bfloat16, which this device has not"):
        lora(base_dtype="bfloat16").validate("lora.")


def test_a_stage_loads_its_base_in_that_precision_or_not_at_all(
    tmp_path: Path, cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loaded(Exception):
        pass

    def load(*_: object, **asked: Any) -> None:
        raise Loaded(asked["dtype"], asked["quantised"])

    monkeypatch.setattr(adapters, "load_pipeline", load)
    base, corpus = (
        str(save_tiny_pipeline(tmp_path / "base")),
        skindiff.load_corpus("phantom", images_per_class={"I": 2, "V": 2}),
    )
    asked = {"bfloat16": (torch.bfloat16, False), "nf4": (torch.bfloat16, True)}
    for base_dtype, expected in asked.items():
        with pytest.raises(Loaded) as found:
            skindiff.train_lora(corpus, None, base, base_dtype=base_dtype, image_size=TINY_SIZE)
        assert found.value.args == expected
    with pytest.raises(ConfigError, match="base_dtype is float16"):
        skindiff.train_lora(corpus, None, base, base_dtype="float16", image_size=TINY_SIZE)


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_weights_in_shards_are_refused_before_the_base_is_loaded(
    tmp_path: Path, kind: DistributedType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "load_pipeline", lambda *_, **__: pytest.fail("the base is loaded"))
    monkeypatch.setattr(Accelerator, "distributed_type", kind)
    base = str(save_tiny_pipeline(tmp_path / "base"))
    corpus = skindiff.load_corpus("phantom", images_per_class={"I": 2, "V": 2})
    with pytest.raises(TrainingError, match=rf"^{kind.value} shards weights, .*launch with --multi_gpu"):
        skindiff.train_lora(corpus, None, base, image_size=TINY_SIZE)


@pytest.mark.gpu
def test_four_bits_take_an_eighth_and_learn(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    folder = save_tiny_pipeline(tmp_path / "base", build=TINY_BUILDERS["Stable Diffusion XL"])
    pipeline = load_pipeline(str(folder), dtype=torch.bfloat16, quantised=True)
    assert pipeline.unet.device.type == "cpu"
    learnt = train_lora(Accelerator(), pipeline, lora(base_dtype="nf4"), tiny_corpus(), tmp_path / "lora")
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in learnt.log)
    layer = pipeline.unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q.base_layer")
    assert layer.weight.dtype == torch.uint8
