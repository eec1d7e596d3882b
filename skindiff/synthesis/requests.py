"""Synthesis by any generator: images of classes and skin types, or transfers of a corpus."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from datasets import Dataset, Features

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.schema import corpus_features
from skindiff.errors import ConfigError
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.models import BUNDLED_NAMES
from skindiff.generators.resolve import Generator
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.synthesis.class_draw import ClassDrawer
from skindiff.synthesis.class_plan import ClassSynthesisConfig, drawn_features, make_class_plan
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.tone import TonePrototypes
from skindiff.synthesis.writer import write_rows, write_synthetic

DATA = "data"
"""Folder of the shards in the run that generated them."""
BUNDLED_SUBJECTS = ("red patch", "brown spots", "smooth skin")
"""Some of what the bundled pipeline knows, before it is trained on a class: conditions, and skin alone."""


def draws_by_class(generator: Generator) -> bool:
    """Whether a generator is of a class-conditional family, which knows no words and no skin types."""
    return isinstance(generator.pipeline, ClassConditionalPipeline)


def classes_to_draw(generator: Generator, asked: Sequence[str] | None) -> list[str]:
    """Return the classes to generate: those asked for, or all that the generator was trained on.

    Raises:
        ConfigError: none is named and the generator was trained on none, or not on one that is named.
    """
    known, model = generator.class_names, generator.place.model
    if asked is None and generator.adapter is None and model in BUNDLED_NAMES:
        return list(BUNDLED_SUBJECTS)
    if asked is None and known is None:
        raise ConfigError(
            f"classes: {generator.name} was trained on none of its own; name some, such as "
            f"{BUNDLED_SUBJECTS[0]!r}"
        )
    classes = list(asked or known or [])
    unknown = [name for name in classes if known is not None and name not in known]
    if unknown:
        raise ConfigError(
            f"classes: {unknown[0]!r} is none of those that {generator.name} was trained on: "
            f"{', '.join(known or [])}"
        )
    return classes


def draw_words(
    accelerator: Accelerator,
    generator: Generator,
    classes: Sequence[str],
    config: SynthesisConfig,
    folder: Path,
    seed: int,
    same_noise: bool = False,
) -> None:
    """Generate the plan of :func:`plan_words` into shards of a folder."""
    plan = plan_words(generator, classes, config, seed, same_noise)
    _write(accelerator, generator, plan, None, folder, config)


def plan_words(
    generator: Generator,
    classes: Sequence[str],
    config: SynthesisConfig,
    seed: int,
    same_noise: bool = False,
) -> Dataset:
    """Plan images of classes from text, with the values ``config.targets`` of what the generator was trained
    to tell (skin types), or with all of them; see :func:`~skindiff.synthesis.plan.make_plan`."""
    attribute = generator.attribute
    targets = attribute.known if config.targets is None else config.targets
    settings: dict[str, Any] = {"mode": "txt2img", "strategy": generator.strategy, "targets": targets}
    return make_plan(
        _asked_for(classes, targets, attribute), _sampled(generator, replace(config, **settings)), seed=seed,
        generator=generator.name, tokens=generator.subjects, attribute=attribute, same_noise=same_noise,
    )  # fmt: skip


def draw_transfer(
    accelerator: Accelerator,
    generator: Generator,
    sources: Dataset,
    config: SynthesisConfig,
    folder: Path,
    seed: int,
    attribute: Attribute = SKIN_TYPE,
    same_noise: bool = False,
    prototypes: TonePrototypes | None = None,
) -> None:
    """Transfer images to ``config.targets``, values of their attribute, or to its minority (img2img), into
    shards of a folder; by tone prototypes that are known already, where they are given."""
    settings: dict[str, Any] = {"mode": "img2img", "strategy": generator.strategy}
    plan = make_plan(
        sources, _sampled(generator, replace(config, **settings)), seed=seed, generator=generator.name,
        tokens=generator.subjects, attribute=attribute, same_noise=same_noise,
    )  # fmt: skip
    _write(accelerator, generator, plan, sources, folder, config, prototypes)


def _sampled(generator: Generator, config: SynthesisConfig) -> SynthesisConfig:
    architecture = architecture_of(generator.pipeline)
    networks = architecture.networks(generator.pipeline)
    held, autoencoder = (str(network.dtype).removeprefix("torch.") for network in (networks[0], networks[-1]))
    if config.dtype != held or autoencoder != "float32":
        raise ConfigError(
            f"dtype is {config.dtype}, but {generator.name} is held in {held}, its autoencoder in "
            f"{autoencoder}: give the generator's name or folder in the place of the pipeline"
        )
    return config.sampled_by(architecture)


def _write(
    accelerator: Accelerator,
    generator: Generator,
    plan: Dataset,
    sources: Dataset | None,
    folder: Path,
    config: SynthesisConfig,
    prototypes: TonePrototypes | None = None,
) -> None:
    write_synthetic(
        accelerator,
        plan,
        generator.pipeline,
        sources,
        folder,
        rows_per_shard=config.rows_per_shard,
        load_base=generator.load_base if generator.adapter else None,
        prototypes=prototypes,
        offload=config.offload,
    )


def draw_classes(
    accelerator: Accelerator,
    generator: Generator,
    config: ClassSynthesisConfig,
    folder: Path,
    seed: int,
    sources: Dataset | None = None,
    attribute: Attribute = SKIN_TYPE,
) -> None:
    """Generate the budget of each class by a class-conditional generator into shards of a folder.

    Args:
        accelerator: device and processes.
        generator: of a class-conditional family.
        config: budgets and sampler.
        folder: of the shards.
        seed: of the data set.
        sources: what is reconstructed, or what budgets follow; left out where neither is needed.
        attribute: of the sources.

    Raises:
        ConfigError: the classes of the sources are not those of the generator.
    """
    pipeline = generator.pipeline
    own = list(pipeline.config.class_names)
    rows = _no_rows(own) if sources is None else sources
    if list(rows.features["label"].names) != own:
        raise ConfigError(
            f"corpus: its classes are {', '.join(rows.features['label'].names)}, but the generator has "
            f"{', '.join(own)}; choose the corpus that it was trained on"
        )
    plan = make_class_plan(
        rows, config, seed=seed, family=pipeline.family, generator=generator.name,
        redraws=pipeline.needs_images, attribute=attribute,
    )  # fmt: skip
    redrawn = rows if pipeline.needs_images else None
    write_rows(
        accelerator,
        plan,
        drawn_features(own, attribute),
        folder,
        lambda: ClassDrawer(pipeline, redrawn),
        rows_per_shard=config.rows_per_shard,
    )


def needs_sources(generator: Generator, config: ClassSynthesisConfig) -> bool:
    """Whether a class-conditional generator reconstructs real images, or its budgets follow a corpus."""
    return bool(generator.pipeline.needs_images) or config.budget in ("real", "inverse_frequency")


def _asked_for(classes: Sequence[str], values: Sequence[str], attribute: Attribute) -> Dataset:
    """Return a table with a row for each class and value, as text-to-image plans are made from."""
    pairs = [(code, kind) for code in range(len(classes)) for kind in values]
    ids = [f"{classes[code]}-{kind}" for code, kind in pairs]
    columns = {
        "label": [code for code, _ in pairs],
        "skin_type": [None] * len(pairs),
        attribute.column: [kind for _, kind in pairs],
        "image_id": ids,
        "group_id": ids,
    }
    every = corpus_features(classes, attribute.columns)
    features = {name: kind for name, kind in every.items() if name in columns}
    return Dataset.from_dict(columns, features=Features(features))


def _no_rows(classes: Sequence[str]) -> Dataset:
    features = corpus_features(classes)
    return Dataset.from_dict({name: [] for name in features}, features=features)
