"""What Stable Diffusion XL has beside the contract of all architectures."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import skindiff
from skindiff.errors import GeneratorError
from skindiff.generators.text_to_image.loading import check_text_to_image, load_pipeline
from skindiff.generators.text_to_image.sdxl import StableDiffusionXL
from tests.tiny import TINY_SIZE, save_tiny_pipeline, tiny_sdxl

SEAM = StableDiffusionXL()
IMAGES = torch.rand(2, 3, TINY_SIZE, TINY_SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("zeros", [True, False])
def test_prompts_are_encoded_as_diffusers_does(zeros: bool) -> None:
    pipeline = tiny_sdxl()
    pipeline.register_to_config(force_zeros_for_empty_prompt=zeros)
    found = SEAM.encode_prompts(pipeline, ["An image of eczema", ""]).tensors
    states, free, pooled, free_pooled = pipeline.encode_prompt("An image of eczema")
    assert torch.equal(found["prompt_embeds"], torch.cat([states, free]))
    assert torch.equal(found["pooled_prompt_embeds"], torch.cat([pooled, free_pooled]))
    assert bool(free.any()) != zeros


def test_the_time_ids_reach_the_network() -> None:
    pipeline = tiny_sdxl()
    states = SEAM.encode_prompts(pipeline, ["An image of skin"])
    inputs = (torch.randn(1, 4, 8, 8), torch.tensor([500]), states, torch.tensor([0]))
    module = SEAM.denoiser(pipeline, live_text=False)

    def predict(*framing: int) -> torch.Tensor:
        return module(*inputs, SEAM.image_conditions(torch.tensor([framing])))

    whole = predict(32, 32, 0, 0, 32, 32)
    expected = pipeline._get_add_time_ids((40, 60), (0, 8), (32, 32), torch.float32, 16)
    told = {"text_embeds": states.tensors["pooled_prompt_embeds"], "time_ids": expected}
    plain = pipeline.unet(inputs[0], inputs[1], states.tensors["prompt_embeds"], added_cond_kwargs=told)
    assert torch.equal(predict(40, 60, 0, 8, 32, 32), plain.sample)
    assert not torch.equal(plain.sample, whole)


def test_an_autoencoder_that_overflows_runs_in_float32() -> None:
    half, whole = tiny_sdxl().to(torch.float16), tiny_sdxl().to(torch.float16)
    whole.vae.to(torch.float32)
    mean, std = SEAM.encode_moments(half, IMAGES)
    assert all(map(torch.equal, (mean, std), SEAM.encode_moments(whole, IMAGES)))
    assert torch.equal(SEAM.decode(half, mean), SEAM.decode(whole, mean))
    assert SEAM.latent_facts(half) | {"vae": ""} == SEAM.latent_facts(whole) | {"vae": ""}
    assert half.vae.dtype == torch.float16
    half.vae.register_to_config(force_upcast=False)
    assert SEAM.latent_facts(half)["dtype"] == "torch.float16"


def test_a_folder_loads_as_it_was_saved(tmp_path: Path) -> None:
    folder = save_tiny_pipeline(tmp_path / "xl", build=tiny_sdxl)
    pipeline: Any = skindiff.load(folder)
    settings = {"num_inference_steps": 2, "output_type": "pt"}
    drawn = [
        one("An image of skin", generator=torch.Generator().manual_seed(0), **settings).images
        for one in (pipeline, tiny_sdxl())
    ]
    assert torch.equal(*drawn)


def test_the_refiner_is_refused_by_its_index(tmp_path: Path) -> None:
    index = {
        "_class_name": "StableDiffusionXLImg2ImgPipeline",
        "requires_aesthetics_score": True,
        "text_encoder": [None, None],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(GeneratorError, match=r"is the refiner of Stable Diffusion XL.*: give the base model"):
        check_text_to_image(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("StableDiffusionXLInpaintPipeline", "StableDiffusionXLPipeline of Stable Diffusion XL"),
        ("FluxKontextPipeline", "StableDiffusionPipeline of Stable Diffusion 1.x and 2.x"),
        ("PixArtSigmaPipeline", "give one of those"),
    ],
)
def test_what_is_not_supported_is_one_line_that_names_what_is(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(GeneratorError, match=name) as error:
        check_text_to_image(str(tmp_path))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("part", "setting", "value", "words"),
    [
        ("unet", "in_channels", 9, "in_channels does not fit"),
        ("unet", "projection_class_embeddings_input_dim", 56, "projection_class_embeddings_input_dim"),
        ("unet", "cross_attention_dim", 16, "cross_attention_dim does not fit"),
        ("vae", "latents_mean", [0.1] * 4, "has a latents_mean, which Stable Diffusion XL does not apply"),
        ("vae", "shift_factor", 0.1, "has a shift_factor"),
        ("", "force_zeros_for_empty_prompt", "yes", "force_zeros_for_empty_prompt does not fit"),
    ],
)
def test_parts_that_do_not_fit_are_refused(part: str, setting: str, value: Any, words: str) -> None:
    pipeline = tiny_sdxl()
    (getattr(pipeline, part) if part else pipeline).register_to_config(**{setting: value})
    with pytest.raises(GeneratorError, match=words):
        SEAM.refuse_unfit(pipeline, "model 'x'")


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ("text_encoder_2", [None, None]),
        ("text_encoder_2", ["transformers", "CLIPTextModel"]),
        ("tokenizer_2", [None, None]),
    ],
)
def test_a_part_of_another_class_is_refused(tmp_path: Path, part: str, kind: list[str | None]) -> None:
    folder = save_tiny_pipeline(tmp_path / "xl", build=tiny_sdxl)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, part: kind}))
    with pytest.raises(GeneratorError, match=f"its {part} is no CLIP.*: get it again") as error:
        load_pipeline(str(folder))
    assert "\n" not in str(error.value)


def test_a_text_encoder_without_layers_is_refused() -> None:
    pipeline = tiny_sdxl()
    pipeline.text_encoder.config.num_hidden_layers = 0
    with pytest.raises(GeneratorError, match="text encoder 1's num_hidden_layers does not fit"):
        SEAM.refuse_unfit(pipeline, "model 'x'")
