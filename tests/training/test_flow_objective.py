import math
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3

from skindiff.errors import ConfigError
from skindiff.training.diffusion_objective import noised_batch
from skindiff.training.flow_objective import FlowConfig, FlowObjective
from skindiff.training.latents import LatentMoments
from skindiff.training.loop import MicroBatch
from skindiff.training.objectives import objective_of
from tests.tiny import tiny_pipeline

SHAPE = (4, 8, 12)
DYNAMIC: dict[str, Any] = {"use_dynamic_shifting": True, "base_image_seq_len": 4, "max_image_seq_len": 64}


def objective(config: FlowConfig | None = None, offset: float = 0.0, **settings: Any) -> FlowObjective:
    return FlowObjective(FlowMatchEulerDiscreteScheduler(**settings), config or FlowConfig(), 2, offset)


def draw(one: FlowObjective, positions: list[int], shape: tuple[int, ...] = SHAPE) -> Any:
    mean = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    noised, _ = noised_batch(
        one,
        LatentMoments(mean, torch.full_like(mean, 0.1), "key"),
        MicroBatch(3, torch.zeros(len(positions), dtype=torch.int64), torch.tensor(positions)),
        key=("test", 0),
        prompt_dropout=0.0,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    return noised


def test_noise_is_that_of_the_scheduler_and_the_target_leads_to_it() -> None:
    one = objective(shift=3.0)
    latents, noise = torch.randn(2, 5, *SHAPE)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    times = scheduler.timesteps[[0, 1, 500, 998, 999]]
    noised = one.add_noise(latents, noise, times)
    torch.testing.assert_close(noised, scheduler.scale_noise(latents, times, noise))
    sigmas = (times / 1000).view(-1, 1, 1, 1)
    torch.testing.assert_close(noised - sigmas * one.target(latents, noise, times), latents)


@pytest.mark.parametrize("density", ["logit_normal", "uniform", "mode"])
def test_timesteps_have_the_density_of_diffusers(density: Any) -> None:
    config = FlowConfig(density, logit_mean=0.5, logit_std=0.7)
    found = draw(objective(config, shift=3.0), list(range(3000))).timesteps
    generator = torch.Generator().manual_seed(0)
    places = compute_density_for_timestep_sampling(density, 3000, 0.5, 0.7, 1.29, generator=generator)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    expected = scheduler.timesteps[(places * 1000).long().clamp(max=999)]
    assert found.dtype == torch.float32
    for share in (0.1, 0.5, 0.9):
        assert float((found.quantile(share) - expected.quantile(share)).abs()) < 25


def test_a_shift_by_resolution_is_that_of_the_pipeline_and_grows_with_the_image() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(**DYNAMIC)
    place = torch.tensor([0.5])
    found = objective(**DYNAMIC).spread_timesteps(place, SHAPE)
    mu = 0.5 + (1.15 - 0.5) * (4 * 6 - 4) / (64 - 4)
    scheduler.set_timesteps(sigmas=[float(scheduler.sigmas[500])], mu=mu)
    torch.testing.assert_close(found, scheduler.timesteps)
    assert objective(**DYNAMIC).spread_timesteps(place, (4, 16, 16)) > found
    plain = objective(FlowConfig(resolution_shift=False), **DYNAMIC).spread_timesteps(place, SHAPE)
    torch.testing.assert_close(plain, torch.tensor([500.0]))
    assert found > plain


@pytest.mark.parametrize("weighting", ["none", "sigma_sqrt", "cosmap"])
def test_weights_are_those_of_diffusers(weighting: Any) -> None:
    times = torch.tensor([1.0, 250.0, 1000.0])
    found = objective(FlowConfig(weighting=weighting)).weights(times)
    torch.testing.assert_close(found, compute_loss_weighting_for_sd3(weighting, times / 1000))


def test_an_example_depends_on_its_position_and_not_on_its_batch() -> None:
    one = objective(offset=0.3, **DYNAMIC)
    whole, part = draw(one, [0, 1, 2, 3]), draw(one, [2, 3])
    for name in ("latents", "timesteps", "target", "weights"):
        assert torch.equal(getattr(whole, name)[2:], getattr(part, name))


def test_offset_noise_moves_the_mean_of_each_channel() -> None:
    plain, moved = (draw(objective(offset=offset), list(range(200))) for offset in (0.0, 0.5))
    spreads = [one.target.mean(dim=(2, 3)).std() for one in (plain, moved)]
    assert spreads[1] > 2 * spreads[0]


def test_no_level_is_beyond_the_schedule() -> None:
    times = objective().spread_timesteps(torch.tensor([0.0, 0.9999, 1.0]), SHAPE)
    torch.testing.assert_close(times, torch.tensor([1000.0, 1.0, 1.0]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"density": "normal"}, "flow.density: 'normal' is unknown; use one of logit_normal, uniform, mode"),
        ({"weighting": "min_snr"}, "flow.weighting: 'min_snr' is unknown"),
        ({"logit_std": 0.0}, "flow.logit_std is 0.0"),
        ({"logit_mean": math.inf}, "flow.logit_mean is inf"),
        ({"mode_scale": 2.0}, "flow.mode_scale is 2.0: set it from -1 to 1.75"),
        ({"guidance": -1.0}, "flow.guidance is -1.0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FlowConfig(**settings).validate("flow.")


def test_settings_of_another_density_are_idle() -> None:
    assert set(FlowConfig().idle()) == {"mode_scale"}
    assert set(FlowConfig("uniform").idle()) == {"logit_mean", "logit_std", "mode_scale"}


def test_the_objective_is_that_of_the_scheduler() -> None:
    pipeline = tiny_pipeline()

    def made(flow: FlowConfig, **settings: Any) -> Any:
        return objective_of(pipeline, flow, noise_offset=0.1, **settings)

    with pytest.raises(ConfigError, match=r"flow\.density is uniform, but this Stable .*: leave it out"):
        made(FlowConfig("uniform"))
    assert made(FlowConfig()).facts["prediction"] == "epsilon"
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler()
    assert made(FlowConfig()).facts["prediction"] == "flow"
    for name in ("min_snr_gamma", "zero_terminal_snr"):
        with pytest.raises(ConfigError, match=f"{name} is 1, but this .* is trained by flow matching"):
            made(FlowConfig(), **{name: 1})
    changed: Any
    for changed in ({"resolution_shift": False}, {"guidance": 3.5}):
        with pytest.raises(ConfigError, match=rf"flow\.{next(iter(changed))} is .*: leave it out"):
            made(FlowConfig(**changed))
