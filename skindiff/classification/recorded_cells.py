"""Predictions that are kept beside a recipe: what has been trained anywhere counts as done everywhere.

A file holds a row for each cell and test set: its key, a fingerprint of all that decides it (images, split,
generator, settings), hashed image ids and probabilities; no picture and no file name. A cell is taken only
where the fingerprint is that of the study at hand.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from datasets import Dataset

from skindiff import __version__
from skindiff.classification.cells import Cell, CellImages, CellKey
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.jobs import Job, inputs_of
from skindiff.classification.rows import BestEpoch
from skindiff.errors import RunFolderError
from skindiff.files import replacing
from skindiff.foreign import Malformed
from skindiff.foreign_tables import read_parquet
from skindiff.recorded_settings import recorded
from skindiff.study import Study

Recorded = Literal["take", "only", "ignore"]
"""What a recipe does with the cells that are kept beside it."""
PATTERN = "*.parquet"
FOLDER = "results"
"""Beside the settings of a recipe."""


def kept_beside(recipe: str, use: Recorded) -> Path | None:
    """Return the folder of what is kept beside a recipe, None where ``recorded`` is ``ignore``."""
    return None if use == "ignore" else Path(recipe).with_suffix("") / FOLDER


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """Return 32 hex digits of what decides a result: plain values and settings."""
    text = json.dumps(inputs, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: object) -> object:
    return recorded(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def record_of(study: Study, config: ExperimentConfig, job: Job) -> str:
    """Return the fingerprint of a training; empty where it is not known what made its synthetic images.

    It follows from settings alone, before any generator is trained.
    """
    if any(images is not None and not images.made_with for images in (job.synthetic, job.beside)):
        return ""
    inputs = inputs_of(study, config, job)
    if job.synthetic is not None:
        inputs["synthetic"] = job.synthetic.made_with
    if job.kept is not None:
        judge = config.architectures[0]
        inputs["kept"] = [config.filters, judge, config.settings_of(judge)]
    if job.beside is not None:
        inputs["pass_rows"] = job.beside.made_with
    if isinstance(job.config, ClassifierConfig) and job.config.weights is not None:
        inputs["weights"] = hashlib.sha256(Path(job.config.weights).read_bytes()).hexdigest()
    version = __version__.rpartition(".")[0]
    return fingerprint({**inputs, "data": study.corpus.fingerprint, "version": version})


def hashed(image_id: str) -> str:
    """Return what stands for an image in a file of cells."""
    return hashlib.sha256(image_id.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RecordedCells:
    """The cells in some files.

    Attributes:
        files: of :func:`write_cells`.
        alone: train nothing, and report what is here.
    """

    files: tuple[Path, ...] = ()
    alone: bool = False
    _images: WeakKeyDictionary[Dataset, CellImages] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    @classmethod
    def beside(cls, recipe: str, use: Recorded) -> "RecordedCells":
        """Return the cells in the folder ``results`` of a recipe, as its setting ``recorded`` says."""
        folder = kept_beside(recipe, use)
        return cls(() if folder is None else tuple(sorted(folder.glob(PATTERN))), use == "only")

    @cached_property
    def _rows(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for file in self.files:
            for row in _read(file):
                found.setdefault(row["record"], []).append(row)
        return found

    def find(self, study: Study, record: str) -> "list[tuple[Cell, BestEpoch | None]] | None":
        """Return the cells of a training on every test set of a study, with their best epochs; None without.

        Args:
            study: with the tested images.
            record: of :func:`record_of`.
        """
        rows = {json.loads(row["key"])["test_group"]: row for row in self._rows.get(record, ())}
        if not record or not set(study.tests) <= set(rows):
            return None
        return [_cell(self._images_of(study, group), group, rows[group]) for group in study.tests]

    def of_corpus(self, image_ids: Iterable[str]) -> int:
        """Return how many trainings have test images of a corpus alone, whatever their settings."""
        known = {hashed(image) for image in image_ids}
        return sum(all(known.issuperset(row["images"]) for row in rows) for rows in self._rows.values())

    def _images_of(self, study: Study, group: str) -> CellImages:
        """Return the images of a test set, read once for the hundreds of cells on them."""
        test = study.tests[group]
        if test not in self._images:
            self._images[test] = CellImages.of(test, study.corpus.attribute.columns)
        return self._images[test]


def _cell(images: CellImages, group: str, row: Mapping[str, Any]) -> tuple[Cell, BestEpoch | None]:
    place = {hashed(image): number for number, image in enumerate(images.image_ids)}
    if set(place) != set(row["images"]):
        raise RunFolderError(
            f"recorded cell {row['record']}: its images are not those of test set {group!r}; delete the row "
            "and train it again"
        )
    probabilities = np.empty((len(place), len(images.class_names)))
    probabilities[[place[image] for image in row["images"]]] = np.reshape(
        row["probabilities"], (len(place), -1)
    )
    key = CellKey(**json.loads(row["key"]))
    cell = images.cell(key, probabilities, int(row["optimiser_steps"]), row["record"])
    return cell, json.loads(row["best_epoch"]) if row["best_epoch"] else None


_SMALL: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 19,
    "use_dictionary": ["images.list.element"],
    "use_byte_stream_split": ["probabilities.list.element"],
}
"""How Parquet is told to write small files, since they are in git: bytes of equal weight lie together."""
NOTHING = RecordedCells()
"""No cell is recorded."""


def write_cells(file: Path, cells: Sequence[tuple[Cell, BestEpoch | None]]) -> int:
    """Add cells to a file, in the place of those of the same training, and return how many there are now.

    Args:
        file: ends in ``.parquet``; made where there is none.
        cells: with a record each, and the best epoch of a training that watched its tests.
    """
    known = _read(file) if file.is_file() else []
    rows = {(row["record"], row["key"]): row for row in known}
    for cell, best in cells:
        key = json.dumps(cell.key.columns, sort_keys=True)
        rows[cell.record, key] = {
            "record": cell.record,
            "key": key,
            "images": [hashed(image) for image in cell.image_ids],
            "probabilities": cell.probabilities.astype(np.float32).ravel().tolist(),
            "optimiser_steps": cell.optimiser_steps,
            "best_epoch": json.dumps(best) if best else "",
        }
    table = pd.DataFrame([rows[name] for name in sorted(rows)])
    with replacing(file) as partial:
        table.to_parquet(partial, index=False, **_SMALL)
    return len(table)


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        return cast(list[dict[str, Any]], read_parquet(file).to_pandas().to_dict("records"))
    except Malformed as error:
        raise RunFolderError(f"{file} holds no recorded cells ({error}); restore or delete it") from error
