from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler
from safetensors.torch import save_file

from skindiff.errors import SynthesisError
from skindiff.generators.adapter import use_zero_terminal_snr
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.synthesis.schedulers import make_scheduler, start_noise_ratio
from skindiff.synthesis.tone import (
    TonePrototypes,
    estimate_prototypes,
    latent_shift,
    noise_offset,
    prototype_types,
    read_prototypes,
    subjects_of,
)
from tests.tiny import TINY_BUILDERS, tiny_flux, tiny_pipeline

PROTOTYPES = TonePrototypes(
    {"I": torch.tensor([0.0, 1.0, 0.0, 0.0]), "VI": torch.tensor([1.0, 1.0, -2.0, 0.5])},
    {"I": (75.0, 8.0, 12.0), "VI": (38.0, 11.0, 20.0)},
)


def test_the_mean_moves_by_the_difference_of_prototypes_and_nothing_else_does() -> None:
    latent = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))

    moved = latent + latent_shift(latent, "I", "VI", PROTOTYPES, 1.0)

    difference = moved.mean(dim=(1, 2)) - latent.mean(dim=(1, 2))
    torch.testing.assert_close(difference, torch.tensor([1.0, 0.0, -2.0, 0.5]))
    torch.testing.assert_close(moved - moved.mean((1, 2), True), latent - latent.mean((1, 2), True))
    torch.testing.assert_close(
        latent_shift(latent, "I", "VI", PROTOTYPES, 0.5) * 2, latent_shift(latent, "I", "VI", PROTOTYPES, 1.0)
    )


def test_a_source_of_unknown_type_is_moved_from_its_own_mean() -> None:
    latent = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1))

    moved = latent + latent_shift(latent, None, "VI", PROTOTYPES, 1.0)

    torch.testing.assert_close(moved.mean(dim=(1, 2)), PROTOTYPES.means["VI"])


def test_a_type_without_prototype_is_refused() -> None:
    with pytest.raises(SynthesisError, match="no prototype of skin type V: estimate it"):
        latent_shift(torch.zeros(4, 2, 2), "I", "V", PROTOTYPES, 1.0)


def test_only_rows_that_are_moved_by_the_generators_tones_need_prototypes() -> None:
    def row(tone: str, source: str | None, target: str) -> dict[str, str | None]:
        return {"tone": tone, "source_skin_type": source, "skin_type": target}

    rows = [row("prototype_colour", "II", "V"), row("latent_mean", "VI", "VI"), row("colour", "I", "IV")]
    assert prototype_types(rows) == ["II", "V"]
    assert prototype_types([row("latent_mean", None, "VI")]) == ["VI"]
    assert prototype_types(rows[1:]) == []


@pytest.mark.parametrize("build", TINY_BUILDERS.values(), ids=TINY_BUILDERS)
def test_prototypes_are_the_generators_own_and_survive_a_file(
    tmp_path: Path, build: Callable[[], Any]
) -> None:
    pipeline = build()
    prototypes = estimate_prototypes(pipeline, ["I", "VI"], ["eczema"], size=32, draws=3)
    again = estimate_prototypes(pipeline, ["VI", "I"], ["eczema"], size=32, draws=3)
    path = tmp_path / "prototypes.safetensors"
    path.write_bytes(prototypes.to_bytes())

    channels = architecture_of(pipeline).latent_shape(pipeline, 32)[0]
    assert prototypes.means["I"].shape == (channels,)
    assert not torch.equal(prototypes.means["I"], prototypes.means["VI"])
    for other in (again, TonePrototypes.load(path)):
        assert all(torch.equal(other.means[name], prototypes.means[name]) for name in ("I", "VI"))
        assert sorted(other.contrasts) == ["I>VI", "VI>I"]
        assert all(torch.equal(own, other.contrasts[name]) for name, own in prototypes.contrasts.items())
        assert all(other.colours[name] == pytest.approx(prototypes.colours[name]) for name in ("I", "VI"))
    assert 0 < prototypes.colours["I"][0] < 100


def test_the_contrast_is_that_of_pairs_from_the_same_noise() -> None:
    prototypes = estimate_prototypes(tiny_pipeline(), ["I", "VI"], ["eczema"], draws=3)

    there, back = prototypes.contrasts["I>VI"], prototypes.contrasts["VI>I"]
    assert there.shape == (3, 3)
    assert not torch.allclose(there, back)


def test_several_subjects_have_commas_between_them() -> None:
    assert subjects_of("smooth skin, red patch") == ["smooth skin", "red patch"]
    assert subjects_of("skin lesion") == ["skin lesion"]


def test_a_generator_that_gives_nan_has_no_prototypes() -> None:
    pipeline = tiny_pipeline()
    with torch.no_grad():
        pipeline.unet.conv_out.bias.fill_(float("nan"))

    with pytest.raises(SynthesisError, match="not finite: load it in float32"):
        estimate_prototypes(pipeline, ["I"], ["eczema"], draws=1)


def test_an_offset_of_the_start_noise_is_a_shift_of_the_clean_latent() -> None:
    pipeline = tiny_pipeline()
    scheduler = make_scheduler("dpmsolver++", pipeline)
    latent, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    offset = noise_offset(5, 4, 0.7)[None]
    ratio = start_noise_ratio(pipeline, scheduler, 20, 0.5, (4, 8, 8))
    start = scheduler.timesteps[10:11]

    torch.testing.assert_close(
        scheduler.add_noise(latent + ratio * offset, noise, start),
        scheduler.add_noise(latent, noise + offset, start),
    )
    assert torch.equal(noise_offset(5, 4, 0.7), noise_offset(5, 4, 0.7))
    assert noise_offset(5, 4, 0.7).std() > 0


def test_so_it_is_in_flow_matching_where_the_schedule_is_shifted() -> None:
    pipeline = tiny_flux()
    scheduler = make_scheduler("euler", pipeline)
    latent, noise = torch.randn(1, 4, 8, 12), torch.randn(1, 4, 8, 12)
    offset = noise_offset(5, 4, 0.7)[None]
    ratio = start_noise_ratio(pipeline, scheduler, 14, 0.3, (4, 8, 12))
    # As FluxImg2ImgPipeline has it: 14 * 0.3 is 4.2, and five steps are run.
    start = scheduler.timesteps[9:10]
    torch.testing.assert_close(
        scheduler.scale_noise(latent + ratio * offset, start, noise),
        scheduler.scale_noise(latent, start, noise + offset),
    )
    with pytest.raises(SynthesisError, match="strength 1 starts from noise alone"):
        start_noise_ratio(pipeline, scheduler, 14, 1.0, (4, 8, 12))


def test_prototypes_of_packed_latents_have_a_mean_for_each_channel_of_the_autoencoder() -> None:
    found = estimate_prototypes(tiny_flux(), ["I", "VI"], ["eczema"], draws=2)
    assert found.means["I"].shape == (4,)
    assert not torch.equal(found.means["I"], found.means["VI"])


def test_a_sampler_that_an_architecture_cannot_follow_is_refused() -> None:
    with pytest.raises(SynthesisError, match=r"'ddim' cannot follow FLUX.1; use one of euler, pipeline"):
        make_scheduler("ddim", tiny_flux())


@pytest.mark.parametrize("name", ["dpmsolver++", "ddim", "pndm", "ddpm", "euler", "pipeline"])
def test_schedulers_keep_the_betas_and_never_clip(name: str) -> None:
    pipeline = tiny_pipeline(prediction_type="v_prediction")
    before = dict(pipeline.scheduler.config)

    scheduler = make_scheduler(name, pipeline)

    torch.testing.assert_close(scheduler.alphas_cumprod, pipeline.scheduler.alphas_cumprod)
    assert scheduler.config.prediction_type == "v_prediction"
    assert not scheduler.config.get("clip_sample", False)
    assert scheduler is not pipeline.scheduler
    assert dict(pipeline.scheduler.config) == before


@pytest.mark.parametrize(
    "own", [PNDMScheduler, DDIMScheduler, EulerDiscreteScheduler, DPMSolverMultistepScheduler]
)
def test_zero_terminal_snr_reaches_every_sampler_whatever_the_base_had(own: Any) -> None:
    pipeline = tiny_pipeline("v_prediction")
    pipeline.scheduler = own.from_config(pipeline.scheduler.config)
    use_zero_terminal_snr(pipeline)
    for name in ("dpmsolver++", "ddim", "ddpm", "euler", "pipeline"):
        assert make_scheduler(name, pipeline).alphas_cumprod[-1] < 1e-6, name
    with pytest.raises(SynthesisError, match="knows no zero terminal SNR"):
        make_scheduler("pndm", pipeline)


def test_pndm_is_refused_for_zero_terminal_snr() -> None:
    pipeline = tiny_pipeline()
    pipeline.scheduler = type(pipeline.scheduler).from_config(
        pipeline.scheduler.config, rescale_betas_zero_snr=True
    )
    with pytest.raises(SynthesisError, match="'pndm' knows no zero terminal SNR"):
        make_scheduler("pndm", pipeline)
    assert make_scheduler("dpmsolver++", pipeline).config.rescale_betas_zero_snr


def test_few_trailing_steps_start_where_strength_says() -> None:
    scheduler = make_scheduler("dpmsolver++", tiny_pipeline())
    ratio = start_noise_ratio(tiny_pipeline(), scheduler, 10, 0.3, (4, 8, 8))

    assert int(scheduler.timesteps[7]) == 299
    kept = scheduler.alphas_cumprod[299]
    assert ratio == pytest.approx(float(((1 - kept) / kept) ** 0.5))


def test_prototypes_that_somebody_names_are_judged(tmp_path: Path) -> None:
    known = TonePrototypes({"V": torch.ones(4)}, {"V": (40.0, 12.0, 16.0)})
    path = tmp_path / "tones.safetensors"
    path.write_bytes(known.to_bytes())
    assert read_prototypes(path).colours == known.colours
    save_file({"mean.V": torch.ones(4, 2)}, path)
    with pytest.raises(SynthesisError, match=r"^tones: .* \(its tensors are none of tones\); give the"):
        read_prototypes(path)
    path.write_text("no weights")
    with pytest.raises(SynthesisError, match="holds none"):
        read_prototypes(path)
