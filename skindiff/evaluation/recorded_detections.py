"""Detections that are kept beside a recipe: what was trained and judged anywhere counts as done everywhere.

As recorded cells are (:mod:`~skindiff.classification.recorded_cells`): a row for the generated and one for
the real images of each generator, with a fingerprint of all that decides it, classes, probabilities and
hashed ids; no picture and no file name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accelerate.logging import get_logger

from skindiff import __version__
from skindiff.classification.recorded_cells import PATTERN, Recorded, fingerprint, hashed, kept_beside
from skindiff.errors import ConfigError, RunFolderError
from skindiff.evaluation.detection import Detection, DetectorOfSplit, Judged
from skindiff.files import replacing
from skindiff.foreign import Malformed
from skindiff.foreign_tables import read_parquet
from skindiff.recorded_settings import recorded
from skindiff.runs import RunFolder

logger = get_logger(__name__)
KEPT = "detections.parquet"
"""In the folder of a run, its own detections."""
_PARTS = ("generated", "held_out")


def record_of(detector: DetectorOfSplit, family: str, made_with: Mapping[str, Any]) -> str:
    """Return the fingerprint of a detection, before any generator is trained.

    Args:
        detector: of the split.
        family: of the generator.
        made_with: settings of its training and drawing.
    """
    ids = detector.corpus["image_id"][:]
    parts = {"generator": detector.study.split.train, **vars(detector.split)}
    return fingerprint(
        {
            "detector": recorded(detector.classifier),
            "rows": {name: [ids[row] for row in rows] for name, rows in parts.items()},
            "family": family,
            "made_with": recorded(made_with),
            "seed": detector.study.seed,
            "data": detector.study.corpus.fingerprint,
            "version": __version__.rpartition(".")[0],
        }
    )


class RecordedDetections:
    """Detections by what decides them: of files beside a recipe, and those that a run has made itself.

    Args:
        files: beside the recipe.
        own: where a run keeps its own.
        alone: train nothing, and report what is in ``files``.
    """

    def __init__(self, files: Sequence[Path], own: Path, *, alone: bool = False) -> None:
        self._own, self.alone = own, alone
        self._beside = {(row["record"], row["part"]): row for file in files for row in _read(file)}
        self._made: dict[tuple[str, str], dict[str, Any]] = {}
        self._taken, self._missing, self._unlike = list[str](), list[str](), list[str]()

    @classmethod
    def beside(cls, recipe: str, use: Recorded, run: RunFolder) -> "RecordedDetections":
        """Return those in the folder ``results`` of a recipe, as its setting ``recorded`` says."""
        folder = kept_beside(recipe, use)
        files = () if folder is None else tuple(sorted(folder.glob(PATTERN)))
        return cls(files, run.path / KEPT, alone=use == "only")

    def lacks(self, detector: DetectorOfSplit, family: str, record: str) -> bool:
        """Whether a generator is to be trained and judged; warns where one of other settings is kept."""
        if self.alone or (record, _PARTS[0]) in self._beside:
            return False
        seed = detector.study.seed
        known = {hashed(group) for group in detector.study.corpus.dataset["group_id"][:]}
        same = (row for row in self._beside.values() if (row["generator"], row["seed"]) == (family, seed))
        if any(known.issuperset(row["groups"]) for row in same if row["part"] == _PARTS[1]):
            self._unlike.append(f"{family}, seed {seed}")
            logger.warning("%s", _unlike(self._unlike[-1:]))
        return True

    def keep(self, record: str, detection: Detection, *, write: bool) -> None:
        """Add what a detector has said; one process writes it down."""
        rows = _rows_of(record, detection)
        self._made |= {(row["record"], row["part"]): row for row in rows}
        if write:
            merge(self._own, rows)

    def find(self, detector: DetectorOfSplit, family: str, record: str) -> Detection | None:
        """Return a detection as it is kept, of one kind whether it was made here or elsewhere.

        Raises:
            RunFolderError: it is of other images than the detector holds out.
        """
        known, name = {**self._beside, **self._made}, f"{family}, seed {detector.study.seed}"
        if (record, _PARTS[0]) not in known:
            self._missing.append(name)
            return None
        if (record, _PARTS[0]) not in self._made:
            self._taken.append(name)
        generated, held_out = (_judged(known[record, part]) for part in _PARTS)
        real = detector.corpus.select(detector.split.held_out)
        if held_out.groups != tuple(hashed(group) for group in real["group_id"][:]):
            raise RunFolderError(
                f"recorded detection {record}: its held-out images are not those of this split; delete its "
                "rows and run it again"
            )
        return Detection(family, detector.study.seed, detector.names, generated, held_out)

    def notes(self) -> list[str]:
        """Return in words what was taken as done, and what was not run.

        Raises:
            ConfigError: nothing may be trained, and nothing is recorded.
        """
        if self.alone and not self._taken:
            raise ConfigError(
                "recorded: only takes detections that are kept beside the recipe, and none is of these "
                "settings; set it to take"
            )
        notes = []
        if self._taken:
            notes.append(
                f"Made elsewhere, and taken from the files beside the recipe: {'; '.join(self._taken)}. Near "
                "copies, fidelity and pictures are of the others alone."
            )
        if self._unlike:
            notes.append(_unlike(self._unlike))
        if self._missing:
            notes.append(f"Not run: {'; '.join(self._missing)}.")
        return notes


def _unlike(names: Sequence[str]) -> str:
    return (
        f"Made again: {'; '.join(names)}. What is kept beside the recipe for images of this corpus has other "
        "settings, another split, other groups or another version of skindiff."
    )


def merge(file: Path, rows: Sequence[Mapping[str, Any]]) -> int:
    """Add rows to a file, in the place of those of the same detection, and return how many it holds now."""
    known = _read(file) if file.is_file() else []
    found = {(row["record"], row["part"]): row for row in [*known, *rows]}
    with replacing(file) as partial:
        pd.DataFrame([found[key] for key in sorted(found)]).to_parquet(
            partial, compression="zstd", index=False
        )
    return len(found) // len(_PARTS)


def rows_in(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's own detections."""
    return _read(run / KEPT) if (run / KEPT).is_file() else []


def _rows_of(record: str, detection: Detection) -> list[dict[str, Any]]:
    judged = {"generated": detection.generated, "held_out": detection.held_out}
    return [
        {
            "record": record,
            "part": part,
            "generator": detection.generator,
            "seed": detection.seed,
            "labels": one.labels.tolist(),
            "probabilities": one.probabilities.astype(np.float32).ravel().tolist(),
            "groups": [hashed(group) for group in one.groups],
        }
        for part, one in judged.items()
    ]


def _judged(row: Mapping[str, Any]) -> Judged:
    labels = np.asarray(row["labels"], dtype=np.int64)
    probabilities = np.asarray(row["probabilities"], dtype=np.float64).reshape(len(labels), -1)
    return Judged(labels, probabilities, tuple(row["groups"]))


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        return [dict(row) for row in read_parquet(file).to_pandas().to_dict("records")]
    except Malformed as error:
        raise RunFolderError(
            f"{file} holds no recorded detections ({error}); restore or delete it"
        ) from error
