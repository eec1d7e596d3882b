"""The samplers of diffusion pipelines, made from the settings of a pipeline's own scheduler."""

from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
)

from skindiff.errors import SynthesisError


def make_scheduler(name: str, pipeline: Any) -> Any:
    """Return a fresh scheduler; betas and parametrisation are those of the pipeline's own.

    ``dpmsolver++`` is second order (Lu et al. 2022, "DPM-Solver++") with trailing steps (Lin et al. 2023,
    "Common diffusion noise schedules and sample steps are flawed"), which with few steps start at the noise
    level that ``strength`` asks for, where leading ones start lower. Karras sigmas are left off: they would
    give another meaning to ``strength``. Latents are never clipped.

    Args:
        name: ``dpmsolver++``, ``ddim``, ``pndm``, ``ddpm``, ``euler``, or ``pipeline`` for its own kind.
        pipeline: its scheduler is left as it is.

    Raises:
        SynthesisError: ``pndm`` is asked for after training with zero terminal SNR, which it cannot follow.
    """
    config = pipeline.scheduler.config
    if name == "pipeline":
        return type(pipeline.scheduler).from_config(config)
    if name == "dpmsolver++":
        return DPMSolverMultistepScheduler.from_config(
            config,
            algorithm_type="dpmsolver++",
            solver_order=2,
            use_karras_sigmas=False,
            lower_order_final=True,
            final_sigmas_type="zero",
            timestep_spacing="trailing",
        )
    if name == "pndm":
        if config.get("rescale_betas_zero_snr"):
            raise SynthesisError(
                "scheduler 'pndm' knows no zero terminal SNR, with which this generator was trained: choose "
                "dpmsolver++ or ddim"
            )
        return PNDMScheduler.from_config(config, skip_prk_steps=True)
    if name == "euler":
        return EulerDiscreteScheduler.from_config(config)
    return {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}[name].from_config(
        config, clip_sample=False, thresholding=False
    )


def start_noise_ratio(scheduler: Any, steps: int, strength: float) -> float:
    """Return noise over signal (sigma / alpha) where img2img starts denoising.

    Adding ``x`` to the start noise there is adding this ratio times ``x`` to the clean latent.
    """
    scheduler.set_timesteps(steps)
    first = (len(scheduler.timesteps) // scheduler.order) - min(int(steps * strength), steps)
    timestep = int(scheduler.timesteps[max(first, 0) * scheduler.order])
    kept = torch.clamp(scheduler.alphas_cumprod[timestep], min=2.0**-24)
    return float(((1.0 - kept) / kept).sqrt())
