"""What a training takes of a GPU, computed."""

from types import ModuleType
from typing import Any

import pytest
import torch

from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training.lora import LoRAConfig, add_lora
from tests.conftest import REPOSITORY
from tests.test_scripts import load_script
from tests.tiny import TINY_BUILDERS, TINY_SIZE

DOCUMENT = REPOSITORY / "docs" / "memory.md"
PUBLISHED = {
    "Stable Diffusion 1.5": (859_520_964, 123_060_480),
    "Stable Diffusion 2.1": (865_910_724, 340_387_840),
    "Stable Diffusion XL": (2_567_463_684, 694_659_840),
    "Stable Diffusion 3.5 medium": (2_469_663_936, 4_762_310_656),
    "Stable Diffusion 3.5 large": (8_146_280_768, 4_762_310_656),
    "FLUX.1 dev": (11_901_408_320, 4_762_310_656),
    "Z-Image": (6_154_908_736, 4_022_468_096),
}
"""Weights of the network that denoises (of Stable Diffusion 3.5 with the positions that are stored with them)
and of the largest text encoder."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("memory_table")


def test_models_have_the_weights_that_are_published(script: ModuleType) -> None:
    assert {model.name for model in script.MODELS} == set(PUBLISHED)
    with torch.device("meta"):
        for model in script.MODELS:
            found = script.count_weights(model.network()), script.count_weights(model.texts[-1]())
            assert found == PUBLISHED[model.name], model.name


@pytest.mark.parametrize("name", ["Stable Diffusion 1.x and 2.x", "FLUX.1"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_is_kept_without_memory_is_what_is_kept(
    script: ModuleType, name: str, checkpointing: bool
) -> None:
    kept = {}
    for device in ("cpu", "meta"):
        pipeline: Any = TINY_BUILDERS[name]()
        seam = architecture_of(pipeline)
        network = seam.network(pipeline)
        add_lora(pipeline, LoRAConfig())
        network.to(device)
        shape = (1, *seam.latent_shape(pipeline, TINY_SIZE))
        states = seam.encode_prompts(pipeline, ["An image of skin"]).to(device)
        module = seam.denoiser(pipeline, live_text=False)
        given = torch.zeros(shape, device=device), torch.zeros(1, device=device), states
        told = torch.tensor([0]), seam.image_conditions(torch.zeros(1, 6))
        kept[device] = script.kept_by_step(
            network, lambda module=module, given=given, told=told: module(*given, *told),
            checkpointing=checkpointing,
        )  # fmt: skip
    assert kept["meta"] == kept["cpu"] > 0


def test_the_weights_of_a_training(script: ModuleType) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(64, 10), torch.nn.Conv2d(3, 5, 1))
    assert script.weights_size(network, "float32") == 4 * (650 + 20)
    assert script.weights_size(network, "bfloat16") == 2 * (650 + 20)
    assert script.weights_size(network, "nf4") == 640 // 2 + 10 * 4 + 2 * (10 + 20)
    small = script.MODELS[0]
    plain, again = (script.counts_of(small, 512, "bfloat16", checkpointing=one) for one in (False, True))
    assert plain.weights == again.weights == 2 * 859_520_964
    assert plain.learnt == again.learnt == 16 * 1_594_368
    assert again.kept < plain.kept
    assert plain.peak == plain.weights + plain.learnt + plain.kept


@pytest.mark.slow
def test_the_table_of_the_document_is_the_scripts(script: ModuleType) -> None:
    assert script.table() in DOCUMENT.read_text(encoding="utf-8")
