"""The settings of synthesis by a text-to-image model."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from accelerate.utils import is_bf16_available
from diffusers.utils.torch_utils import get_device

from skindiff.corpora.attribute import Attribute
from skindiff.errors import ConfigError
from skindiff.generators.text_to_image.architecture import Architecture, SamplerName
from skindiff.recorded_settings import LATER
from skindiff.synthesis.tone import PROTOTYPE_TONES
from skindiff.wrong_settings import refuse

logger = logging.getLogger(__name__)

Strategy = Literal["ti+lora", "lora", "ti", "vanilla"]
Mode = Literal["img2img", "txt2img"]
TargetDraw = Literal["balanced", "per_source"]
DrawDtype = Literal["float32", "bfloat16", "float16"]
DTYPES: Mapping[str, torch.dtype] = {name: getattr(torch, name) for name in get_args(DrawDtype)}
Tone = Literal["none", "offset_noise", "prototype_colour", "prototype_contrast", "latent_mean", "colour"]


@dataclass
class SynthesisConfig:
    """How a synthetic data set is planned and generated."""

    strategy: Strategy = "ti+lora"
    """What the generator has learnt: learned tokens (ti), LoRA, both, or nothing (vanilla)."""
    mode: Mode = "img2img"
    """img2img transfers source images; txt2img generates as many, of the same labels and tones, from text."""
    images_per_source: int = 5
    """Images generated per source image."""
    targets: list[str] | None = None
    """Values of corpus.attribute to generate (by default skin types), null its minority; sources that have
    one of them keep it, all others get one of them."""
    target_draw: TargetDraw = "balanced"
    """balanced: targets take turns over each condition's images; per_source: one at random per source."""
    strength: float = 0.3
    """How far img2img goes back into noise, above 0 and at most 1; more keeps less of the source."""
    guidance_scale: float = 2.0
    """Classifier-free guidance; 1 turns it off and halves the work. FLUX.1 dev is told it instead, which it
    was trained to follow; schnell takes none."""
    steps: int = 14
    """Steps of the whole schedule; img2img runs int(steps * strength) of them, and models of flow matching
    one more where that is no whole number."""
    scheduler: SamplerName = "dpmsolver++"
    """Sampler; pipeline takes the one that the generator came with. Models of flow matching take euler in the
    place of dpmsolver++."""
    tone: Tone = "latent_mean"
    """How img2img moves the tone: by the prompt alone (none), random low-frequency start noise (offset_noise,
    also in txt2img), the source's colours (prototype_colour: as the generator shows both types;
    prototype_contrast: that, and the contrast of lesions as it shows it; colour: as photographs have them) or
    its latent's mean (latent_mean)."""
    tone_strength: float = 1.0
    """Size of that move: share of the way to the target, or for offset_noise the offset's standard
    deviation in units of the noise (offset_noise)."""
    tone_subject: str = "skin lesion"
    """What prompts name when the generator is asked for its tones (prototypes): a word it knows, rather than
    a condition learnt from one group alone, whose tone may stick to it. Several, with commas between them,
    take turns: prototype_contrast learns from marks of many colours."""
    caption: str = field(default="", metadata=LATER)
    """Words that end every prompt, such as dermoscopy, trunk; for generators that learnt from captions."""
    detail: float = 0.0
    """Share of what the autoencoder loses of a source (hair, texture) that is put back, from 0 to 1."""
    batch_size: int = 16
    """Images per forward pass (twice as many with guidance); a row is generated again with the same."""
    image_size: int | None = None
    """Height and width in pixels that are generated; null takes the generator's own. Of a corpus whose crop
    is longest, img2img generates about as many pixels in the shape of each source."""
    output_size: int | None = None
    """Height and width in pixels that are saved, with borders where a source is no square; null saves them as
    generated."""
    rows_per_shard: int = 256
    """Rows per Parquet file."""
    tiling: bool = field(default=False, metadata=LATER)
    """Decode images one by one, and in overlapping tiles where they are larger than the autoencoder was made
    for: less memory, and pixels that differ a little."""
    dtype: DrawDtype = field(default="float32", metadata=LATER)
    """Precision of the network that denoises, and of large text encoders (T5, Qwen3): bfloat16 or float16
    take half the memory and are faster on a GPU, and images differ a little. The autoencoder stays in
    float32."""
    offload: bool = field(default=False, metadata=LATER)
    """Keep each network of the generator off the GPU except while it runs: the GPU needs to hold the largest
    alone, and drawing is slower."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError if a setting cannot work; ``path`` (``"synthesis."``) goes before its name."""
        for name, choices in (
            ("strategy", Strategy),
            ("mode", Mode),
            ("target_draw", TargetDraw),
            ("scheduler", SamplerName),
            ("tone", Tone),
            ("dtype", DrawDtype),
        ):
            if getattr(self, name) not in get_args(choices):
                known = ", ".join(get_args(choices))
                refuse(f"{path}{name}: {getattr(self, name)!r} is unknown; use one of {known}")
        if self.targets is not None and not 0 < len(self.targets) == len(set(self.targets)):
            refuse(f"{path}targets: {self.targets} must name at least one, and each once")
        for name in ("images_per_source", "steps", "batch_size", "rows_per_shard"):
            if getattr(self, name) < 1:
                refuse(f"{path}{name}: {getattr(self, name)} is below 1; give a whole number from 1")
        if self.dtype == "bfloat16" and not is_bf16_available():
            refuse(f"{path}dtype is bfloat16, which this device has not: set it to float32, or to float16")
        if self.dtype == "float16" and get_device() == "cpu":
            refuse(f"{path}dtype is float16, which needs a GPU, and there is none here: set it to bfloat16")
        if self.dtype != "float32" and not same_noise(DTYPES[self.dtype]):
            refuse(
                f"{path}dtype is {self.dtype}, in which torch {torch.__version__} draws other and coarser "
                "noise than in float32: update torch, or set it to float32"
            )
        if self.offload and get_device() == "cpu":
            refuse(f"{path}offload: true keeps networks off the GPU, and there is none here; set it to false")
        if not 0 < self.strength <= 1:
            refuse(
                f"{path}strength: {self.strength} is outside 0 to 1 (0 would change nothing); try 0.3 to 0.5"
            )
        if self.mode == "img2img" and self.strength > 0 and int(self.steps * self.strength) < 1:
            refuse(
                f"{path}steps: {self.steps} steps at strength {self.strength} leave none to run; raise "
                f"steps to {_least_steps(self.strength)} or more, or raise strength"
            )
        if not self.caption.isprintable() or "<" in self.caption:
            refuse(
                f"{path}caption: {self.caption[:80]!r} is not words on one line; give such, or leave it empty"
            )
        if self.guidance_scale < 1:
            refuse(f"{path}guidance_scale: {self.guidance_scale} is below 1, like no guidance; use 1 or more")
        if self.tone_strength < 0:
            refuse(
                f"{path}tone_strength: {self.tone_strength} would move the tone away from the target; "
                "use 0 or more"
            )
        if not 0 <= self.detail <= 1:
            refuse(f"{path}detail: {self.detail} is outside 0 to 1; 1 puts all of it back, 0 none")
        for name in ("image_size", "output_size"):
            size = getattr(self, name)
            if size is not None and (size < 8 or (name == "image_size" and size % 8)):
                refuse(f"{path}{name}: {size} pixels cannot be generated; use a multiple of 8, or null")

    def aimed(self, attribute: Attribute, path: str = "") -> "SynthesisConfig":
        """Return these settings for a corpus: with its targets, and no move of the tone but of skin types.

        Args:
            attribute: of the corpus, whose minority is the target where none is given.
            path: prefix of settings in error messages, such as ``"synthesis."``.

        Raises:
            ConfigError: a target is no value of the attribute.
        """
        targets = attribute.of_minority if self.targets is None else list(self.targets)
        attribute.refuse_unknown(targets, f"{path}targets")
        moved = attribute.is_skin_tone or self.tone == "offset_noise"
        return replace(self, targets=targets, tone=self.tone if moved else "none")

    def sampled_by(self, architecture: Architecture) -> "SynthesisConfig":
        """Return these settings with the usual sampler of an architecture in the place of the default.

        Raises:
            ConfigError: the architecture cannot follow the sampler.
        """
        known = architecture.samplers
        if self.scheduler in known:
            return self
        if self.scheduler != SynthesisConfig.scheduler:
            raise ConfigError(
                f"synthesis.scheduler: {self.scheduler!r} cannot follow {architecture.name}; use one of "
                f"{', '.join(known)}"
            )
        logger.info("%s is sampled by %s", architecture.name, known[0])
        return replace(self, scheduler=known[0])

    def idle(self) -> dict[str, str]:
        """Return the settings that change nothing in this mode and by this move of the tone."""
        kept = "offset_noise" if self.mode == "txt2img" else self.tone
        found = {}
        if self.mode == "txt2img":
            found = dict.fromkeys(("strength", "detail"), "there is no source to transfer")
        if self.mode == "txt2img" and self.tone not in ("none", kept):
            found["tone"] = "without a source the prompt and offset_noise alone move the tone"
        if self.tone not in PROTOTYPE_TONES or "tone" in found:
            found["tone_subject"] = f"tone {self.tone} asks the generator for no tones"
        if self.tone == "none" or "tone" in found:
            found["tone_strength"] = "nothing but the prompt moves the tone"
        return found


def published_settings(**overrides: Any) -> SynthesisConfig:
    """Return the settings of Wang et al. (2024), as their code has them: preset ``published``.

    The sampler is the pipeline's own (PNDM for Stable Diffusion 2.1 base) and nothing but the prompt moves
    the tone.
    """
    settings = SynthesisConfig(
        images_per_source=5,
        targets=["V", "VI"],
        target_draw="per_source",
        strength=0.5,
        guidance_scale=2.0,
        steps=100,
        scheduler="pipeline",
        tone="none",
        batch_size=5,
        output_size=256,
    )
    return replace(settings, **overrides)


def same_noise(dtype: torch.dtype) -> bool:
    """Return whether noise in a precision is that of float32, rounded."""
    kinds, generator = (dtype, torch.float32), torch.Generator()
    half, whole = (torch.randn(64, dtype=kind, generator=generator.manual_seed(0)) for kind in kinds)
    return bool(torch.equal(half, whole.to(dtype)))


def _least_steps(strength: float) -> int:
    least = math.ceil(1 / strength)
    return least if int(least * strength) >= 1 else least + 1
