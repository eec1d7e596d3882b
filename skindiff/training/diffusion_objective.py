"""The denoising objective that textual inversion and LoRA share: noise, target and weight of each example.

Here are those of noise and velocity; :mod:`~skindiff.training.flow_objective` has that of flow matching.

Everything random about an example is sampled on the CPU from ``(name, seed, step, position in the global
batch)``, so it depends neither on the number of processes nor on what was sampled before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from skindiff.errors import ConfigError
from skindiff.seeding import torch_generator
from skindiff.training.latents import Moments
from skindiff.training.loop import MicroBatch


@dataclass(frozen=True)
class NoisedBatch:
    """Examples ready for the network, on the device of training; b examples of shape (c, h, w).

    Attributes:
        latents: (b, c, h, w) noised latents.
        timesteps: (b,) as the objective has them.
        target: (b, c, h, w) what the network should predict.
        weights: (b,) factor of each example's loss.
        dropped: (b,) bool on the CPU: whose prompt is left out.
    """

    latents: torch.Tensor
    timesteps: torch.Tensor
    target: torch.Tensor
    weights: torch.Tensor
    dropped: torch.Tensor


class Objective(Protocol):
    """What a network is trained to predict, at which timesteps.

    Timesteps are what the pipeline's scheduler gives its network: int64 places in a schedule of betas, or
    float32 noise levels times its length. Latents and noise are (b, c, h, w), timesteps and places (b,).
    """

    @property
    def facts(self) -> dict[str, Any]:
        """What it adds to the fingerprint of a training, beside the settings."""

    def draw_timestep(self, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Sample the timestep of one example of ``shape`` (c, h, w)."""

    def spread_timesteps(self, places: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Return timesteps that cover the schedule evenly, for places from 0 to 1 and latents of a shape."""

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Sample the noise of one latent of ``shape`` (c, h, w)."""

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return latents noised to timesteps."""

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return what the network should predict."""

    def weights(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Return the weight of each timestep's loss."""


@dataclass(frozen=True)
class DiffusionObjective:
    """How a U-Net is trained to denoise.

    Attributes:
        alphas_cumprod: (timesteps,) float32 on the CPU, share of signal left at each timestep.
        prediction_type: ``"epsilon"`` or ``"v_prediction"``.
        min_snr_gamma: bound of the signal-to-noise weighting (Hang et al. 2023, arXiv 2303.09556); 0 is off.
        noise_offset: standard deviation of the noise added to each channel's mean; 0 is off.
    """

    alphas_cumprod: torch.Tensor
    prediction_type: str
    min_snr_gamma: float = 0.0
    noise_offset: float = 0.0

    @classmethod
    def from_scheduler(
        cls,
        config: Mapping[str, Any],
        *,
        min_snr_gamma: float = 0.0,
        noise_offset: float = 0.0,
        zero_terminal_snr: bool = False,
    ) -> "DiffusionObjective":
        """Build the objective of a pipeline's scheduler, whatever sampler it is.

        Args:
            config: ``pipeline.scheduler.config``.
            min_snr_gamma: see the attribute.
            noise_offset: see the attribute.
            zero_terminal_snr: rescale the schedule so that the last timestep is pure noise (Lin et al. 2024,
                arXiv 2305.08891, algorithm 1).

        Raises:
            ConfigError: the schedule ends in pure noise but the U-Net predicts the noise, which tells nothing
                of the image there; or the parametrisation is unknown.
        """
        if "beta_schedule" not in config:
            raise ConfigError(
                f"the model's scheduler ({config.get('_class_name', 'of no name')}) has no schedule of "
                "betas and is not the FlowMatchEulerDiscreteScheduler, and only models with one of these are "
                "trained: take another model"
            )
        scheduler = DDPMScheduler.from_config(config)
        prediction = scheduler.config.prediction_type
        if prediction not in ("epsilon", "v_prediction"):
            raise ConfigError(
                f"prediction_type {prediction!r} of the model's scheduler cannot be trained: take a model "
                "that predicts epsilon or v_prediction"
            )
        alphas_cumprod = scheduler.alphas_cumprod
        if zero_terminal_snr and not config.get("rescale_betas_zero_snr"):
            betas = rescale_zero_terminal_snr(scheduler.betas.double())
            alphas_cumprod = torch.cumprod(1.0 - betas, dim=0).float()
        if prediction == "epsilon" and (zero_terminal_snr or config.get("rescale_betas_zero_snr")):
            raise ConfigError(
                "zero_terminal_snr is true, but the model predicts epsilon, which at pure noise says nothing "
                "of the image: set it to false (noise_offset also moves the mean), or take a model that "
                "predicts v_prediction"
            )
        return cls(alphas_cumprod, prediction, min_snr_gamma, noise_offset)

    @property
    def timesteps(self) -> int:
        """Number of training timesteps."""
        return len(self.alphas_cumprod)

    @property
    def facts(self) -> dict[str, Any]:
        """What it adds to the fingerprint of a training, beside the settings."""
        return {"schedule": self.alphas_cumprod.tolist(), "prediction": self.prediction_type}

    def draw_timestep(self, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Sample the timestep of one example, whatever its shape."""
        return torch.randint(self.timesteps, (), generator=generator)

    def spread_timesteps(self, places: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Return timesteps that cover the schedule evenly, for places (b,) from 0 to 1 and any shape."""
        return (places * self.timesteps).long()

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Sample the noise of one latent of ``shape`` (c, h, w), offset included."""
        noise = torch.randn(tuple(shape), generator=generator)
        if self.noise_offset:
            noise += self.noise_offset * torch.randn((shape[0], 1, 1), generator=generator)
        return noise

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return ``latents`` (b, c, h, w) noised to ``timesteps`` (b,)."""
        signal, sigma = self._scales(timesteps)
        return signal * latents + sigma * noise

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return what the U-Net should predict: the noise, or the velocity."""
        if self.prediction_type == "epsilon":
            return noise
        signal, sigma = self._scales(timesteps)
        return signal * noise - sigma * latents

    def weights(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Return the min-SNR weight of each timestep (b,), all ones when it is off.

        For velocity the plain weight at an SNR of 0 would be 0 and the last timestep never learnt, so there
        it is 1.
        """
        alphas = self.alphas_cumprod[timesteps]
        if self.min_snr_gamma == 0:
            return torch.ones_like(alphas)
        snr = alphas / (1.0 - alphas)
        clipped = snr.clamp(max=self.min_snr_gamma)
        if self.prediction_type == "epsilon":
            return clipped / snr
        return torch.where(snr == 0, 1.0, clipped / (snr + 1.0))

    def _scales(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        alphas = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        return alphas.sqrt(), (1.0 - alphas).sqrt()


def noised_batch(
    objective: Objective,
    moments: Moments,
    batch: MicroBatch,
    *,
    key: tuple[str | int, ...],
    prompt_dropout: float,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[NoisedBatch, torch.Tensor]:
    """Sample latents, timesteps and noise of a micro-batch, each example from its own random stream.

    Args:
        objective: the schedule and its weighting.
        moments: the cached posterior of the training images.
        batch: rows, all of one shape, and positions.
        key: start of the name of each stream, such as ``("lora", seed)``.
        prompt_dropout: share of the examples whose prompt is left out.
        device: where the results go.
        dtype: precision of the noised latents; target and weights stay float32.

    Returns:
        The batch, and (b,) int64 on the CPU: 0 where the image is shown, 1 where its mirror image is.
    """
    found, rows = moments.of(batch.indices)
    count, shape = len(rows), found.shape
    times, variants = [], torch.empty(count, dtype=torch.int64)
    posterior, noise = torch.empty(2, count, *shape)
    dropped = torch.empty(count, dtype=torch.bool)
    for place, position in enumerate(batch.positions.tolist()):
        generator = torch_generator(*key, batch.step, position)
        times.append(objective.draw_timestep(shape, generator))
        variants[place] = torch.randint(found.variants, (), generator=generator)
        dropped[place] = torch.rand((), generator=generator) < prompt_dropout
        torch.randn(shape, generator=generator, out=posterior[place])
        noise[place] = objective.draw_noise(shape, generator)
    timesteps, latents = torch.stack(times), found.sample(rows, variants, posterior)
    noised = NoisedBatch(
        latents=objective.add_noise(latents, noise, timesteps).to(device, dtype, non_blocking=True),
        timesteps=timesteps.to(device, non_blocking=True),
        target=objective.target(latents, noise, timesteps).to(device, non_blocking=True),
        weights=objective.weights(timesteps).to(device, non_blocking=True),
        dropped=dropped,
    )
    return noised, variants


def denoising_loss(prediction: torch.Tensor, batch: NoisedBatch) -> torch.Tensor:
    """Return the weighted mean squared error over a batch, in float32."""
    errors = (prediction.float() - batch.target).square().mean(dim=(1, 2, 3))
    return (errors * batch.weights).mean()
