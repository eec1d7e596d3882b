"""Plans of from-scratch generators: how many images of which class, from which seed, from which source.

A plan is a table without images. Its rows say all that is needed to generate each image again, alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from datasets import Dataset, Features, Image, Value

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.schema import corpus_features
from skindiff.errors import ConfigError, SynthesisError
from skindiff.generators.ddpm import DEFAULT_GUIDANCE, DEFAULT_SAMPLER, DEFAULT_STEPS
from skindiff.generators.families import SAMPLER_COLUMNS, find_family
from skindiff.seeding import derive_seed, numpy_generator
from skindiff.synthesis.plan import SYNTHETIC_CORPUS, attribute_columns
from skindiff.synthesis.rows import SourceColumns
from skindiff.wrong_settings import refuse

Budget = Literal["per_class", "table", "inverse_frequency", "real"]
Redraws = Literal["budget", "real"]
FEW_SHOT_BUDGET = {"nv": 0, "mel": 100, "bkl": 100, "bcc": 150, "akiec": 200, "vasc": 300, "df": 350}
"""Images by class of Ravani et al. (section IV.E), 1,200 in all."""


@dataclass
class ClassSynthesisConfig:
    """How many images of each class are generated, and how."""

    budget: Budget = "per_class"
    """per_class: as many of each; table: by name; inverse_frequency: a total, the more the rarer a class is;
    real: as many of each as there are real ones."""
    per_class: int = 100
    """Images of each class, for budget per_class."""
    table: dict[str, int] = field(default_factory=dict)
    """Images by class name, for budget table; a class that is not named gets none."""
    total: int = 1000
    """Images of all classes together, for budget inverse_frequency."""
    redraws: Redraws = "budget"
    """What families that reconstruct real images make: the same budget, or every real image once (Le Roux's
    Joint VAE)."""
    steps: int = DEFAULT_STEPS
    """Sampler steps of the families that take any, such as the DDPM."""
    scheduler: str = DEFAULT_SAMPLER
    """Of those that take one: dpmsolver++, ddim, ddpm, unipc, euler, or a scheduler class of diffusers."""
    guidance_scale: float = DEFAULT_GUIDANCE
    """Classifier-free guidance of those that take any; 1 turns it off and halves the work."""
    options: dict[str, dict[str, float | str]] = field(default_factory=dict)
    """Further options of a family, by family, such as {cvae_conv: {temperature: 0.8}}."""
    batch_size: int = 64
    """Images per forward pass; a row is generated again with the same."""
    output_size: int | None = None
    """Height and width in pixels that are saved; null saves them as generated."""
    rows_per_shard: int = 512
    """Rows per Parquet file."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        for name, choices in (("budget", Budget), ("redraws", Redraws)):
            if getattr(self, name) not in get_args(choices):
                known = ", ".join(get_args(choices))
                refuse(f"{path}{name}: {getattr(self, name)!r} is unknown; use one of {known}")
        for name in ("per_class", "total", "steps", "batch_size", "rows_per_shard"):
            if getattr(self, name) < 1:
                refuse(f"{path}{name}: {getattr(self, name)} is below 1; give a whole number from 1")
        if self.budget == "table" and not any(self.table.values()):
            refuse(f"{path}table: {self.table} asks for no image; name a class and a number")
        negative = [name for name, count in self.table.items() if count < 0]
        if negative:
            refuse(f"{path}table: {self.table[negative[0]]} images of {negative[0]}; give 0 or more")
        if self.guidance_scale < 1:
            refuse(f"{path}guidance_scale: {self.guidance_scale} is below 1, like no guidance; use 1 or more")
        for family, given in self.options.items():
            takes = find_family(family, f"{path}options").options
            unknown = [name for name in given if name not in takes]
            if unknown:
                known = ", ".join(takes) or "no option"
                refuse(f"{path}options.{family}: {unknown[0]!r} is unknown; this family takes {known}")
        if self.output_size is not None and self.output_size < 8:
            refuse(f"{path}output_size: {self.output_size} pixels are too few; use 8 or more")


def class_budgets(
    config: ClassSynthesisConfig, real: Mapping[str, int], *, redraws: bool = False
) -> dict[str, int]:
    """Return the images to generate of each class.

    Args:
        config: valid settings.
        real: real images of each class, in the order of their codes.
        redraws: whether the family reconstructs real images.

    Raises:
        ConfigError: the table names a class that the corpus has not.
        SynthesisError: a rare-class budget for a class without images.
    """
    if config.budget == "real" or (redraws and config.redraws == "real"):
        return dict(real)
    if config.budget == "inverse_frequency":
        return inverse_frequency_budgets(real, config.total)
    if config.budget == "per_class":
        return dict.fromkeys(real, config.per_class)
    unknown = [name for name in config.table if name not in real]
    if unknown:
        raise ConfigError(f"table: {unknown[0]!r} is no class of this corpus, which has {', '.join(real)}")
    return {name: config.table.get(name, 0) for name in real}


def inverse_frequency_budgets(real: Mapping[str, int], total: int) -> dict[str, int]:
    """Return budgets in inverse proportion to the classes' sizes that add up to ``total`` (Le Roux, section
    2.6).

    What rounding down leaves goes to the largest remainders, the earlier class first.

    Raises:
        SynthesisError: a class has no image.
    """
    empty = [name for name, count in real.items() if count == 0]
    if empty:
        raise SynthesisError(
            f"budget inverse_frequency has no bound for {empty[0]!r}, of which there is no image: use a table"
        )
    weights = {name: 1 / count for name, count in real.items()}
    shares = {name: total * weight / sum(weights.values()) for name, weight in weights.items()}
    budgets = {name: int(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: budgets[name] - shares[name])
    for name in by_remainder[: total - sum(budgets.values())]:
        budgets[name] += 1
    return budgets


def class_plan_features(class_names: Sequence[str], attribute: Attribute = SKIN_TYPE) -> Features:
    """Return the columns of a plan: the corpus schema without ``image``, provenance, and how to generate.

    ``prompt`` and ``strength`` are always null; ``source_id`` is null where an image is generated from noise;
    ``steps``, ``guidance_scale`` and ``scheduler`` are null where the family takes none. ``options`` is a
    JSON object of what else the family's ``draw`` was given. Another attribute than the skin type has two
    further columns, such as ``sex`` and ``source_sex``. A family knows classes alone, so an image from noise
    is of no known skin type or other value: null; one that reconstructs an image has the value of that.
    """
    features = corpus_features(class_names)
    del features["image"]
    types = {
        "source_id": "string",
        "prompt": "string",
        "seed": "int64",
        "strength": "float64",
        "guidance_scale": "float64",
        "steps": "int32",
        "generator": "string",
        "family": "string",
        "scheduler": "string",
        "options": "string",
        "output_size": "int32",
        "batch_size": "int32",
        "batch_position": "int32",
        "threads": "int32",
    }
    types |= dict.fromkeys(attribute_columns(attribute), "string")
    return Features({**features, **{name: Value(kind) for name, kind in types.items()}})


def drawn_features(class_names: Sequence[str], attribute: Attribute = SKIN_TYPE) -> Features:
    """Return the columns of a synthetic data set: ``image`` and those of its plan."""
    return Features({"image": Image(), **class_plan_features(class_names, attribute)})


def make_class_plan(
    sources: Dataset,
    config: ClassSynthesisConfig,
    *,
    seed: int,
    family: str,
    generator: str,
    redraws: bool = False,
    threads: int | None = None,
    attribute: Attribute = SKIN_TYPE,
) -> Dataset:
    """Plan a synthetic data set; images are neither read nor generated.

    The seed of a row is a function of ``seed``, its class (or source) and its turn, so a row stays the same
    whatever else is planned. A family that reconstructs goes through the sources of a class in a shuffled
    order, none for the second time before all were used once.

    Args:
        sources: real training rows; only ``label``, ``skin_type``, ``image_id``, ``group_id`` and the column
            of the attribute are read.
        config: valid settings.
        seed: of this data set.
        family: of the generator.
        generator: ``id@revision``; goes into every row.
        redraws: whether the family reconstructs real images.
        threads: CPU threads that will generate; the present number when left out.
        attribute: of the corpus, whose values reconstructions have from their sources.

    Returns:
        A table with the columns of :func:`class_plan_features`, class by class.

    Raises:
        ConfigError: the family is unknown, or a setting cannot work with this corpus.
        SynthesisError: there is nothing to generate, or a class to be reconstructed has no source.
    """
    config.validate()
    names, labels = list(sources.features["label"].names), sources["label"][:]
    real = {name: labels.count(code) for code, name in enumerate(names)}
    budgets = class_budgets(config, real, redraws=redraws)
    planned = sum(budgets.values())
    if planned == 0:
        raise SynthesisError("the plan has no rows: raise the budget of a class")
    # A batch is always full, so a larger one than there are rows would be wasted.
    batch_size, takes = min(config.batch_size, planned), find_family(family).sampler
    constant: dict[str, object] = {
        "corpus": SYNTHETIC_CORPUS,
        "prompt": None,
        "strength": None,
        **{name: getattr(config, name) if name in takes else None for name in SAMPLER_COLUMNS},
        "generator": generator,
        "family": family,
        "options": json.dumps(config.options.get(family, {}), sort_keys=True),
        "output_size": config.output_size,
        "batch_size": batch_size,
        "threads": threads or torch.get_num_threads(),
    }
    own = _redrawn(sources, budgets, seed, family) if redraws else _from_noise(budgets, seed, family)
    added = attribute_columns(attribute)
    values = dict(zip(sources["image_id"][:], sources[attribute.column][:], strict=True)) if redraws else {}
    rows: list[dict[str, object]] = [
        {
            **constant,
            **row,
            "batch_position": place % batch_size,
            **dict.fromkeys(added, values.get(row["source_id"] or "")),
        }
        for place, row in enumerate(own)
    ]
    features = class_plan_features(names, attribute)
    return Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)


def _from_noise(budgets: Mapping[str, int], seed: int, family: str) -> list[SourceColumns]:
    rows: list[SourceColumns] = []
    for label, (name, count) in enumerate(budgets.items()):
        for turn in range(count):
            image_id = f"{family}-{seed}-{name}-{turn}"
            rows.append(
                {
                    "label": label,
                    "skin_type": None,
                    "image_id": image_id,
                    "group_id": image_id,  # it shows no patient of the corpus
                    "source_id": None,
                    "seed": derive_seed("class synthesis", seed, name, turn),
                }
            )
    return rows


def _redrawn(sources: Dataset, budgets: Mapping[str, int], seed: int, family: str) -> list[SourceColumns]:
    columns = {name: sources[name][:] for name in ("label", "skin_type", "image_id", "group_id")}
    rows: list[SourceColumns] = []
    for label, (name, count) in enumerate(budgets.items()):
        # In the order of their ids, so that the order of the rows does not matter.
        members = sorted(
            (place for place, own in enumerate(columns["label"]) if own == label),
            key=lambda place: columns["image_id"][place],
        )
        if count and not members:
            raise SynthesisError(
                f"{family} reconstructs real images, and there is none of {name!r}: give it no budget"
            )
        order = numpy_generator("class synthesis", seed, name).permutation(len(members))
        for place in range(count):
            source, turn = members[order[place % len(members)]], place // len(members)
            source_id = columns["image_id"][source]
            rows.append(
                {
                    "label": label,
                    "skin_type": columns["skin_type"][source],
                    "image_id": f"{source_id}-{family}-{seed}-{turn}",
                    "group_id": columns["group_id"][source],
                    "source_id": source_id,
                    "seed": derive_seed("class synthesis", seed, source_id, turn),
                }
            )
    return rows
