"""Any from-scratch generator by the name of its family: its settings, and its training as a stage."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from accelerate.logging import get_logger
from datasets import Dataset

from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError
from skindiff.generators.families import FAMILIES, Family, find_family, imported
from skindiff.study import Study
from skindiff.training.balancing import BY_BOTH, refuse_unrecorded

logger = get_logger(__name__)

PIPELINE, LOG_FILE = "pipeline", "training_log.json"


class FamilySettings(Protocol):
    """What the settings of every family have, besides being a dataclass."""

    channels: Any

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""


@dataclass
class FromScratchConfig:
    """A generator that is trained on the corpus alone, and the settings of each family it can be of.

    An instance has one field more for each family in :data:`skindiff.generators.families.FAMILIES`, named
    after it: ``FromScratchConfig(family="ddpm", ddpm=DDPMConfig(image_size=64))``.
    """

    family: str = "ddpm"
    """Which family is trained; a recipe that compares several overrules it."""

    def __new__(cls, *arguments: Any, **settings: Any) -> "FromScratchConfig":
        """Make one of the class with all families' settings."""
        return super().__new__(cls.current() if cls is FromScratchConfig else cls)

    @classmethod
    def current(cls) -> type["FromScratchConfig"]:
        """Return the class with a field for the settings of each family that is in the table by now."""
        return _with_families(tuple(FAMILIES.values()))

    @property
    def own(self) -> FamilySettings:
        """The settings of the chosen family."""
        settings: FamilySettings = getattr(self, self.family)
        return settings

    def settings_of(self, family: str) -> dict[str, Any]:
        """Return the settings of a family by name, as :func:`skindiff.train_generator` takes them."""
        return {name: value for name, value in vars(getattr(self, family)).items() if name != "family"}

    def of(self, family: str) -> "FromScratchConfig":
        """Return the same settings for another family."""
        return replace(self, family=family)


@cache
def _with_families(families: tuple[Family, ...]) -> type[FromScratchConfig]:
    names: Any = Literal.__getitem__(tuple(family.name for family in families))
    chosen: Any = ("family", names, field(default="ddpm"))
    kinds = [(family.name, imported(family.settings)) for family in families]
    own = [(name, kind, field(default_factory=kind)) for name, kind in kinds]
    made = make_dataclass(FromScratchConfig.__name__, [chosen, *own], bases=(FromScratchConfig,))
    made.__doc__ = "A generator that is trained on the corpus alone, and the settings of each family."
    return made


def validate_families(
    families: Sequence[str], config: FromScratchConfig, channels: int, path: str = "", generator: str = ""
) -> None:
    """Check the families that a recipe compares, each with its own settings.

    Args:
        families: names of the table.
        config: with the settings of all of them.
        channels: of the corpus: 1 where it is grey.
        path: goes before the name of the recipe's setting ``families``.
        generator: goes before the names of the settings in ``config``.

    Raises:
        ConfigError: one is unknown or named twice, none is named, or a setting cannot work.
    """
    if not families:
        raise ConfigError(f"{path}families: the list is empty; name one or more of {', '.join(FAMILIES)}")
    for family in families:
        find_family(family, f"{path}families")
    if len(set(families)) < len(families):
        raise ConfigError(f"{path}families: {list(families)} names a family twice; name each once")
    for family in families:
        own = config.of(family).own
        own.validate(f"{generator}{family}.")
        if own.channels != channels:
            kind = "grey" if channels == 1 else "in colour"
            setting = f"{generator}{family}.channels"
            raise ConfigError(f"{setting} is {own.channels}, but the corpus is {kind}: set it to {channels}")


def train_from_scratch(study: Study, config: FromScratchConfig, rows: Dataset | None = None) -> Path:
    """Train a generator once and return the folder of its pipeline, beside which its log lies.

    Args:
        study: the training is a stage of it, repeated where the family's settings, the rows or the seed of
            initial weights, batches and noise change.
        config: the family and its settings.
        rows: to learn from, all of one size; the training rows of the study when left out.

    Raises:
        ConfigError: an unknown family, a corpus that is grey where the network is not, or the other way, or
            one that does not record what is to be balanced.
        TrainingError: a class has no image, or the training has diverged (what was kept is said).
    """
    trainer, own = find_family(config.family).trainer, config.own
    train = study.train if rows is None else rows
    held_out, balance = _held_out(study, own), vars(own).get("balance", "none")
    column = study.corpus.attribute.column
    refuse_unrecorded(balance, train[column][:], column, f"{config.family}.balance")
    stage = study.stage(
        f"generator-{config.family.replace('_', '-')}",
        says=f"training {config.family}",
        config=asdict(own),  # type: ignore[call-overload]
        rows=train["image_id"][:],
        **({"validation": study.split.validation} if held_out else {}),
        **({"attribute": column} if balance == BY_BOTH else {}),
        seed=study.seed,
    )
    if not stage.done:
        table = ImageTable.from_dataset(train, column)
        counts = np.bincount(table.labels, minlength=len(table.class_names)).tolist()
        named = ", ".join(f"{count} {name}" for name, count in zip(table.class_names, counts, strict=True))
        logger.info("%s learns from %s", config.family, named)
        imported(trainer)(study.accelerator, own, table, stage.folder, study.seed, **held_out)
        stage.finish()
    return stage.folder / PIPELINE


def _held_out(study: Study, own: FamilySettings) -> dict[str, ImageTable]:
    """Return what a trainer is given besides: validation images, where a family that stops early asks."""
    if not vars(own).get("early_stopping"):
        return {}
    validation = study.validation
    if validation is None or not len(validation):
        raise ConfigError(
            "early_stopping is true, and the split has no validation images: set validation_fraction above "
            "0, or early_stopping to false"
        )
    return {"validation": ImageTable.from_dataset(validation)}
