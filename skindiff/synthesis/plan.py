"""Plans: for each image its source, skin type, prompt and seed.

A plan is a table without images. Its rows say all that is needed to generate each image again, alone.
"""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from accelerate.utils import is_bf16_available
from datasets import ClassLabel, Dataset, Features, Image, Value
from diffusers.utils.torch_utils import get_device

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.buckets import SHAPE_COLUMNS, row_shapes
from skindiff.corpora.schema import corpus_features
from skindiff.errors import ConfigError, SynthesisError
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.architecture import Architecture, SamplerName
from skindiff.recorded_settings import LATER
from skindiff.seeding import derive_seed, numpy_generator
from skindiff.synthesis.rows import PlanRow, PlanSettings
from skindiff.synthesis.tone import PROTOTYPE_TONES
from skindiff.wrong_settings import refuse

logger = logging.getLogger(__name__)

Strategy = Literal["ti+lora", "lora", "ti", "vanilla"]
Mode = Literal["img2img", "txt2img"]
TargetDraw = Literal["balanced", "per_source"]
DrawDtype = Literal["float32", "bfloat16", "float16"]
DTYPES: Mapping[str, torch.dtype] = {name: getattr(torch, name) for name in get_args(DrawDtype)}
Tone = Literal["none", "offset_noise", "prototype_colour", "prototype_contrast", "latent_mean", "colour"]

SYNTHETIC_CORPUS = "synthetic"
"""What the ``corpus`` column of synthetic images says."""


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


def attribute_columns(attribute: Attribute) -> tuple[str, ...]:
    """Return the columns of a plan that only an attribute beside the skin type has: its value, the
    source's."""
    return () if attribute.is_skin_tone else (attribute.column, f"source_{attribute.column}")


FURTHER_COLUMNS = {**SHAPE_COLUMNS, "tiling": Value("bool"), "dtype": Value("string")}
"""Columns that a plan has only where they say something."""


def plan_features(
    class_names: Sequence[str], attribute: Attribute = SKIN_TYPE, further: Iterable[str] = ()
) -> Features:
    """Return the columns of a plan: the corpus schema without ``image``, provenance, and how to generate.

    ``subject`` is what stands for the condition in the prompt (its name or token). ``batch_position`` is
    the place in the batch that a row is generated at and ``threads`` the CPU threads that generated it; with
    ``batch_size`` they make a row that is generated again alone equal bit for bit. ``strength``,
    ``source_id`` and ``source_skin_type`` are null for text-to-image, sizes are null where the generator's
    own are meant. Another attribute than the skin type has two further columns, such as ``sex`` and
    ``source_sex``. ``further`` are those of :data:`FURTHER_COLUMNS` that it has: of images whose sources are
    no squares ``bucket`` is that of the image, and ``shown`` says where its picture lies in it, null where it
    is all of it (:mod:`~skindiff.corpora.buckets`); ``tiling`` says that it was decoded in tiles, and
    ``dtype`` that the network that denoises had another precision than float32.

    Raises:
        ConfigError: the attribute's column has the name of another.
    """
    features = corpus_features(class_names)
    del features["image"]
    types = {
        "source_id": "string",
        "subject": "string",
        "prompt": "string",
        "seed": "int64",
        "strength": "float64",
        "guidance_scale": "float64",
        "steps": "int32",
        "generator": "string",
        "source_skin_type": "string",
        "strategy": "string",
        "mode": "string",
        "scheduler": "string",
        "tone": "string",
        "tone_strength": "float64",
        "tone_subject": "string",
        "detail": "float64",
        "image_size": "int32",
        "output_size": "int32",
        "batch_size": "int32",
        "batch_position": "int32",
        "threads": "int32",
    }
    own = attribute_columns(attribute)
    if taken := [name for name in own if name in (*features, *types, *further)]:
        raise ConfigError(
            f"corpus.attribute.column: {taken[0]!r} is a column that synthetic images have; rename the column"
        )
    return Features(
        {
            **features,
            **{name: Value(kind) for name, kind in types.items()},
            **{name: FURTHER_COLUMNS[name] for name in further},
            **dict.fromkeys(own, Value("string")),
        }
    )


def synthetic_features(class_names: Sequence[str]) -> Features:
    """Return the columns of a synthetic data set: ``image`` and those of its plan."""
    return with_images(plan_features(class_names))


def with_images(plan: Features) -> Features:
    """Return the columns of the images of a plan."""
    return Features({"image": Image(), **plan})


def make_plan(
    sources: Dataset,
    config: SynthesisConfig,
    *,
    seed: int,
    generator: str,
    tokens: Mapping[str, str] | None = None,
    threads: int | None = None,
    attribute: Attribute = SKIN_TYPE,
    same_noise: bool = False,
) -> Dataset:
    """Plan a synthetic data set; images are neither read nor generated.

    The seed of a row is a function of ``seed``, its source and its turn, so a row stays the same whatever
    else is planned. Each condition's images get the targets in equal numbers (to within one per target).

    Args:
        sources: a corpus; only ``label``, ``skin_type``, ``image_id``, ``group_id``, the column of the
            attribute and, for img2img, ``bucket`` are read.
        config: valid settings.
        seed: of this data set.
        generator: ``id@revision`` of the model and whatever adapter is on it; goes into every row.
        tokens: placeholder of each condition, for the strategies with textual inversion.
        threads: CPU threads that will generate; the present number when left out.
        attribute: of the corpus: what is transferred. A source's skin type stays as it is where that is
            another.
        same_noise: start every source and target from the same noises, so that images differ by what is
            asked alone; image n of seed s is then the first of seed s + n.

    Returns:
        A table of ``len(sources) * images_per_source`` rows with the columns of :func:`plan_features`.

    Raises:
        ConfigError: a setting cannot work.
        SynthesisError: there are no sources, two share an ``image_id``, or a condition has no token.
    """
    config.validate()
    config = config.aimed(attribute)
    label_feature = sources.features["label"]
    assert isinstance(label_feature, ClassLabel)
    names = dict.fromkeys(("label", "skin_type", "image_id", "group_id", attribute.column))
    columns = {name: list(sources[name]) for name in names}
    _check_sources(columns["image_id"])
    if config.mode == "img2img" and config.tone == "prototype_contrast" and None in columns["skin_type"]:
        nameless = columns["image_id"][columns["skin_type"].index(None)]
        raise SynthesisError(
            f"tone 'prototype_contrast' needs the skin type of every source, and {nameless!r} has none: "
            "add it, or choose prototype_colour"
        )
    subjects = _subjects(label_feature.names, set(columns["label"]), config, tokens)
    values = columns[attribute.column]
    targets = _draw_targets(columns, values, config, seed)
    constant = _drawn_with(config)
    threads = threads or torch.get_num_threads()
    shapes = row_shapes(sources, config.output_size) if config.mode == "img2img" else []
    places: Counter[str] = Counter()
    memory: dict[str, Any] = {"tiling": True} if config.tiling else {}
    memory |= {"dtype": config.dtype} if config.dtype != "float32" else {}
    features = plan_features(label_feature.names, attribute, [*(shapes[0] if shapes else ()), *memory])
    rows: dict[str, list[Any]] = {name: [] for name in features}
    for source, source_id in enumerate(columns["image_id"]):
        shape = shapes[source] if shapes else {}
        bucket = str(shape.get("bucket"))  # a batch is of one shape
        for turn, target in enumerate(targets[source]):
            number = targets[source][:turn].count(target)
            label = columns["label"][source]
            image_id = f"{source_id}-{config.mode}-{config.strategy}-{seed}-{turn}"
            from_image = config.mode == "img2img"
            known_type = columns["skin_type"][source] if from_image else None
            own = (target, values[source] if from_image else None)
            row: PlanRow = {
                **constant,
                "generator": generator,
                "threads": threads,
                "label": label,
                "skin_type": target if attribute.is_skin_tone else known_type,
                "image_id": image_id,
                # An image from text alone shows no patient of the corpus.
                "group_id": columns["group_id"][source] if from_image else image_id,
                "source_id": source_id if from_image else None,
                "source_skin_type": known_type,
                "subject": subjects[label],
                "prompt": prompt_for(subjects[label], target, attribute, config.caption),
                "seed": derive_seed("synthesis", seed + number)
                if same_noise
                else derive_seed("synthesis", seed, source_id, turn),
                "batch_position": places[bucket] % config.batch_size,
                **shape,
            }
            places[bucket] += 1
            further = {**dict(zip(attribute_columns(attribute), own, strict=False)), **memory}
            for name, value in {**row, **further}.items():
                rows[name].append(value)
    return Dataset.from_dict(rows, features=features)


def _drawn_with(config: SynthesisConfig) -> PlanSettings:
    """Return the columns that are the same for every row of a plan, by its settings."""
    return {
        "corpus": SYNTHETIC_CORPUS,
        "strength": config.strength if config.mode == "img2img" else None,
        "guidance_scale": config.guidance_scale,
        "steps": config.steps,
        "strategy": config.strategy,
        "mode": config.mode,
        "scheduler": config.scheduler,
        "tone": _effective_tone(config),
        "tone_strength": config.tone_strength,
        "tone_subject": config.tone_subject,
        "detail": config.detail if config.mode == "img2img" else 0.0,
        "image_size": config.image_size,
        "output_size": config.output_size,
        "batch_size": config.batch_size,
    }


def _check_sources(image_ids: list[str]) -> None:
    if not image_ids:
        raise SynthesisError("there are no source images to plan from: check the split's training rows")
    if len(set(image_ids)) < len(image_ids):
        twice = next(name for name, count in Counter(image_ids).items() if count > 1)
        raise SynthesisError(f"image_id {twice!r} stands twice among the sources: give each image its own")


def _subjects(
    names: list[str], labels: set[int], config: SynthesisConfig, tokens: Mapping[str, str] | None
) -> dict[int, str]:
    """Return what stands for each label in prompts: its plain name, or its learned token."""
    if config.strategy in ("vanilla", "lora"):
        return {label: names[label] for label in labels}
    missing = [names[label] for label in sorted(labels) if names[label] not in (tokens or {})]
    if missing or tokens is None:
        raise SynthesisError(
            f"strategy {config.strategy!r} needs a learned token for {missing[0]!r}: train textual "
            "inversion on it, or choose strategy vanilla or lora"
        )
    return {label: tokens[names[label]] for label in labels}


def _draw_targets(
    columns: dict[str, list[Any]], values: Sequence[str | None], config: SynthesisConfig, seed: int
) -> list[list[str]]:
    """Return the target of every image of every source, by the sources' own values."""
    turns, targets = config.images_per_source, config.targets or []
    drawn = [[value] * turns if value is not None and value in targets else [] for value in values]
    by_label: dict[int, list[int]] = defaultdict(list)
    for source, label in enumerate(columns["label"]):
        if not drawn[source]:
            by_label[label].append(source)
    for label, members in sorted(by_label.items()):
        stream = numpy_generator("synthesis-targets", seed, label)
        # In the order of their ids, so that the order of the rows does not matter.
        members.sort(key=lambda source: columns["image_id"][source])
        order = [str(target) for target in stream.permutation(targets)]
        if config.target_draw == "per_source":
            for source in members:
                drawn[source] = [targets[stream.integers(len(targets))]] * turns
            continue
        for place, member in enumerate(stream.permutation(len(members))):
            first = place * turns
            drawn[members[member]] = [order[(first + turn) % len(order)] for turn in range(turns)]
    return drawn


def _effective_tone(config: SynthesisConfig) -> Tone:
    """Return the tone setting as it acts: what works on a source does nothing in text-to-image."""
    return "none" if config.mode == "txt2img" and config.tone != "offset_noise" else config.tone


def _least_steps(strength: float) -> int:
    least = math.ceil(1 / strength)
    return least if int(least * strength) >= 1 else least + 1
