"""A cell: one classifier's predictions on one test set, and how it is kept on disk between stages."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from skindiff.classification.rows import CellColumns, SeriesColumns
from skindiff.errors import RunFolderError
from skindiff.files import replacing
from skindiff.foreign import parse_json, refuse_unlike
from skindiff.foreign_tables import open_arrays

REAL = "real"
"""The arm of the real training images alone, which every other is compared with."""


PREFIX = "probe:"
"""Before the name of a backbone, where an architecture is asked for."""


def is_probe(architecture: str) -> bool:
    """Whether an architecture is a probe on a backbone, and no network that is fine-tuned."""
    return architecture.startswith(PREFIX)


def backbone_name(architecture: str) -> str:
    """Return the backbone of a probe, as :func:`~skindiff.measures.backbones.load_backbone` takes it."""
    return architecture.removeprefix(PREFIX)


class CellKey(NamedTuple):
    """What names a row of `results`; ``None`` where a part does not apply (`real` has no generator)."""

    scenario: str
    test_group: str
    generator: str | None
    strategy: str | None
    arm: str
    ratio: float | None
    architecture: str
    preset: str
    split_seed: int | None
    train_seed: int | None

    def moved(self, scenario: str, split_seed: int, train_seed: int) -> "CellKey":
        """Return the key in another scenario, under other seeds."""
        return self._replace(scenario=scenario, split_seed=split_seed, train_seed=train_seed)

    @property
    def series(self) -> "CellKey":
        """The key of the `summary` row that this cell belongs to: itself without seeds."""
        return self._replace(split_seed=None, train_seed=None)

    @property
    def population(self) -> tuple[str, str, str, str]:
        """What two series must share to be compared: scenario, test group, architecture, preset."""
        return self.scenario, self.test_group, self.architecture, self.preset

    @property
    def seeds(self) -> tuple[int | None, int | None]:
        """The split seed and the training seed."""
        return self.split_seed, self.train_seed

    @property
    def series_columns(self) -> SeriesColumns:
        """The parts without seeds, by name."""
        return {
            "scenario": self.scenario,
            "test_group": self.test_group,
            "generator": self.generator,
            "strategy": self.strategy,
            "arm": self.arm,
            "ratio": self.ratio,
            "architecture": self.architecture,
            "preset": self.preset,
        }

    @property
    def columns(self) -> CellColumns:
        """All parts, by name."""
        return {**self.series_columns, "split_seed": self.split_seed, "train_seed": self.train_seed}


@dataclass(frozen=True)
class Cell:
    """One classifier's predictions on one test set, all arrays in the same order of n images.

    ``labels`` has shape ``(n,)``, ``probabilities`` ``(n, classes)``; ``group_ids`` says which images are of
    one patient, lesion or duplicate cluster; ``class_names`` is in the order of the codes; ``record`` is the
    fingerprint of all that decides them, where it is known; ``attributes`` are the values, by column, of what
    else is known of the images (:class:`~skindiff.corpora.attribute.Attribute`).
    """

    key: CellKey
    class_names: tuple[str, ...]
    image_ids: tuple[str, ...]
    group_ids: tuple[str, ...]
    skin_types: tuple[str | None, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    optimiser_steps: int
    record: str = ""
    attributes: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError where the columns' lengths differ."""
        lengths = {
            len(self.image_ids),
            len(self.group_ids),
            len(self.skin_types),
            len(self.labels),
            len(self.probabilities),
            *map(len, self.attributes.values()),
        }
        if len(lengths) != 1:
            raise ValueError(
                f"the columns of cell {tuple(self.key)} have different lengths: {sorted(lengths)}"
            )


@dataclass(frozen=True)
class CellImages:
    """What cells say of their images, read once for all of them; the fields are those of :class:`Cell`."""

    class_names: tuple[str, ...]
    image_ids: tuple[str, ...]
    group_ids: tuple[str, ...]
    skin_types: tuple[str | None, ...]
    labels: NDArray[np.int64]
    attributes: Mapping[str, tuple[str | None, ...]]

    @classmethod
    def of(cls, images: Dataset, attributes: Iterable[str]) -> "CellImages":
        """Read the columns of a test set; attributes that it does not record are left out."""
        return cls(
            class_names=tuple(images.features["label"].names),
            image_ids=tuple(images["image_id"][:]),
            group_ids=tuple(images["group_id"][:]),
            skin_types=tuple(images["skin_type"][:]),
            labels=np.asarray(images["label"][:], dtype=np.int64),
            attributes={name: tuple(images[name][:]) for name in attributes if name in images.column_names},
        )

    def cell(self, key: CellKey, probabilities: NDArray[Any], steps: int, record: str = "") -> Cell:
        """Return the cell of a classifier's probabilities, ``(n, classes)``, after so many optimiser steps.

        They keep as many digits as a recorded cell has, so that it makes no difference which is taken.
        """
        kept = probabilities.astype(np.float32).astype(np.float64)
        return Cell(key=key, probabilities=kept, optimiser_steps=steps, record=record, **vars(self))


def save_cell(cell: Cell, path: Path) -> None:
    """Write a cell to an ``.npz`` file, atomically and with the same bytes for the same cell."""
    about = {
        "key": cell.key.columns,
        "class_names": cell.class_names,
        "optimiser_steps": cell.optimiser_steps,
        **({"record": cell.record} if cell.record else {}),
        **({"attributes": cell.attributes} if cell.attributes else {}),
    }
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(
            stream,
            about=np.array(json.dumps(about, sort_keys=True)),
            image_ids=np.array(cell.image_ids, dtype=str),
            group_ids=np.array(cell.group_ids, dtype=str),
            skin_types=np.array([name or "" for name in cell.skin_types], dtype=str),
            labels=cell.labels,
            probabilities=cell.probabilities,
        )


class _About(TypedDict):
    """What a file of a cell says of it."""

    key: dict[str, Any]
    class_names: list[str]
    optimiser_steps: int
    record: NotRequired[str]
    attributes: NotRequired[dict[str, list[str | None]]]


def load_cell(path: Path) -> Cell:
    """Read what :func:`save_cell` wrote.

    Raises:
        RunFolderError: the file is missing or is no cell.
    """
    try:
        with open_arrays(path) as stored:
            about = parse_json(str(stored["about"]))
            refuse_unlike(about, _About, "about")
            return Cell(
                key=CellKey(**about["key"]),
                class_names=tuple(about["class_names"]),
                image_ids=tuple(stored["image_ids"].tolist()),
                group_ids=tuple(stored["group_ids"].tolist()),
                skin_types=tuple(name or None for name in stored["skin_types"].tolist()),
                labels=stored["labels"],
                probabilities=stored["probabilities"],
                optimiser_steps=about["optimiser_steps"],
                record=about.get("record", ""),
                attributes={name: tuple(values) for name, values in about.get("attributes", {}).items()},
            )
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{path.name}: no readable predictions ({error}); delete the file and run again"
        raise RunFolderError(reason) from error
