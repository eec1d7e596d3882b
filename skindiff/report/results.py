"""Everything that the report of a study is made from, gathered while the study runs; the same for all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from datasets import Dataset

from skindiff.classification.cells import Cell
from skindiff.classification.contrasts import ChoiceConfig, PrimaryContrast
from skindiff.classification.experiment import Experiment
from skindiff.classification.external_sets import ExternalSet
from skindiff.classification.rows import BestEpochRow, ExternalCounts, SplitRow
from skindiff.corpora.registry import Corpus
from skindiff.evaluation.detection import Detection, DetectorOfSplit
from skindiff.evaluation.statistics.rows import RungRow
from skindiff.manifest import DONE, STAGES
from skindiff.measures.skin.transfer import TransferPart, transferred_rows
from skindiff.report.content import SynthesisOrigin, SynthesisRow
from skindiff.report.measurements import Measurements
from skindiff.runs import RunFolder
from skindiff.study import Study
from skindiff.synthesis.rows import SynthesisCounts
from skindiff.synthesis.strategies import Synthetic, Unmade
from skindiff.training.from_scratch import LOG_FILE
from skindiff.training.gan import DIVERSITY_FILE
from skindiff.training.rows import Diversity

Log = list[dict[str, float]]


@dataclass
class Results:
    """What a study has found so far.

    Attributes:
        primary: the study's question, as its experiment states it.
        choice: how the best of all arms is chosen, where that is asked.
        splits: how each split fell.
        cells: predictions of every arm and seed.
        best_epochs: where tests were watched, a row for each cell.
        curves: training logs, by training and run.
        drawn: every synthetic data set with its study, by label.
        synthesis: a row for each of them: counts, without times.
        diversity: of generators that were measured, by label and seed.
        measured: fidelity and near copies.
        detections: what detectors say.
        ladder: what lies between a published gain and a fair one.
        external: other corpora that were tested on.
        elsewhere: predictions of every arm and seed on them.
        asked: as that of the experiments.
        trainings: optimiser steps of generators, by name.
        taken: cells that were recorded elsewhere.
        drawing_seconds: by data set.
    """

    studies: list[Study] = field(default_factory=list)
    primary: PrimaryContrast | None = None
    choice: ChoiceConfig | None = None
    splits: list[SplitRow] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    best_epochs: list[BestEpochRow] = field(default_factory=list)
    curves: dict[str, dict[str, Log]] = field(default_factory=dict)
    drawn: dict[str, list[tuple[Study, Synthetic]]] = field(default_factory=dict)
    synthesis: list[SynthesisRow] = field(default_factory=list)
    measured: Measurements = field(default_factory=Measurements)
    detections: list[Detection] = field(default_factory=list)
    ladder: list[RungRow] = field(default_factory=list)
    external: Sequence[ExternalSet] = ()
    elsewhere: list[Cell] = field(default_factory=list)
    asked: dict[str, dict[str, bool]] = field(default_factory=dict)
    trainings: dict[str, int] = field(default_factory=dict)
    drawing_seconds: dict[str, float] = field(default_factory=dict)
    taken: int = 0

    @property
    def run(self) -> RunFolder:
        """The run of the study."""
        return self.studies[0].run

    def external_sets(self) -> list[ExternalSet]:
        """Return the other corpora, with what asking the classifiers about them took."""
        found = []
        for one in self.external:
            stages = self.asked.get(one.name, {})
            done = {
                file.parent.name for file in (self.run.path / STAGES).glob(f"external-{one.name}-*/{DONE}")
            }
            again, before = sum(stages.values()), len(done - set(stages))
            counts: ExternalCounts = {**one.counts, "trained_again": again, "asked_before": before}
            found.append(replace(one, counts=counts))
        return found

    @property
    def corpus(self) -> Corpus:
        """The corpus of the study."""
        return self.studies[0].corpus

    def add_split(self, experiment: Experiment) -> None:
        """Add a split, or a further seed of the same one, and the cells that need no generator."""
        self._add_study(experiment.study)
        self.primary, self.choice = experiment.config.primary, experiment.config.choice
        row = experiment.described_split()
        self.splits += [row] if row not in self.splits else []
        self._add_cells(experiment, None, "classifiers")

    def add_generator(
        self,
        study: Study,
        synthetic: Synthetic,
        *,
        experiment: Experiment | None = None,
        pipeline: Path | None = None,
    ) -> None:
        """Add a generator and its synthetic images.

        Args:
            study: that it was trained and used in.
            synthetic: its images.
            experiment: whose arms are trained on it; its cells of real images were added before.
            pipeline: folder of a generator that was trained from scratch, beside which its log lies.
        """
        self._add_study(study)
        label, seed = synthetic.label, study.seed
        if experiment is not None:
            self._add_cells(experiment, synthetic, f"classifiers, {label}")
        summary = {key: value for key, value in synthetic.summary.items() if key != "timings"}
        row: SynthesisOrigin = {
            "strategy": synthetic.strategy,
            "seed": seed,
            "generator": synthetic.generator,
        }
        if synthetic.named:
            row["name"] = synthetic.name
        if pipeline is not None:
            self._add_training(pipeline, label, seed)
            row["diversity"] = _diversity(pipeline)
        elif synthetic.adapter is not None:
            self._add_adapter(synthetic, seed)
        self.synthesis.append({**row, **cast(SynthesisCounts, summary)})
        if timings := synthetic.summary.get("timings"):
            self.drawing_seconds[f"{label}, seed {seed}"] = timings["seconds"]
        self.drawn.setdefault(label, []).append((study, synthetic))

    def add_recorded(self, images: Unmade, experiment: Experiment) -> None:
        """Add the cells of images that were not made, as they are recorded; those of real images were added
        before."""
        self._add_cells(experiment, images, f"classifiers, {images.label}")

    def add_detection(self, detector: DetectorOfSplit, detection: Detection) -> None:
        """Add what a detector says of a generator."""
        self._add_study(detector.study)
        self.detections.append(detection)
        parts = {name: len(getattr(detector.split, name)) for name in ("train", "validation", "held_out")}
        sizes = {f"detector_{name}": size for name, size in parts.items()}
        row: SplitRow = {
            "seed": detector.study.seed,
            "sizes": {"generator": len(detector.study.split.train), **sizes},
            "dropped": {},
            "groups_crossing": 0,
        }
        self.splits += [row] if row not in self.splits else []

    def transfers(self) -> dict[str, list[TransferPart]]:
        """Return, by label, the transferred images with real images of the target types."""
        found: dict[str, list[TransferPart]] = {}
        for label, sets in self.drawn.items():
            for study, synthetic in sets:
                column = study.corpus.attribute.column
                target = _tested_of(study, synthetic.dataset, column)
                if transferred_rows(synthetic.dataset, study.corpus.dataset, column) and len(target):
                    part = TransferPart(synthetic.dataset, study.corpus.dataset, target, column)
                    found.setdefault(label, []).append(part)
        return found

    def undrawn(self) -> dict[str, list[str]]:
        """Return, by label, the classes without any synthetic image."""
        names = list(enumerate(self.corpus.class_names))
        shown = {label: set(sets[0][1].dataset["label"][:]) for label, sets in self.drawn.items()}
        return {label: [name for code, name in names if code not in own] for label, own in shown.items()}

    def _add_study(self, study: Study) -> None:
        if not any(known is study for known in self.studies):
            self.studies.append(study)

    def _add_cells(self, experiment: Experiment, images: Synthetic | Unmade | None, curve: str) -> None:
        """Add what is tested with these images; the cells of real images alone are added without any."""
        alone = images is None
        cells = [cell for cell in experiment.cells(images) if alone or cell.key.strategy is not None]
        self.cells += cells
        self.external = experiment.external
        found = experiment.elsewhere(images)
        self.elsewhere += [cell for cell in found if alone or cell.key.strategy is not None]
        for name, stages in experiment.asked.items():
            self.asked.setdefault(name, {}).update(stages)
        self.taken += len({cell.key for cell in cells} & experiment.taken)
        self.best_epochs += [row for row in experiment.best_epochs if row not in self.best_epochs]
        for name, log in experiment.logs.items():
            architecture, _, arm = name.partition(" ")
            if arm not in self.curves.get(f"classifiers, {architecture}", {}):
                self.curves.setdefault(f"{curve}, {architecture}", {}).setdefault(arm, log)

    def _add_training(self, pipeline: Path, label: str, seed: int) -> None:
        log: Log = json.loads((pipeline.parent / LOG_FILE).read_text(encoding="utf-8"))
        self.trainings[f"{label}, seed {seed}"] = int(log[-1]["step"])
        for name, rows in player_logs(log).items():
            run = f"seed {seed}" if name == "loss" else f"{name}, seed {seed}"
            self.curves.setdefault(label, {})[run] = rows

    def _add_adapter(self, synthetic: Synthetic, seed: int) -> None:
        assert synthetic.adapter is not None
        for row in synthetic.adapter.log:
            stage = str(row["stage"]).replace("_", " ")
            own = f", {synthetic.label}"
            if stage == "textual inversion":  # strategies share the words that they have in common
                own = f" by {synthetic.name}" if synthetic.named else ""
            self.trainings[f"{stage}{own}, seed {seed}"] = int(row["step"])
            runs = self.curves.setdefault(stage, {})
            runs.setdefault(f"{synthetic.label}, seed {seed}", []).append(row)


def player_logs(log: Sequence[Mapping[str, float]]) -> dict[str, Log]:
    """Return a curve for each loss in a training log: one, or those of the two players of a GAN."""
    if log and "loss" in log[0]:
        return {"loss": [dict(row) for row in log]}
    return {
        player: [{"step": row["step"], "loss": row[f"{player}_loss"]} for row in log]
        for player in ("generator", "discriminator")
    }


def _diversity(pipeline: Path) -> Diversity | None:
    file = pipeline.parent / DIVERSITY_FILE
    found: Diversity | None = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    return found


def _tested_of(study: Study, drawn: Dataset, column: str) -> Dataset:
    """Return the tested images of the skin types (or other values) of the synthetic ones."""
    wanted = set(drawn[column][:]) - {None} if column in drawn.column_names else set()
    kinds = study.held_out[column][:] if wanted else []
    return study.held_out.select([row for row, kind in enumerate(kinds) if kind in wanted])
