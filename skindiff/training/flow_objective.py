"""Flow matching, the objective of today's transformers: a straight line from image to noise.

Lipman et al. 2023 (arXiv 2210.02747); densities of the noise level and weightings as Esser et al. 2024 (arXiv
2403.03206, section 3.1) have them, by diffusers' own functions. Noise levels are those of the pipeline's
scheduler, indexed as diffusers' scripts do (``train_dreambooth_lora_sd3.py``, ``_flux.py``, ``_z_image.py``).
A scheduler with a fixed ``shift`` has it in them. One that shifts by resolution does so where it samples, and
the scripts train on its levels as they are; ``resolution_shift`` trains where it samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3

from skindiff.generators.text_to_image.flow_transformer import resolution_shift
from skindiff.wrong_settings import refuse

Density = Literal["logit_normal", "uniform", "mode"]
Weighting = Literal["none", "sigma_sqrt", "cosmap"]

_SHIFT = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift", "time_shift_type")
"""Settings of a scheduler that shifts by resolution."""


@dataclass
class FlowConfig:
    """How models of flow matching are trained (SD 3, FLUX, Z-Image); others take none of it."""

    density: Density = "logit_normal"
    """How often each noise level is trained: most those in the middle (logit_normal), all alike (uniform), or
    as Esser et al. (2024) call mode."""
    logit_mean: float = 0.0
    """Mean of the normal of logit_normal; above 0 favours low noise, as in diffusers' scripts."""
    logit_std: float = 1.0
    """Standard deviation of that normal."""
    mode_scale: float = 1.29
    """How far density mode is from uniform."""
    weighting: Weighting = "none"
    """Weight of each noise level's loss: 1, its inverse square (sigma_sqrt), or cosmap of Esser et al."""
    resolution_shift: bool = True
    """Shift the levels by the number of image tokens where the model's scheduler does so in sampling (FLUX.1
    dev); false leaves them as diffusers' scripts do."""
    guidance: float = 1.0
    """Guidance that a model with distilled guidance (FLUX.1 dev) is told in training."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        for name, choices in (("density", Density), ("weighting", Weighting)):
            if getattr(self, name) not in get_args(choices):
                known = ", ".join(get_args(choices))
                refuse(f"{path}{name}: {getattr(self, name)!r} is unknown; use one of {known}")
        if not math.isfinite(self.logit_mean):
            refuse(f"{path}logit_mean is {self.logit_mean}: set it to a number, such as 0")
        if not 0 < self.logit_std < math.inf:
            refuse(f"{path}logit_std is {self.logit_std}: set it above 0, such as 1")
        # Esser et al. (2024), section 3.1: between these the density never turns back.
        if not -1 <= self.mode_scale <= 2 / (math.pi - 2):
            refuse(f"{path}mode_scale is {self.mode_scale}: set it from -1 to 1.75")
        if not 0 <= self.guidance < math.inf:
            refuse(f"{path}guidance is {self.guidance}: set it to 0 or more, such as 1")

    def idle(self) -> dict[str, str]:
        """Return the settings that the density has no use for."""
        own = {"logit_normal": ("logit_mean", "logit_std"), "mode": ("mode_scale",)}
        return {
            name: f"density is {self.density}"
            for density, names in own.items()
            if density != self.density
            for name in names
        }


@dataclass(frozen=True)
class FlowObjective:
    """How a network is trained to predict the way from image to noise (see the protocol of objectives).

    Its timesteps are noise levels times the length of the schedule, float32 above 0 up to that.

    Attributes:
        scheduler: of the pipeline.
        config: density, weighting and shift.
        token_side: latent pixels along the side of an image token.
        noise_offset: standard deviation of the noise added to each channel's mean; 0 is off.
    """

    scheduler: FlowMatchEulerDiscreteScheduler
    config: FlowConfig
    token_side: int
    noise_offset: float = 0.0

    @property
    def facts(self) -> dict[str, Any]:
        """What it adds to the fingerprint of a training, beside the settings."""
        return {
            "schedule": self._levels.tolist(),
            "prediction": "flow",
            "shift": [self.scheduler.config[name] for name in _SHIFT] if self._shifts else None,
        }

    def draw_timestep(self, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Sample the timestep of one example of ``shape`` (c, h, w)."""
        config = self.config
        place = compute_density_for_timestep_sampling(
            config.density, 1, config.logit_mean, config.logit_std, config.mode_scale, generator=generator
        )
        return self.spread_timesteps(place, shape)[0]

    def spread_timesteps(self, places: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Return timesteps of places (b,) from 0 (most noise) to 1, for latents of ``shape`` (c, h, w)."""
        levels = self._levels
        # A sigmoid can round to 1, and the mode density begins there.
        sigmas = levels[(places * len(levels)).long().clamp(max=len(levels) - 1)]
        if self._shifts:
            shift = resolution_shift(self.scheduler, shape, self.token_side)
            sigmas = self.scheduler.time_shift(shift, 1.0, sigmas)
        return sigmas * self._length

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Sample the noise of one latent of ``shape`` (c, h, w), offset included."""
        noise = torch.randn(tuple(shape), generator=generator)
        if self.noise_offset:
            noise += self.noise_offset * torch.randn((shape[0], 1, 1), generator=generator)
        return noise

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return ``latents`` (b, c, h, w) noised to ``timesteps`` (b,)."""
        sigmas = (timesteps / self._length).view(-1, 1, 1, 1)
        return (1.0 - sigmas) * latents + sigmas * noise

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return what the network should predict, at any timestep."""
        return noise - latents

    def weights(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Return the weight of each timestep (b,)."""
        found: torch.Tensor = compute_loss_weighting_for_sd3(self.config.weighting, timesteps / self._length)
        return found

    @property
    def _length(self) -> int:
        return int(self.scheduler.config.num_train_timesteps)

    @cached_property
    def _levels(self) -> torch.Tensor:
        """The noise levels of training, (timesteps,) float32 on the CPU, from 1 down."""
        # Not those of the pipeline's own scheduler, which sampling replaces by a few.
        return FlowMatchEulerDiscreteScheduler.from_config(self.scheduler.config).sigmas

    @property
    def _shifts(self) -> bool:
        return self.config.resolution_shift and bool(self.scheduler.config.use_dynamic_shifting)
