"""What Stable Diffusion 3 has beside the contract of all architectures."""

from pathlib import Path
from typing import Any

import pytest
import torch

import skindiff
from skindiff.errors import GeneratorError
from skindiff.generators.text_to_image.sd3 import StableDiffusion3
from skindiff.training.lora import LoRAConfig, add_lora
from tests.tiny import save_tiny_pipeline, tiny_sd3

SEAM = StableDiffusion3()


@pytest.mark.parametrize("t5", [True, False])
def test_prompts_are_encoded_as_diffusers_does(t5: bool) -> None:
    pipeline = tiny_sd3(t5=t5)
    SEAM.refuse_unfit(pipeline)
    found = SEAM.encode_prompts(pipeline, ["An image of eczema", ""]).tensors
    states, free, pooled, free_pooled = pipeline.encode_prompt(*["An image of eczema"] * 3)
    assert torch.equal(found["prompt_embeds"], torch.cat([states, free]))
    assert torch.equal(found["pooled_prompt_embeds"], torch.cat([pooled, free_pooled]))
    assert bool(states[:, 32:].any()) == t5


def test_a_folder_without_t5_loads_as_it_was_saved(tmp_path: Path) -> None:
    folder = save_tiny_pipeline(tmp_path / "sd3", build=lambda seed: tiny_sd3(seed, t5=False))
    pipeline: Any = skindiff.load(folder)
    assert pipeline.text_encoder_3 is None
    drawn = [
        one(
            "An image of skin",
            num_inference_steps=2,
            output_type="pt",
            generator=torch.Generator().manual_seed(0),
        ).images
        for one in (pipeline, tiny_sd3(t5=False))
    ]
    torch.testing.assert_close(*drawn)


def test_both_attentions_of_a_block_and_no_queries_that_are_dropped_are_trained() -> None:
    pipeline = tiny_sd3()
    add_lora(pipeline, LoRAConfig(targets=["to_q", "add_q_proj"]))
    names = {name for name, _ in pipeline.transformer.named_parameters() if "lora_A" in name}
    layers = {name.removeprefix("transformer_blocks.").partition(".lora_A")[0] for name in names}
    assert layers == {"0.attn.to_q", "0.attn2.to_q", "0.attn.add_q_proj", "1.attn.to_q"}


def test_a_word_that_none_can_have_learnt_is_refused() -> None:
    with pytest.raises(GeneratorError, match="<skindiff-eczema> is no learned token of this pipeline"):
        SEAM.tokenise(tiny_sd3(), ["An image of <skindiff-eczema>"])


@pytest.mark.parametrize(
    ("part", "setting", "value", "words"),
    [
        ("transformer", "in_channels", 4, "in_channels does not fit"),
        ("transformer", "pooled_projection_dim", 16, "pooled_projection_dim does not fit"),
        ("transformer", "joint_attention_dim", 64, "text_encoder_3 does not fit"),
        ("vae", "shift_factor", None, "has no shift_factor"),
    ],
)
def test_parts_that_do_not_fit_are_refused(part: str, setting: str, value: Any, words: str) -> None:
    pipeline = tiny_sd3()
    getattr(pipeline, part).register_to_config(**{setting: value})
    with pytest.raises(GeneratorError, match=words):
        SEAM.refuse_unfit(pipeline, "model 'x'")
