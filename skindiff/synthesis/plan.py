"""Plans: for each image its source, skin type, prompt and seed.

A plan is a table without images. Its rows say all that is needed to generate each image again, alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from datasets import ClassLabel, Dataset, Features, Image, Value

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.buckets import SHAPE_COLUMNS, row_shapes
from skindiff.corpora.schema import corpus_features
from skindiff.errors import ConfigError, SynthesisError
from skindiff.generators.prompts import prompt_for
from skindiff.seeding import derive_seed, numpy_generator
from skindiff.synthesis.config import SynthesisConfig, Tone
from skindiff.synthesis.rows import PlanRow, PlanSettings

SYNTHETIC_CORPUS = "synthetic"
"""What the ``corpus`` column of synthetic images says."""


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
    columns = {name: sources[name][:] for name in names}
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
