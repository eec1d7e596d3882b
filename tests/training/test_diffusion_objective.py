import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler

from skindiff.errors import ConfigError
from skindiff.training.diffusion_objective import DiffusionObjective, denoising_loss, noised_batch
from skindiff.training.latents import LatentMoments
from skindiff.training.loop import MicroBatch
from skindiff.training.validation_loss import FixedNoiseLoss

SHAPE = (4, 8, 8)


def scheduler_config(prediction_type: str = "epsilon", **settings):
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        **settings,
    ).config


def moments(rows: int = 6, variants: int = 2) -> LatentMoments:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(rows, variants, *SHAPE, generator=generator)
    return LatentMoments(mean, torch.full_like(mean, 0.1), "key")


def batch(rows: list[int], positions: list[int], step: int = 3) -> MicroBatch:
    return MicroBatch(step, torch.tensor(rows), torch.tensor(positions))


def draw(objective: DiffusionObjective, one: MicroBatch, dropout: float = 0.5):
    noised, _ = noised_batch(
        objective,
        moments(),
        one,
        key=("test", 0),
        prompt_dropout=dropout,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    return noised


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_noise_and_target_are_those_of_diffusers(prediction_type: str) -> None:
    config = scheduler_config(prediction_type)
    objective = DiffusionObjective.from_scheduler(config)
    scheduler = DDPMScheduler.from_config(config)
    latents, noise = torch.randn(2, 5, *SHAPE)
    times = torch.tensor([0, 1, 500, 998, 999])
    torch.testing.assert_close(
        objective.add_noise(latents, noise, times), scheduler.add_noise(latents, noise, times)
    )
    expected = noise if prediction_type == "epsilon" else scheduler.get_velocity(latents, noise, times)
    torch.testing.assert_close(objective.target(latents, noise, times), expected)


def test_an_example_depends_on_its_position_and_not_on_its_batch() -> None:
    objective = DiffusionObjective.from_scheduler(scheduler_config(), noise_offset=0.3)
    whole = draw(objective, batch([0, 1, 2, 3], [0, 1, 2, 3]))
    halves = [draw(objective, batch([0, 1], [0, 1])), draw(objective, batch([2, 3], [2, 3]))]
    for name in ("latents", "timesteps", "target", "weights", "dropped"):
        parts = torch.cat([getattr(half, name) for half in halves])
        assert torch.equal(getattr(whole, name), parts)
    later = draw(objective, batch([0, 1, 2, 3], [0, 1, 2, 3], step=4))
    assert not torch.equal(whole.target, later.target)


def test_every_timestep_variant_and_dropout_comes_up() -> None:
    objective = DiffusionObjective.from_scheduler(scheduler_config())
    many = draw(objective, batch([0] * 600, list(range(600))), dropout=0.25)
    assert 0.2 < many.dropped.float().mean() < 0.3
    assert many.timesteps.min() < 20
    assert many.timesteps.max() > 980
    assert not draw(objective, batch([0] * 50, list(range(50))), dropout=0.0).dropped.any()


def test_offset_noise_moves_the_mean_of_each_channel() -> None:
    one = batch([0] * 200, list(range(200)))
    spread = [
        draw(DiffusionObjective.from_scheduler(scheduler_config(), noise_offset=offset), one)
        .target.mean(dim=(2, 3))
        .std()
        for offset in (0.0, 0.5)
    ]
    assert spread[0] == pytest.approx(1 / 8, rel=0.15)
    assert spread[1] == pytest.approx((1 / 64 + 0.25) ** 0.5, rel=0.15)


@pytest.mark.parametrize(
    ("prediction_type", "expected"), [("epsilon", "min(s,g)/s"), ("v_prediction", "min(s,g)/(s+1)")]
)
def test_min_snr_weights(prediction_type: str, expected: str) -> None:
    objective = DiffusionObjective.from_scheduler(scheduler_config(prediction_type), min_snr_gamma=5.0)
    times = torch.tensor([0, 100, 500, 999])
    alphas = objective.alphas_cumprod[times]
    snr = alphas / (1 - alphas)
    divisor = snr if prediction_type == "epsilon" else snr + 1
    torch.testing.assert_close(objective.weights(times), snr.clamp(max=5.0) / divisor)
    assert torch.equal(
        DiffusionObjective.from_scheduler(scheduler_config(prediction_type)).weights(times), torch.ones(4)
    )


def test_zero_terminal_snr_ends_in_pure_noise_and_is_still_learnt() -> None:
    objective = DiffusionObjective.from_scheduler(
        scheduler_config("v_prediction"), zero_terminal_snr=True, min_snr_gamma=5.0
    )
    assert objective.alphas_cumprod[-1] == 0
    latents, noise = torch.randn(2, 1, *SHAPE)
    last = torch.tensor([999])
    assert torch.equal(objective.add_noise(latents, noise, last), noise)
    assert torch.equal(objective.target(latents, noise, last), -latents)
    assert objective.weights(last) == 1
    sampler = DDIMScheduler.from_config(scheduler_config("v_prediction"), rescale_betas_zero_snr=True)
    torch.testing.assert_close(
        objective.alphas_cumprod[:-1], sampler.alphas_cumprod[:-1], rtol=1e-3, atol=1e-6
    )
    again = DiffusionObjective.from_scheduler(sampler.config, zero_terminal_snr=True)
    torch.testing.assert_close(objective.alphas_cumprod, again.alphas_cumprod, rtol=1e-3, atol=1e-6)


def test_settings_that_cannot_work_name_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"zero_terminal_snr.*v_prediction"):
        DiffusionObjective.from_scheduler(scheduler_config(), zero_terminal_snr=True)
    with pytest.raises(ConfigError, match="prediction_type 'sample'"):
        DiffusionObjective.from_scheduler(scheduler_config("sample"))


def test_the_loss_is_the_weighted_mean_over_examples() -> None:
    objective = DiffusionObjective.from_scheduler(scheduler_config(), min_snr_gamma=1.0)
    noised = draw(objective, batch([0, 1], [0, 1]))
    prediction = torch.randn(2, *SHAPE)
    expected = sum(
        weight * torch.nn.functional.mse_loss(one, target)
        for weight, one, target in zip(noised.weights, prediction, noised.target, strict=True)
    )
    torch.testing.assert_close(denoising_loss(prediction, noised), expected / 2)


def test_the_validation_loss_is_fixed_and_independent_of_the_batch_size() -> None:
    objective = DiffusionObjective.from_scheduler(scheduler_config(), noise_offset=0.5)
    seen: list[torch.Tensor] = []

    def predict(latents: torch.Tensor, times: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
        seen.append(times)
        return latents * (1 + prompts.view(-1, 1, 1, 1))

    losses = [
        FixedNoiseLoss(
            objective,
            moments(),
            torch.arange(6),
            examples=20,
            device=torch.device("cpu"),
            dtype=torch.float32,
            seed=1,
            batch_size=size,
        )(predict)
        for size in (20, 20, 7)
    ]
    assert losses[0] == losses[1] == pytest.approx(losses[2], rel=1e-5)
    assert sorted(seen[0].tolist()) == [25 + 50 * place for place in range(20)]


@pytest.mark.parametrize("kind", [EDMEulerScheduler, FlowMatchEulerDiscreteScheduler])
def test_a_schedule_without_betas_is_refused_by_the_name_of_its_scheduler(kind: type) -> None:
    config = {**kind().config, "_class_name": kind.__name__}
    with pytest.raises(ConfigError, match=rf"scheduler \({kind.__name__}\) has no schedule of betas"):
        DiffusionObjective.from_scheduler(config)
