"""The contract of every architecture, and that nobody reaches past the seam."""

import ast
from pathlib import Path

import pytest
import torch

import skindiff
from skindiff.errors import GeneratorError
from skindiff.generators.text_to_image.architecture import Architecture
from skindiff.generators.text_to_image.loading import ARCHITECTURES, architecture_named, architecture_of
from skindiff.synthesis.schedulers import make_scheduler
from tests.tiny import TINY_BUILDERS as BUILDERS
from tests.tiny import TINY_SIZE

PARTS = {
    "unet",
    "transformer",
    "vae",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "vae_scale_factor",
}
KNOWING = ("training", "synthesis", "demo", "hub", "commands")


@pytest.mark.parametrize("room", KNOWING)
def test_rooms_to_the_right_know_the_seam_and_no_part_of_a_pipeline(room: str) -> None:
    package = Path(skindiff.__file__).parent
    own = {"training/vae.py", "training/ddpm.py"}  # of from-scratch families, whose parts are our own
    for path in (package / room).rglob("*.py"):
        if path.relative_to(package).as_posix() in own:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr not in PARTS, f"{path.name}:{node.lineno} reaches for .{node.attr}"
            if isinstance(node, ast.ImportFrom) and node.module == "diffusers":
                named = {alias.name for alias in node.names if alias.name.endswith("Pipeline")}
                assert not named - {"DiffusionPipeline"}, f"{path.name}:{node.lineno} names {named}"


def test_every_architecture_is_found_by_its_classes_and_tested_here() -> None:
    assert {known.name for known in ARCHITECTURES} == set(BUILDERS)
    names = [name for known in ARCHITECTURES for name in known.class_names]
    assert len(set(names)) == len(names)
    for known in ARCHITECTURES:
        assert all(architecture_named(name) is known for name in known.class_names)
    assert architecture_named("FluxFillPipeline") is None
    with pytest.raises(GeneratorError, match="a object is none of the StableDiffusionPipeline of"):
        architecture_of(object())


@pytest.mark.parametrize("seam", ARCHITECTURES, ids=lambda seam: seam.class_names[0])
def test_the_contract(seam: Architecture) -> None:
    pipeline = BUILDERS[seam.name]()
    assert architecture_of(pipeline) is seam
    seam.refuse_unfit(pipeline)
    networks = seam.networks(pipeline)
    assert seam.network(pipeline) is networks[0]
    adaptable = list(seam.adaptable(pipeline).values())
    assert adaptable[0] is networks[0]
    assert all(network in networks for network in adaptable)
    homes = [name for home in seam.token_homes for name in (home.tokenizer, home.text_encoder)]
    assert all(hasattr(pipeline, name) for name in (*homes, *seam.adaptable(pipeline)))

    images = torch.rand(2, 3, TINY_SIZE, TINY_SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = seam.encode_moments(pipeline, images)
    assert tuple(mean.shape[1:]) == tuple(std.shape[1:]) == seam.latent_shape(pipeline, TINY_SIZE)
    latents = seam.scale(pipeline, mean)
    torch.testing.assert_close(seam.decode(pipeline, latents), seam.decode(pipeline, mean, scaled=False))
    assert seam.decode(pipeline, latents).shape == images.shape

    prompts = ["An image of skin", "", "An image of skin"]
    ids, states = seam.tokenise(pipeline, prompts), seam.encode_prompts(pipeline, prompts)
    for tensor in (*ids.tensors.values(), *states.tensors.values()):
        assert len(tensor) == 3
        assert torch.equal(tensor[0], tensor[2])
    places, times = torch.tensor([0, 1]), torch.tensor([3, 500])
    told = seam.image_conditions(torch.tensor([[40, 60, 0, 8, TINY_SIZE, TINY_SIZE]] * 2))
    live = seam.denoiser(pipeline, live_text=True)(
        latents, times, seam.live_prompts(pipeline, prompts), places, told
    )
    frozen = seam.denoiser(pipeline, live_text=False)(latents, times, states, places, told)
    assert live.shape == latents.shape
    torch.testing.assert_close(live, frozen)
    inner = seam.activations(pipeline, latents, times, states[:2])
    assert len(inner) > 1
    assert all(part.ndim == 4 and len(part) == 2 for part in inner)
    again = seam.activations(pipeline, latents[:1], times[:1], states[:1])  # and leaves no hook behind
    torch.testing.assert_close(inner[-1][:1], again[-1])
    assert len(again) == len(inner)


@pytest.mark.parametrize("seam", ARCHITECTURES, ids=lambda seam: seam.class_names[0])
@pytest.mark.parametrize("mode", ["txt2img", "img2img"])
def test_it_draws_what_plain_diffusers_draws(seam: Architecture, mode: str) -> None:
    pipeline = BUILDERS[seam.name]()
    drawing = seam.drawing(pipeline, mode, make_scheduler(seam.samplers[-1], pipeline))  # type: ignore[arg-type]
    assert isinstance(drawing, seam.transfers if mode == "img2img" else seam.generates)
    image = {"image": torch.rand(1, 3, TINY_SIZE, TINY_SIZE), "strength": 0.5} if mode == "img2img" else {}
    size = {"height": TINY_SIZE, "width": TINY_SIZE} if mode == "txt2img" else seam.transfer_size(32, 32)
    settings = {"num_inference_steps": 4, **seam.guidance(2.0), "output_type": "np", **image, **size}
    states = seam.encode_prompts(pipeline, ["An image of skin", ""])
    plain = type(drawing)(**{**pipeline.components, "scheduler": drawing.scheduler})
    plain.set_progress_bar_config(disable=True)
    drawn = [
        kind(**asked, generator=torch.Generator().manual_seed(1), **settings).images
        for kind, asked in (
            (plain, {"prompt": "An image of skin"}),
            (drawing, seam.conditions(states[:1], states[1:])),
        )
    ]
    assert (drawn[0] == drawn[1]).all()
