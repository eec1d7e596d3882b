"""The samplers of diffusion pipelines, made from the settings of a pipeline's own scheduler."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)

from skindiff.errors import SynthesisError
from skindiff.generators.text_to_image.loading import architecture_of


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
        SynthesisError: the pipeline's architecture cannot follow the sampler, or ``pndm`` is asked for after
            training with zero terminal SNR, which it cannot follow.
    """
    config, architecture = pipeline.scheduler.config, architecture_of(pipeline)
    if name not in architecture.samplers:
        raise SynthesisError(
            f"scheduler: {name!r} cannot follow {architecture.name}; use one of "
            f"{', '.join(architecture.samplers)}"
        )
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
    if name == "euler" and isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler):
        return FlowMatchEulerDiscreteScheduler.from_config(config)
    if name == "euler":
        return EulerDiscreteScheduler.from_config(config)
    return {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}[name].from_config(
        config, clip_sample=False, thresholding=False
    )


def start_noise_ratio(
    pipeline: Any, scheduler: Any, steps: int, strength: float, shape: Sequence[int]
) -> float:
    """Return noise over signal (sigma / alpha) where img2img starts denoising.

    Adding ``x`` to the start noise there is adding this ratio times ``x`` to the clean latent.

    Args:
        pipeline: that generates.
        scheduler: of :func:`make_scheduler`.
        steps: of the whole schedule.
        strength: of img2img.
        shape: of latents, (channels, height, width).

    Raises:
        SynthesisError: flow matching starts from noise alone.
    """
    architecture_of(pipeline).set_timesteps(pipeline, scheduler, steps, shape)
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        # As diffusers' img2img classes count: where SD rounds the steps that are run down, these round up.
        sigma = float(scheduler.sigmas[int(max(steps - min(steps * strength, steps), 0))])
        if sigma == 1.0:
            raise SynthesisError(
                f"strength {strength:g} starts from noise alone, to which tone offset_noise cannot be added "
                "here: lower strength, or generate from text"
            )
        return sigma / (1.0 - sigma)
    first = (len(scheduler.timesteps) // scheduler.order) - min(int(steps * strength), steps)
    timestep = int(scheduler.timesteps[max(first, 0) * scheduler.order])
    kept = torch.clamp(scheduler.alphas_cumprod[timestep], min=2.0**-24)
    return float(((1.0 - kept) / kept).sqrt())
