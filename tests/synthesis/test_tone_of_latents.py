"""Transfer with tone on each kind of latent: of 4 channels, of 16, and packed.

A tiny pipeline of each is taught two tones, and sources that it has not seen are moved from one to the other.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab

from skindiff.corpora.schema import corpus_features
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.conditioning import Conditioning
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.measures.skin.tone import ita_degrees
from skindiff.synthesis.batches import fixed_threads
from skindiff.synthesis.config import SynthesisConfig, Tone
from skindiff.synthesis.draw import Drawer
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.tone import TonePrototypes, estimate_prototypes
from skindiff.training.flow_objective import FlowConfig
from skindiff.training.objectives import objective_of
from tests.tiny import TINY_SIZE, tiny_flux, tiny_pipeline, tiny_sd3

TONES = {"II": (222, 184, 160), "VI": (84, 58, 48)}
"""sRGB of the skin of each type."""
LATENTS: dict[str, Callable[[], Any]] = {
    # A U-Net that predicts noise hardly learns the mean of an image, and with it the tone, in so few steps.
    "4 channels": partial(tiny_pipeline, "v_prediction"),
    "16 channels": tiny_sd3,
    "packed": tiny_flux,
}
WITH_TONE: tuple[tuple[Tone, float], ...] = (
    ("latent_mean", 0.3),
    ("prototype_colour", 0.3),
    ("prototype_colour", 0.1),
)
"""Options and strengths."""
_EACH = 16
"""Training images of each tone."""


def skin(tone: str, count: int, seed: int) -> NDArray[np.uint8]:
    """Images of a tone, (count, size, size, 3), each a little lighter or darker and grained."""
    generator = np.random.default_rng(seed)
    lamp = generator.uniform(-8, 8, (count, 1, 1, 1))
    grain = generator.normal(0, 4, (count, TINY_SIZE, TINY_SIZE, 3))
    return (np.array(TONES[tone]) + lamp + grain).clip(0, 255).astype(np.uint8)


def ita(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    lab = np.median(rgb2lab(images / 255.0), axis=(1, 2))
    return ita_degrees(lab[:, 0], lab[:, 2])


def learn(network: Any, steps: int, rate: float, loss: Callable[[torch.Generator], torch.Tensor]) -> None:
    network.requires_grad_(True).train()
    optimiser, generator = torch.optim.Adam(network.parameters(), lr=rate), torch.Generator().manual_seed(0)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(generator).backward()
        optimiser.step()
    network.requires_grad_(False).eval()


def taught(build: Callable[[], Any]) -> Any:
    """A tiny pipeline whose networks have learnt two tones and the words for them."""
    pipeline = build()
    seam, vae = architecture_of(pipeline), pipeline.vae
    pixels = np.concatenate([skin(tone, _EACH, seed) for seed, tone in enumerate(TONES)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1

    def redrawn(generator: torch.Generator) -> torch.Tensor:
        some = images[torch.randperm(len(images), generator=generator)[:8]]
        return (vae.decode(vae.encode(some).latent_dist.mode()).sample - some).square().mean()

    learn(vae, 100, 5e-3, redrawn)
    means, _ = seam.encode_moments(pipeline, images)
    shift = {"shift_factor": float(means.mean())} if vae.config.shift_factor else {}
    vae.register_to_config(scaling_factor=float(1 / means.std()), **shift)
    latents = seam.scale(pipeline, means)
    prompts = seam.live_prompts(pipeline, [prompt_for("skin lesion", tone) for tone in TONES])
    objective = objective_of(pipeline, FlowConfig(), noise_offset=0.0)
    module = seam.denoiser(pipeline, live_text=True)

    def denoised(generator: torch.Generator) -> torch.Tensor:
        # Both tones in the same noise, so that the words alone tell which of them it is.
        rows, shape = torch.randint(_EACH, (4,), generator=generator), latents.shape[1:]
        clean = latents[torch.cat([rows, rows + _EACH])]
        times = torch.stack([objective.draw_timestep(shape, generator) for _ in rows]).repeat(2)
        noise = torch.randn(4, *shape, generator=generator).repeat(2, 1, 1, 1)
        noised = objective.add_noise(clean, noise, times)
        found = module(noised, times, prompts, torch.arange(8) // 4, Conditioning({}))
        return (found - objective.target(clean, noise, times)).square().mean()

    learn(module, 150, 3e-3, denoised)
    return pipeline


def transferred(
    pipeline: Any, held_out: NDArray[np.uint8], prototypes: TonePrototypes, tone: Tone, strength: float
) -> NDArray[np.uint8]:
    """The held-out images, which are of type II, transferred to type VI."""
    ids = [f"held-out-{number}" for number in range(len(held_out))]
    columns = {"image_id": ids, "group_id": ids, "image": [Image.fromarray(one) for one in held_out]}
    same = {"label": 0, "skin_type": "II", "corpus": "two tones"}
    sources = Dataset.from_dict(
        {**columns, **{name: [value] * len(ids) for name, value in same.items()}},
        features=corpus_features(["skin lesion"]),
    )
    config = SynthesisConfig(
        strategy="vanilla", images_per_source=1, targets=["VI"], tone=tone, image_size=TINY_SIZE,
        guidance_scale=1.0, batch_size=4, strength=strength, steps=20,
    ).sampled_by(architecture_of(pipeline))  # fmt: skip
    plan = make_plan(sources, config, seed=1, generator="two tones", threads=1)
    drawn = Drawer(pipeline, sources, prototypes).draw(plan.to_list())
    return np.stack([drawn.images[number] for number in range(len(ids))])


def interval(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """95% of the mean, by a bootstrap over images."""
    picks = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    return np.quantile(values[picks].mean(axis=1), [0.025, 0.975])


@pytest.mark.slow
@pytest.mark.parametrize("build", LATENTS.values(), ids=LATENTS)
def test_sources_that_were_held_out_cross_half_of_the_gap(build: Callable[[], Any]) -> None:
    held_out, other = skin("II", 12, seed=7), skin("VI", 12, seed=7)
    gap = float((ita(held_out) - ita(other)).mean())
    with fixed_threads(1):
        pipeline = taught(build)
        prototypes = estimate_prototypes(pipeline, list(TONES), ["skin lesion"], size=TINY_SIZE, draws=8)

        def shift(tone: Tone, strength: float) -> NDArray[np.float64]:
            moved = transferred(pipeline, held_out, prototypes, tone, strength)
            return interval(ita(held_out) - ita(moved)) / gap

        assert gap > 60
        for tone, strength in WITH_TONE:
            low, high = shift(tone, strength)
            assert 0.5 < low <= high < 1.5, f"{tone}, {strength}: {low:.2f} to {high:.2f} of the gap"
        # It is the option that moves the tone: where little noise is added, words alone do not.
        low, high = shift("none", 0.1)
        assert -0.1 < low <= high < 0.1
