"""What a model is trained to predict, as its scheduler says: noise, velocity, or the flow to noise."""

from dataclasses import fields
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from skindiff.errors import ConfigError
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.training.diffusion_objective import DiffusionObjective, Objective
from skindiff.training.flow_objective import FlowConfig, FlowObjective


def objective_of(
    pipeline: Any,
    flow: FlowConfig,
    *,
    noise_offset: float,
    min_snr_gamma: float = 0.0,
    zero_terminal_snr: bool = False,
) -> Objective:
    """Return the objective of a pipeline.

    Args:
        pipeline: whose scheduler says it.
        flow: settings of flow matching.
        noise_offset: standard deviation of the noise added to each latent channel's mean.
        min_snr_gamma: see :class:`~skindiff.training.diffusion_objective.DiffusionObjective`.
        zero_terminal_snr: see there.

    Raises:
        ConfigError: a setting belongs to another objective than this model's, or the scheduler to none.
    """
    scheduler, architecture = pipeline.scheduler, architecture_of(pipeline)
    usual = FlowConfig()
    asked = {item.name: getattr(flow, item.name) for item in fields(flow)}
    changed = {name: value for name, value in asked.items() if value != getattr(usual, name)}
    if not isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        for name, value in changed.items():
            raise ConfigError(
                f"flow.{name} is {value}, but this {architecture.name} model does not learn by flow "
                "matching: leave it out"
            )
        return DiffusionObjective.from_scheduler(
            scheduler.config,
            min_snr_gamma=min_snr_gamma,
            noise_offset=noise_offset,
            zero_terminal_snr=zero_terminal_snr,
        )
    for name, given in (("min_snr_gamma", min_snr_gamma), ("zero_terminal_snr", zero_terminal_snr)):
        if given:
            raise ConfigError(
                f"{name} is {given}, but this {architecture.name} model is trained by flow matching, which "
                "ends in pure noise and has weightings of its own: leave it out, or set flow.weighting"
            )
    if "resolution_shift" in changed and not scheduler.config.use_dynamic_shifting:
        raise ConfigError(
            "flow.resolution_shift is false, but the model's scheduler shifts by no resolution: leave it out"
        )
    if "guidance" in changed and not architecture.takes_guidance(pipeline):
        raise ConfigError(
            f"flow.guidance is {flow.guidance}, but this {architecture.name} model is told no guidance: "
            "leave it out"
        )
    return FlowObjective(scheduler, flow, architecture.token_side(pipeline), noise_offset)
