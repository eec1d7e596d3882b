"""What Z-Image has beside the contract of all architectures."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import skindiff
from skindiff.errors import GeneratorError
from skindiff.generators.lora_formats import load_lora_file
from skindiff.generators.text_to_image.z_image import ZImage
from tests.tiny import TINY_SIZE, save_tiny_pipeline, tiny_z_image

SEAM = ZImage()


def test_prompts_are_encoded_as_diffusers_does_each_in_its_own_length() -> None:
    pipeline = tiny_z_image()
    prompts = ["An image of eczema", ""]
    told = SEAM.conditions(*(SEAM.encode_prompts(pipeline, [prompt]) for prompt in prompts))
    (states,), (free,) = pipeline.encode_prompt(prompts[0])
    assert torch.equal(told["prompt_embeds"][0], states)
    assert torch.equal(told["negative_prompt_embeds"][0], free)
    assert len(free) < len(states) < 512


def test_the_way_to_noise_is_what_the_pipeline_follows() -> None:
    pipeline = tiny_z_image()
    prompts = SEAM.encode_prompts(pipeline, ["An image of skin"])
    latents = torch.randn(1, 16, 8, 12)
    found = SEAM.denoiser(pipeline, live_text=False)(
        latents, torch.tensor([250.0]), prompts, torch.tensor([0]), prompts
    )
    states, _ = pipeline.encode_prompt("An image of skin")
    (back,) = pipeline.transformer([latents[0][:, None]], torch.tensor([0.75]), states).sample
    torch.testing.assert_close(found[0], -back[:, 0])


def test_guidance_of_1_is_none() -> None:
    assert SEAM.guidance(1.0) == {"guidance_scale": 0.0}
    assert SEAM.guidance(5.0) == {"guidance_scale": 4.0}


def test_a_folder_loads_as_it_was_saved(tmp_path: Path) -> None:
    pipeline: Any = skindiff.load(save_tiny_pipeline(tmp_path / "z", build=tiny_z_image))
    size = {"height": TINY_SIZE, "width": TINY_SIZE}
    drawn = [
        one(
            "An image of skin",
            num_inference_steps=2,
            output_type="pt",
            generator=torch.Generator().manual_seed(0),
            **size,
        ).images
        for one in (pipeline, tiny_z_image())
    ]
    torch.testing.assert_close(*drawn)


def test_a_lora_in_kohyas_keys_is_read_at_its_strength(tmp_path: Path) -> None:
    pipeline, name = tiny_z_image(), "lora_unet_layers_0_attention_to_q"
    down, up = torch.randn(2, 32), torch.randn(32, 2)
    file = {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(6.0)}
    save_file({f"{name}.{end}": one for end, one in file.items()}, tmp_path / "it.safetensors")
    load_lora_file(pipeline, tmp_path / "it.safetensors", "it")
    found = pipeline.transformer.layers[0].attention.to_q.get_delta_weight("it")
    torch.testing.assert_close(found, 3.0 * up @ down, rtol=1e-4, atol=1e-5)


def test_a_prompt_that_would_be_cut_off_is_refused() -> None:
    with pytest.raises(GeneratorError, match=r"too long: it is .* tokens for its text encoder, which takes"):
        SEAM.tokenise(tiny_z_image(), [" ".join(["skin"] * 200)])


@pytest.mark.parametrize(
    ("part", "setting", "value", "words"),
    [
        ("transformer", "in_channels", 4, "in_channels does not fit"),
        ("transformer", "cap_feat_dim", 24, "cap_feat_dim does not fit"),
        ("vae", "shift_factor", None, "has no shift_factor"),
    ],
)
def test_parts_that_do_not_fit_are_refused(part: str, setting: str, value: Any, words: str) -> None:
    pipeline = tiny_z_image()
    getattr(pipeline, part).register_to_config(**{setting: value})
    with pytest.raises(GeneratorError, match=words):
        SEAM.refuse_unfit(pipeline, "model 'x'")
