"""DoRA and rank-stabilised LoRA, from training to plain diffusers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators.adapter import Adapter, load_adapter
from skindiff.generators.export import export_adapter
from skindiff.generators.lora_formats import LORA_FILE, kohya_keys, lora_settings
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, add_lora, train_lora
from skindiff.weights import read_tensors
from tests.tiny import TINY_BUILDERS, TINY_SIZE, tiny_corpus, tiny_pipeline

NORMS = ".lora_magnitude_vector"


def config(**settings: Any) -> LoRAConfig:
    loop = LoopConfig(steps=2, batch_size=2, learning_rate=0.02)
    return LoRAConfig(loop=loop, rank=4, image_size=TINY_SIZE, validation_examples=8, **settings)


def run(folder: Path, pipeline: Any, **settings: Any) -> Adapter:
    return train_lora(Accelerator(cpu=True), pipeline, config(**settings), tiny_corpus(), folder)


def draw(pipeline: Any) -> torch.Tensor:
    size = {"height": TINY_SIZE, "width": TINY_SIZE, "num_inference_steps": 2, "output_type": "pt"}
    images: torch.Tensor = pipeline(
        "An image of skin", generator=torch.Generator().manual_seed(0), **size
    ).images
    return images


@pytest.mark.parametrize("build", TINY_BUILDERS.values(), ids=TINY_BUILDERS)
def test_dora_learns_its_norms_and_draws_the_same_in_plain_diffusers(
    tmp_path: Path, build: Callable[..., Any]
) -> None:
    trained, plain, ours, fused, fresh = (build() for _ in range(5))
    learnt = run(tmp_path, trained, use_dora=True)
    add_lora(fresh, config(use_dora=True))
    norms = {name: weight for name, weight in read_tensors(learnt.folder / LORA_FILE).items()
             if name.endswith(NORMS)}  # fmt: skip
    first = next(iter(architecture_of(fresh).kohya))
    before = dict(architecture_of(fresh).network(fresh).named_parameters())
    assert norms
    for name, weight in norms.items():
        assert not torch.equal(weight, before[f"{name.removeprefix(f'{first}.')}.skindiff.weight"])
    plain.load_lora_weights(str(learnt.folder))
    load_adapter(ours, learnt.folder)
    load_adapter(fused, learnt.folder, fuse=True)
    expected = draw(trained)
    assert torch.equal(draw(plain), expected)
    assert torch.equal(draw(ours), expected)
    torch.testing.assert_close(draw(fused), expected, rtol=0, atol=1e-4)
    with pytest.raises(GeneratorError, match=r"it is a DoRA, whose .*; use it in diffusers, or train with"):
        export_adapter(learnt.folder, tmp_path / "exported", "skin")


def test_rank_stabilised_updates_have_twice_the_scale_of_rank_4_and_are_exported_with_it(
    tmp_path: Path,
) -> None:
    trained, plain = tiny_pipeline(), tiny_pipeline()
    learnt = run(tmp_path, trained, alpha=4.0, use_rslora=True)
    scales = {module.scaling["skindiff"] for module in trained.unet.modules() if hasattr(module, "lora_A")}
    assert scales == {2.0}
    plain.load_lora_weights(str(learnt.folder))
    assert torch.equal(draw(plain), draw(trained))
    file = learnt.folder / LORA_FILE
    written = kohya_keys(read_tensors(file), lora_settings(file), learnt.architecture.kohya)
    assert {float(tensor) for name, tensor in written.items() if name.endswith(".alpha")} == {8.0}


def test_dora_of_text_encoders_is_refused_where_diffusers_loses_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^lora\.use_dora is true, but diffusers loses its norms in text"):
        config(use_dora=True, train_text_encoder=True).validate("lora.")
