"""What FLUX.1 has beside the contract of all architectures."""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FluxImg2ImgPipeline

from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators.text_to_image.flux import Flux, packed, unpacked
from skindiff.synthesis.config import SynthesisConfig
from skindiff.training.denoising_task import training_size
from skindiff.training.lora import LoRAConfig
from tests.tiny import tiny_flux

SEAM = Flux()


def test_prompts_are_encoded_as_diffusers_does() -> None:
    pipeline = tiny_flux()
    found = SEAM.encode_prompts(pipeline, ["An image of eczema"]).tensors
    states, pooled, _ = pipeline.encode_prompt("An image of eczema")
    assert torch.equal(found["prompt_embeds"], states)
    assert torch.equal(found["pooled_prompt_embeds"], pooled)
    assert states.shape[1] == 512


def test_latents_that_are_no_squares_are_packed_as_the_pipeline_does() -> None:
    latents = torch.randn(2, 4, 8, 12)
    tokens = packed(latents)
    assert tokens.shape == (2, 4 * 6, 16)
    assert torch.equal(tokens[0, 7, :4], latents[0, 0, 2:4, 2:4].flatten())
    assert torch.equal(unpacked(tokens, 8, 12), latents)


@pytest.mark.parametrize("dev", [True, False])
def test_guidance_reaches_the_network_of_dev_alone(dev: bool) -> None:
    pipeline = tiny_flux(guidance_embeds=dev)
    prompts = SEAM.encode_prompts(pipeline, ["An image of skin"])
    given = (torch.randn(1, 4, 8, 12), torch.tensor([500.0]), prompts, torch.tensor([0]), prompts)
    found = [SEAM.denoiser(pipeline, live_text=False, guidance=scale)(*given) for scale in (1.0, 3.5)]
    assert torch.equal(*found) != dev
    assert SEAM.takes_guidance(pipeline) == dev
    expected = pipeline.transformer(
        hidden_states=packed(given[0]),
        timestep=torch.tensor([0.5]),
        guidance=torch.tensor([3.5]) if dev else None,
        pooled_projections=prompts.tensors["pooled_prompt_embeds"],
        encoder_hidden_states=prompts.tensors["prompt_embeds"],
        txt_ids=torch.zeros(512, 3),
        img_ids=pipeline._prepare_latent_image_ids(1, 4, 6, "cpu", torch.float32),
    ).sample
    torch.testing.assert_close(found[1], unpacked(expected, 8, 12))


def test_words_have_all_their_rows_in_a_class_without_the_mixin() -> None:
    pipeline = tiny_flux()
    pipeline.tokenizer.add_tokens(["<it>", "<it>_1"])
    transfer = FluxImg2ImgPipeline(**pipeline.components)
    (ids,) = SEAM.tokenise(transfer, ["An image of <it>"]).tensors["input_ids"]
    first = pipeline.tokenizer.convert_tokens_to_ids("<it>")
    assert ids.tolist().count(first) == ids.tolist().count(first + 1) == 1


def test_a_prompt_that_t5_would_cut_off_is_refused() -> None:
    pipeline = tiny_flux()
    pipeline.tokenizer.model_max_length = 10**4
    with pytest.raises(GeneratorError, match="is too long: it is 601 tokens for T5, which takes 512; "):
        SEAM.tokenise(pipeline, [" ".join(["skin"] * 600)])


@pytest.mark.parametrize(
    ("part", "setting", "value", "words"),
    [
        ("transformer", "in_channels", 64, "in_channels does not fit"),
        ("transformer", "joint_attention_dim", 8, "joint_attention_dim does not fit"),
        ("vae", "shift_factor", None, "has no shift_factor, which FLUX.1 applies"),
        ("vae", "scaling_factor", -1.0, "scaling_factor does not fit"),
    ],
)
def test_parts_that_do_not_fit_are_refused(part: str, setting: str, value: Any, words: str) -> None:
    pipeline = tiny_flux()
    getattr(pipeline, part).register_to_config(**{setting: value})
    with pytest.raises(GeneratorError, match=words):
        SEAM.refuse_unfit(pipeline, "model 'x'")


def test_another_scheduler_is_refused() -> None:
    pipeline = tiny_flux()
    pipeline.scheduler = DDIMScheduler()
    with pytest.raises(GeneratorError, match=r"its scheduler is a DDIMScheduler, and FLUX.1 is sampled by"):
        SEAM.refuse_unfit(pipeline)


def test_sizes_that_cannot_be_packed_are_refused_with_the_nearest() -> None:
    pipeline = tiny_flux()
    pipeline.vae_scale_factor = 8
    with pytest.raises(ConfigError, match=r"image_size is 40, and this FLUX.1 model takes multiples of 16"):
        training_size(pipeline, LoRAConfig(image_size=40))
    assert training_size(pipeline, LoRAConfig(image_size=48)) == 48


def test_the_sampler_follows_from_the_architecture() -> None:
    assert SynthesisConfig().sampled_by(SEAM).scheduler == "euler"
    with pytest.raises(
        ConfigError, match=r"synthesis.scheduler: 'pndm' cannot follow FLUX.1; use one of euler"
    ):
        SynthesisConfig(scheduler="pndm").sampled_by(SEAM)
