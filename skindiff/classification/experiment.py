"""The downstream question: a classifier per arm, architecture and seed, and its predictions on the tests."""

import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from skindiff.classification.best_epoch import best_epoch
from skindiff.classification.cells import Cell, CellImages, CellKey, is_probe, load_cell, save_cell
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.external_sets import ExternalSet
from skindiff.classification.fine_tuning import LOG_FILE, train_classifier
from skindiff.classification.jobs import Job, inputs_of, jobs_of
from skindiff.classification.leaks import copies_crossing, refuse_leaks
from skindiff.classification.networks import WEIGHTS_FILE, SkinClassifier, load_classifier
from skindiff.classification.prediction import predict
from skindiff.classification.probe import PROBE_FILE, ProbeConfig, load_probe, save_probe
from skindiff.classification.probing import predict_probe, train_probe
from skindiff.classification.recorded_cells import NOTHING, RecordedCells, record_of
from skindiff.classification.rows import BestEpoch, BestEpochRow, SplitRow
from skindiff.classification.taught_rows import Taught, taught_by
from skindiff.corpora.image_table import ImageTable
from skindiff.progress import progress
from skindiff.runs import Stage
from skindiff.seeding import derive_seed
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic, Unmade
from skindiff.training.single_process import SingleProcess, Worker

_PREDICTIONS = "predictions.npz"
"""In the stage of a training and another corpus."""
COPY = "copy"
"""Begins the names of stages that hold the cells of another one under a further record."""
Predicted = Callable[[Dataset], np.ndarray]
"""A classifier as it is asked: class probabilities (n, classes) of the images of a table."""


@dataclass(frozen=True)
class _Work:
    """A training with its stage, None where its cells are recorded, and those of its tests elsewhere.

    ``also`` holds its cells once more, where a training of another record came out the same.
    """

    job: Job
    stage: Stage | None
    elsewhere: Sequence[tuple[ExternalSet, Stage]]
    also: Stage | None = None

    @property
    def waiting(self) -> bool:
        """Whether anything of it is still to be done."""
        own = [stage for stage in (self.stage, self.also) if stage is not None]
        return not all(stage.done for stage in (*own, *(stage for _, stage in self.elsewhere)))


class Experiment:
    """The cells of one split.

    Args:
        study: each cell is a stage of it; its processes share the cells out among them.
        config: arms, architectures, seeds.
        scenario: name for the report.
        recorded: cells that count as done; where it says so, nothing else is trained.
        equal_steps: all arms take as many steps as that of the real and all synthetic images, where passes
            over the images are counted; arms of real images alone are then trained for each data set.
        external: other corpora that every classifier is tested on once it is trained. What decides a training
            does not know of them, so one that is done is asked again where its weights were kept.

    Attributes:
        logs: training logs of the first training seed, by architecture and arm; of networks, not of probes.
        best_epochs: where ``test_curve`` is set, a row for each cell: its key, and the test scores of its
            best epoch (see :func:`skindiff.classification.best_epoch.best_epoch`).
        taken: keys of the cells that were recorded.
        asked: by other corpus, the stages that asked a classifier about it, and whether it was trained again
            for this, as its weights were not kept.
        not_run: trainings that were not, where nothing is trained.
    """

    def __init__(
        self,
        study: Study,
        config: ExperimentConfig,
        *,
        scenario: str,
        recorded: RecordedCells = NOTHING,
        equal_steps: bool = False,
        external: Sequence[ExternalSet] = (),
    ) -> None:
        self.study, self.config, self.scenario, self.equal_steps = study, config, scenario, equal_steps
        self.external = external
        self.validation = ImageTable.from_dataset(study.validation) if study.validation else None
        self.logs: dict[str, list[dict[str, float]]] = {}
        self.best_epochs: list[BestEpochRow] = []
        self.recorded, self.taken, self.not_run = recorded, set[CellKey](), list[str]()
        self.asked: dict[str, dict[str, bool]] = {}

    @property
    def _column(self) -> str:
        """The column of what is scarce."""
        return self.study.corpus.attribute.column

    def described_split(self) -> SplitRow:
        """Return the row of the report's ``splits``."""
        return {
            "seed": self.study.split.seed,
            "sizes": self.study.split.sizes(),
            "dropped": self.study.split.dropped,
            "groups_crossing": self.study.split.groups_crossing,
            "copies_crossing": copies_crossing(self.study.corpus.dataset, self.study.split),
        }

    def cells(self, synthetic: Synthetic | Unmade | None = None) -> list[Cell]:
        """Train and score every arm; arms without synthetic images are trained once for all strategies.

        Without ``synthetic`` these are the arms of real rows alone. With it they are all arms, those of real
        rows as they were found before, with no strategy in their keys.

        Raises:
            SplitError: synthetic rows were made from tested or validated images.
            ConfigError: there are not enough of them for a ratio, or a filter cannot judge them.
        """
        if isinstance(synthetic, Synthetic):
            refuse_leaks(self.study.corpus.dataset, self.study.split, synthetic.dataset)
        every = self._jobs(synthetic)
        known = [self._recorded(job) for job in every]
        if self.recorded.alone:
            lacking = [job.curve for job, cells in zip(every, known, strict=True) if cells is None]
            self.not_run += [curve for curve in lacking if curve not in self.not_run]
            return [cell for cells in known for cell in cells or ()]
        work = [
            _Work(job, own := None if cells else self._stage(job), self._elsewhere(job), self._also(job, own))
            for job, cells in zip(every, known, strict=True)
        ]
        waiting = [one for one in work if one.waiting]
        # Every process must have looked before the first stage is finished, or they would count differently.
        self.study.run.peers.meet("looking for classifiers")
        worker: Worker = self.study.accelerator
        if self.config.one_process_each and self.study.accelerator.num_processes > 1:
            worker = SingleProcess(self.study.accelerator)
            waiting = waiting[self.study.accelerator.process_index :: self.study.accelerator.num_processes]
        for one in waiting:
            self._do(worker, one)
        self.study.run.peers.meet("training classifiers")
        return [
            cell
            for one, cells in zip(work, known, strict=True)
            for cell in (cells if one.stage is None else self._found(one.job, one.stage)) or ()
        ]

    def elsewhere(self, synthetic: Synthetic | Unmade | None = None) -> list[Cell]:
        """Return the predictions on other corpora of what :meth:`cells` has trained; ``test_group`` names
        the set. There are none where nothing is trained."""
        if self.recorded.alone:
            return []
        found = []
        for job in self._jobs(synthetic):
            for one, stage in self._elsewhere(job):
                key = job.key(self.study, self.scenario, one.name)
                found.append(one.described(replace(load_cell(stage.folder / _PREDICTIONS), key=key)))
                trained = any((stage.folder / name).is_file() for name in (PROBE_FILE, LOG_FILE))
                self.asked.setdefault(one.name, {})[stage.folder.name] = trained
        return found

    def holds_some(self) -> bool:
        """Return whether any arm of real images alone is recorded."""
        return any(self._lookup(job) is not None for job in self._jobs(None))

    def holds(self, synthetic: Unmade) -> bool:
        """Return whether everything that these images are needed for is recorded."""
        needy = [job for job in self._jobs(synthetic) if job.synthetic or job.beside]
        return not self.external and all(self._lookup(job) is not None for job in needy)

    def _lookup(self, job: Job) -> list[tuple[Cell, BestEpoch | None]] | None:
        return self.recorded.find(self.study, record_of(self.study, self.config, job))

    def _recorded(self, job: Job) -> list[Cell] | None:
        """Return the recorded cells of a training under the keys that they have here."""
        found = self._lookup(job) if self.recorded.files else None
        if found is None:
            return None
        seeds = (self.study.split.seed, job.train_seed)
        cells = [replace(cell, key=cell.key.moved(self.scenario, *seeds)) for cell, _ in found]
        for cell, (_, best) in zip(cells, found, strict=True):
            row: BestEpochRow | None = {**cell.key.columns, **best} if best else None
            self.best_epochs += [row] if row and row not in self.best_epochs else []
        self.taken |= {cell.key for cell in cells}
        return cells

    def train_each(self, synthetic: Synthetic | Unmade | None = None) -> None:
        """Train what :meth:`cells` will find, under a progress bar of all classifiers."""
        # Several processes share the classifiers of one call out among them.
        alone, first = self.study.accelerator.num_processes == 1, self.study.accelerator.is_main_process
        parts = [
            replace(self.config, arms=[arm], architectures=[architecture], train_seeds=[seed])
            for seed in self.config.train_seeds
            for architecture in self.config.architectures
            for arm in self.config.arms
        ]
        steps = parts if alone else [self.config]
        for part in progress(steps, desc="classifiers", unit="classifier", disable=not first):
            Experiment(
                self.study, part, scenario=self.scenario, recorded=self.recorded, external=self.external
            ).cells(synthetic)

    def _jobs(self, synthetic: Synthetic | Unmade | None) -> list[Job]:
        return jobs_of(self.study, self.config, synthetic, equal_steps=self.equal_steps)

    def _stage(self, job: Job, kind: str = "cell", **further: Any) -> Stage:
        return self.study.stage(
            re.sub(r"[^\w.-]", "-", f"{kind}-{job.arm.name}-{job.architecture}"),
            says=f"classifier {job.curve}, seed {job.train_seed}",
            **inputs_of(self.study, self.config, job),
            **further,
        )

    def _also(self, job: Job, stage: Stage | None) -> Stage | None:
        """Return a stage for the cells of a finished training under this record, if it has another.

        Two generators that make as many images give a reference of real images as many steps, and a filter
        may keep the same images by other settings.
        """
        told_apart = job.beside is not None or job.kept is not None
        record = record_of(self.study, self.config, job) if told_apart else ""
        if not record or stage is None or not stage.done:
            return None
        cells = (load_cell(stage.folder / f"{group}.npz") for group in self.study.tests)
        same = all(cell.record == record for cell in cells)
        return None if same else self._stage(job, COPY, record=record)

    def _elsewhere(self, job: Job) -> list[tuple[ExternalSet, Stage]]:
        """Return the stage of every other corpus that a training is tested on."""
        inputs = inputs_of(self.study, self.config, job) if self.external else {}
        return [
            (
                one,
                self.study.stage(
                    re.sub(r"[^\w.-]", "-", f"external-{one.name}-{job.arm.name}-{job.architecture}"),
                    says=f"{job.curve}, seed {job.train_seed}, asked about {one.name}",
                    **inputs,
                    external=one.fingerprint,
                ),
            )
            for one in self.external
        ]

    def _do(self, worker: Worker, work: _Work) -> None:
        """Train what is not trained, and ask it about other corpora."""
        job, own, record = work.job, work.stage, record_of(self.study, self.config, work.job)
        asked: tuple[int, Predicted] | None = None
        if own is not None and not own.done:
            stage = _begun(own, worker)
            steps, predicted = asked = self._fit(worker, job, stage.folder)
            for group, test in self.study.tests.items():
                key = job.key(self.study, self.scenario, group)
                cell = self._images(test).cell(key, predicted(test), steps, record)
                if worker.is_main_process:
                    save_cell(cell, stage.folder / f"{group}.npz")
            stage.finish()
        if own is not None and work.also is not None and not work.also.done:
            stage = _begun(work.also, worker)
            if worker.is_main_process:
                self._copy(job, own.folder, stage.folder, record)
            stage.finish()
        for one, waiting in work.elsewhere:
            if waiting.done:
                continue
            stage = _begun(waiting, worker)
            asked = asked or self._kept(worker, job, own) or self._fit(worker, job, stage.folder)
            steps, predicted = asked
            key = job.key(self.study, self.scenario, one.name)
            cell = self._images(one.images).cell(key, one.table.collapse(predicted(one.images)), steps)
            if worker.is_main_process:
                save_cell(cell, stage.folder / _PREDICTIONS)
            stage.finish()

    def _copy(self, job: Job, own: Path, folder: Path, record: str) -> None:
        """Write the cells of a training once more, as those of a job and a record, with its log."""
        for group in self.study.tests:
            key = job.key(self.study, self.scenario, group)
            save_cell(
                replace(load_cell(own / f"{group}.npz"), key=key, record=record), folder / f"{group}.npz"
            )
        if (own / LOG_FILE).is_file():
            shutil.copy(own / LOG_FILE, folder)

    def _images(self, tested: Dataset) -> CellImages:
        return CellImages.of(tested, self.study.corpus.attribute.columns)

    def _fit(self, worker: Worker, job: Job, folder: Path) -> tuple[int, Predicted]:
        """Train a classifier in a folder, and return the number of its steps with how it is asked."""
        taught = taught_by(self.study, self.config, job)
        if isinstance(job.config, ProbeConfig):
            return 0, self._fit_probe(worker, job, job.config, taught, folder)
        return self._fine_tune(worker, job, job.config, taught, folder)

    def _kept(self, worker: Worker, job: Job, stage: Stage | None) -> tuple[int, Predicted] | None:
        """Return a trained classifier as :meth:`_fit` does; None where its weights were not kept."""
        if stage is None:
            return None
        if isinstance(job.config, ProbeConfig):
            if not (stage.folder / PROBE_FILE).is_file():
                return None
            known = (self.study, job.architecture, job.config)
            return 0, partial(predict_probe, *known, load_probe(stage.folder))
        folders = [_training_folder(stage.folder, turn) for turn in range(self.config.trainings)]
        if not all((folder / WEIGHTS_FILE).is_file() for folder in folders):
            return None
        models = [load_classifier(folder) for folder in folders]
        return int(_log(stage.folder)[-1]["step"]), partial(_mean_prediction, worker, models)

    def _fit_probe(
        self, worker: Worker, job: Job, config: ProbeConfig, taught: Taught, folder: Path
    ) -> Predicted:
        known = (self.study, job.architecture, config)
        real = 0 if job.arm.rows == "syn" else len(self.study.train)
        probe = train_probe(*known, taught.rows, job.train_seed, real=real, use=taught.use)
        if worker.is_main_process:
            save_probe(probe, folder)
        return partial(predict_probe, *known, probe)

    def _fine_tune(
        self,
        worker: Worker,
        job: Job,
        config: ClassifierConfig,
        taught: Taught,
        folder: Path,
    ) -> tuple[int, Predicted]:
        names = tuple(self.study.corpus.class_names)
        table = ImageTable.from_dataset(taught.rows, self._column)
        watched = self.study.tests if self.config.test_curve else {}
        models = []
        for turn in range(self.config.trainings):
            own = _training_folder(folder, turn)
            seed = job.train_seed if turn == 0 else derive_seed("training", job.train_seed, turn) % 2**31
            model = train_classifier(
                worker, config, table, self._selection(config), names, own, seed,
                {group: ImageTable.from_dataset(test) for group, test in watched.items()}, taught.use,
                job.pass_rows, self.study.corpus.crop,
            )  # fmt: skip
            models.append(model)
        return int(_log(folder)[-1]["step"]), partial(_mean_prediction, worker, models)

    def _found(self, job: Job, stage: Stage) -> list[Cell]:
        log = [] if is_probe(job.architecture) else _log(stage.folder)
        if log and job.train_seed == self.config.train_seeds[0]:
            self.logs[job.curve] = log
        keys = {group: job.key(self.study, self.scenario, group) for group in self.study.tests}
        for group in self.study.tests if self.config.test_curve else ():
            row: BestEpochRow = {**keys[group].columns, **best_epoch(log, group)}
            self.best_epochs += [row] if row not in self.best_epochs else []
        # Another split seed can have sampled the very same rows, and so share the stage of its real arm.
        return [replace(load_cell(stage.folder / f"{group}.npz"), key=key) for group, key in keys.items()]

    def _selection(self, config: ClassifierConfig) -> ImageTable | None:
        """Return what the weights are chosen on: validation, or the test set as in the paper's code."""
        published = config.preset == "published" and self.validation is None
        if published or self.config.selected_on == "test":
            # In the split of Wang et al. that is the minority group, which stands first.
            return ImageTable.from_dataset(next(iter(self.study.tests.values())))
        return self.validation


def _begun(stage: Stage, worker: Worker) -> Stage:
    return replace(stage, accelerator=worker, started=time.perf_counter())


def _training_folder(folder: Path, turn: int) -> Path:
    return folder if turn == 0 else folder / f"training-{turn}"


def _mean_prediction(worker: Worker, models: Sequence[SkinClassifier], test: Dataset) -> np.ndarray:
    found: np.ndarray = np.mean([predict(worker, model, test) for model in models], axis=0)
    return found


def _log(folder: Path) -> list[dict[str, float]]:
    log: list[dict[str, float]] = json.loads((folder / LOG_FILE).read_text(encoding="utf-8"))
    return log
