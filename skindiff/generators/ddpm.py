"""The class-conditional DDPM: diffusers' U-Net in pixel space, sampled by any of diffusers' schedulers.

Ho et al. 2020 (arXiv 2006.11239), with classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598): one
more class than there are names stands for none of them. Ravani et al. ("few-shot HAM10000", section IV.D)
describes the
same: a small U-Net of residual blocks, sinusoidal time embeddings, and label embeddings.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import diffusers
import torch

# diffusers looks for ModelMixin in the module that defines a pipeline's components.
from diffusers import ConfigMixin, ModelMixin, UNet2DModel  # noqa: F401
from torch.nn import functional

from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators.class_conditional import ClassConditionalPipeline, row_noise

SAMPLERS = {
    "dpmsolver++": "DPMSolverMultistepScheduler",
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}
"""Short names; the name of any other scheduler class that takes a DDPM's settings does as well."""

DEFAULT_SAMPLER, DEFAULT_STEPS, DEFAULT_GUIDANCE = "dpmsolver++", 25, 1.0
COSINE_LEAST_LAMBDA = -5.1
"""Half log signal-to-noise ratio at which a solver starts on a cosine schedule, whose end is no signal at
all: the value of the DPM-Solver authors' code for that schedule."""
_WIDTHS = (64, 96, 128, 128, 128)
_HEAD_WIDTH, _GROUPS = 32, 8


def default_widths(side: int) -> list[int]:
    """Return the channels of the levels of a U-Net that sees ``side`` x ``side`` patches.

    The side is halved while it is even and above 4, four times at most.
    """
    levels = 1
    while side % 2 == 0 and side > 4 and levels < len(_WIDTHS):
        side, levels = side // 2, levels + 1
    return [_WIDTHS[0], _WIDTHS[-1]] if levels == 2 else list(_WIDTHS[:levels])


def build_unet(
    classes: int,
    image_size: int,
    channels: int = 3,
    *,
    patch: int = 2,
    widths: Sequence[int] | None = None,
    blocks: int = 1,
    attention_sides: Sequence[int] = (),
    dropout: float = 0.0,
) -> UNet2DModel:
    """Return a U-Net with random weights that knows ``classes`` classes and, as the last code, none of them.

    With patches of 2 x 2 pixels as channels (Hoogeboom et al. 2023, arXiv 2301.11093) the levels cost a
    quarter. On one core at 32 px, batch 32, images/s in training and forward only: 70 and 202 with
    [64, 96, 128] on patches of 2 (3.6 million weights, the default), 42 and 123 with [96, 128], 42 and 127
    with two blocks in [64, 128], 36 and 107 with [32, 64, 128] on pixels (2.5 million). Attention at a side
    of 8 costs 5%.

    Args:
        classes: real ones.
        image_size: height and width in pixels.
        channels: 1 or 3.
        patch: side in pixels of the squares whose pixels become channels; 1 leaves the image as it is.
        widths: channels of each level, from the full side down by halves; see :func:`default_widths`.
        blocks: residual blocks per level on the way down (one more on the way up).
        attention_sides: sides in patches at which there is self-attention; the bottom always has one.
        dropout: in the residual blocks.

    Raises:
        ConfigError: the levels do not fit the size.
    """
    widths = check_levels(image_size, patch, widths, attention_sides)
    side = image_size // patch
    attends = [side // 2**level in attention_sides for level in range(len(widths))]
    return UNet2DModel(
        sample_size=side,
        in_channels=channels * patch**2,
        out_channels=channels * patch**2,
        block_out_channels=tuple(widths),
        layers_per_block=blocks,
        down_block_types=tuple("AttnDownBlock2D" if attend else "DownBlock2D" for attend in attends),
        up_block_types=tuple("AttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)),
        attention_head_dim=_HEAD_WIDTH,
        norm_num_groups=_GROUPS,
        dropout=dropout,
        num_class_embeds=classes + 1,
    )


def check_levels(
    image_size: int, patch: int, widths: Sequence[int] | None, attention_sides: Sequence[int], path: str = ""
) -> list[int]:
    """Return the widths that are meant.

    Raises:
        ConfigError: a U-Net of these levels cannot take images of this size; ``path`` goes before the name.
    """
    if patch < 1 or image_size < patch or image_size % patch:
        raise ConfigError(
            f"{path}patch: {patch} does not divide {path}image_size={image_size}; use 1, 2 or another divisor"
        )
    side = image_size // patch
    widths = default_widths(side) if widths is None else list(widths)
    if not widths or any(width < _HEAD_WIDTH or width % _HEAD_WIDTH for width in widths):
        raise ConfigError(f"{path}widths: {widths} must be multiples of {_HEAD_WIDTH}, such as 64, 96, 128")
    halvings = len(widths) - 1
    if side % 2**halvings:
        raise ConfigError(
            f"{path}widths: {len(widths)} levels halve {side} patches {halvings} times, which does not come "
            f"out even; give fewer, or null for {default_widths(side)}"
        )
    sides = [side // 2**level for level in range(len(widths))]
    strange = [wanted for wanted in attention_sides if wanted not in sides]
    if strange:
        raise ConfigError(
            f"{path}attention_sides: {strange[0]} is not a side of this U-Net; they are {sides}"
        )
    return widths


class ConditionalDDPMPipeline(ClassConditionalPipeline):
    """Generates with a class-conditional U-Net.

    Args:
        unet: from :func:`build_unet`, or any of diffusers with a class embedding of one class more than
            there are names.
        scheduler: the noise schedule and what the U-Net predicts; other samplers are made from its settings.
        class_names: the classes in the order of their codes.
        image_size: height and width in pixels.
        channels: 1 (grey) or 3.

    Raises:
        GeneratorError: the U-Net knows another number of classes than there are names.
    """

    family = "ddpm"

    def __init__(
        self,
        unet: UNet2DModel,
        scheduler: Any,
        class_names: Sequence[str] = (),
        image_size: int = 32,
        channels: int = 3,
    ) -> None:
        super().__init__()
        known = unet.config.num_class_embeds
        if known != len(class_names) + 1:
            raise GeneratorError(
                f"class_names: {len(class_names)} names for a U-Net of {known} class embeddings; give one "
                "less than embeddings, whose last stands for no class"
            )
        if unet.config.in_channels != channels * (image_size // unet.config.sample_size) ** 2:
            raise GeneratorError(
                f"image_size: {image_size} px with channels={channels} do not fit a U-Net of "
                f"{unet.config.in_channels} channels of {unet.config.sample_size}; give what it was built for"
            )
        self.register_modules(unet=unet.eval(), scheduler=scheduler)
        self._register(class_names, image_size, channels)

    @property
    def patch(self) -> int:
        """Side in pixels of the squares that the U-Net sees as one place."""
        return int(self.config.image_size // self.unet.config.sample_size)

    @property
    def null_class(self) -> int:
        """Code of the class that stands for none."""
        return len(self.config.class_names)

    def sampler(self, name: str) -> Any:
        """Return a fresh scheduler with the noise schedule and parametrisation of this pipeline's own.

        Predicted images are clipped to [-1, 1] where the scheduler can. Ancestral samplers in sigmas (such as
        EulerAncestralDiscreteScheduler) need a linear schedule: at the end of a cosine one, where next to no
        signal is left, their arithmetic gives NaN.

        Args:
            name: one of :data:`SAMPLERS`, a class name of diffusers, or ``pipeline`` for its own kind.

        Raises:
            GeneratorError: there is no such scheduler.
        """
        own = self.scheduler
        compatible = {kind.__name__: kind for kind in own.compatibles}
        kind = type(own) if name == "pipeline" else compatible.get(SAMPLERS.get(name, name))
        if kind is None:
            raise GeneratorError(
                f"scheduler: {name!r} cannot follow a {type(own).__name__}; use one of "
                f"{', '.join(SAMPLERS)}, pipeline, or {', '.join(sorted(compatible))}"
            )
        if kind not in (diffusers.DPMSolverMultistepScheduler, diffusers.UniPCMultistepScheduler):
            return kind.from_config(own.config)
        settings: dict[str, Any] = {"thresholding": True, "sample_max_value": 1.0}
        if kind is diffusers.DPMSolverMultistepScheduler and own.config.beta_schedule == "squaredcos_cap_v2":
            settings["lambda_min_clipped"] = COSINE_LEAST_LAMBDA
        # With a greatest value of 1 the threshold is 1 for every image: a plain clip.
        return kind.from_config(own.config, **settings)

    @torch.no_grad()
    def draw(  # type: ignore[override]
        self,
        labels: torch.Tensor,
        generators: Sequence[torch.Generator | None],
        *,
        steps: int = DEFAULT_STEPS,
        guidance_scale: float = DEFAULT_GUIDANCE,
        scheduler: str = DEFAULT_SAMPLER,
    ) -> torch.Tensor:
        """Return (batch, channels, height, width) images in [-1, 1].

        Args:
            labels: (batch,) int64 codes; :attr:`null_class` generates from all classes together.
            generators: one per image, for its first noise and, with ancestral samplers, all that follows.
            steps: of the sampler; ``ddpm`` is meant for 1,000.
            guidance_scale: classifier-free guidance: 1 is off, more doubles the work.
            scheduler: see :meth:`sampler`.

        Raises:
            GeneratorError: the scheduler or a setting cannot work.
        """
        if steps < 1 or guidance_scale < 1:
            raise GeneratorError(
                f"steps is {steps} and guidance_scale {guidance_scale}: give 1 or more of both"
            )
        sampler, device = self.sampler(scheduler), labels.device
        shape = (self.config.channels, self.config.image_size, self.config.image_size)
        sampler.set_timesteps(steps, device=device)
        noise = row_noise(generators, shape, device).to(self.unet.dtype) * sampler.init_noise_sigma
        images = functional.pixel_unshuffle(noise, self.patch)
        keywords: dict[str, Any] = {}
        if "generator" in inspect.signature(sampler.step).parameters:
            own = None if any(generator is None for generator in generators) else list(generators)
            keywords["generator"] = own
        for timestep in self.progress_bar(sampler.timesteps):
            scaled = sampler.scale_model_input(images, timestep)
            prediction = self._predict(scaled, timestep, labels, guidance_scale)
            images = sampler.step(prediction, timestep, images, **keywords).prev_sample
        return functional.pixel_shuffle(images, self.patch).clamp(-1, 1)

    def _predict(
        self, images: torch.Tensor, timestep: torch.Tensor, labels: torch.Tensor, guidance_scale: float
    ) -> torch.Tensor:
        if guidance_scale == 1:
            prediction: torch.Tensor = self.unet(images, timestep, labels).sample
            return prediction
        both = torch.cat((labels, torch.full_like(labels, self.null_class)))
        conditional, free = self.unet(torch.cat((images, images)), timestep, both).sample.chunk(2)
        guided: torch.Tensor = free + guidance_scale * (conditional - free)
        return guided
