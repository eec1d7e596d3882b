"""What a study of skin-type transfer found, gathered while it runs, and handed to the report."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from skindiff.classification.cells import Cell
from skindiff.classification.experiment import Experiment
from skindiff.corpora.registry import shows_patients
from skindiff.measures.skin.transfer import TransferPart, transfer_lesions, transfer_tone
from skindiff.report.class_pictures import types_section
from skindiff.report.measurements import MeasuredConfig, Measurements
from skindiff.report.pictures import SampleRow
from skindiff.report.published.fitzpatrick import published_rows
from skindiff.report.study_section import StudySection
from skindiff.report.write import Report, environment, write_report
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic

TITLE = "Skin-type transfer: does it help the minority group?"
SAMPLES_PER_SOURCE = 4


@dataclass
class FitzResults:
    """Everything that the report of a study of skin-type transfer is made from."""

    studies: dict[int, Study] = field(default_factory=dict)
    described_splits: list[dict[str, Any]] = field(default_factory=list)
    synthetic: dict[str, dict[int, Synthetic]] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    measured: Measurements = field(default_factory=Measurements)
    curves: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)

    @property
    def first(self) -> Study:
        """The study of the first split."""
        return next(iter(self.studies.values()))

    def add_split(self, experiment: Experiment) -> None:
        """Add a split and the cells that need no generator."""
        self.studies[experiment.study.seed] = experiment.study
        self.described_splits.append(experiment.described_split())
        self.cells += experiment.cells()

    def add_synthetic(self, experiment: Experiment, synthetic: Synthetic) -> None:
        """Add what was drawn for a split, and the cells that are trained on it."""
        seed, label = experiment.study.seed, synthetic.label
        self.synthetic.setdefault(label, {})[seed] = synthetic
        self.cells += [cell for cell in experiment.cells(synthetic) if cell.key.strategy is not None]
        for row in synthetic.adapter.log if synthetic.adapter else []:
            runs = self.curves.setdefault(str(row["stage"]).replace("_", " "), {})
            runs.setdefault(f"{label}, split {seed}", []).append(row)
        if seed == self.first.seed:
            for name, log in experiment.logs.items():
                self.curves.setdefault(f"classifiers, split {seed}", {})[name] = log

    def parts(self, label: str) -> list[TransferPart]:
        """Return what was drawn in one way with its sources and the target group's real images, by split."""
        studies = self.studies
        return [
            TransferPart(synthetic.dataset, studies[seed].train, studies[seed].tests["dark"])
            for seed, synthetic in self.synthetic[label].items()
        ]

    def types(self) -> StudySection:
        """Return samples of the first split by class and skin type, those that were drawn last."""
        seed, synthetic = next(iter(list(self.synthetic.values())[-1].items()))
        return types_section(self.studies[seed].train, synthetic.dataset)

    def samples(self) -> list[SampleRow]:
        """Return, for each class, one source of the first split and what was drawn from it last."""
        last = list(self.synthetic.values())[-1]
        synthetic = next(iter(last.values())).dataset
        images = self.first.corpus.dataset
        place = {image_id: row for row, image_id in enumerate(images["image_id"])}
        return [
            self._sample(synthetic, rows, images, place)
            for label in range(len(self.first.corpus.class_names))
            if (rows := _first_source(synthetic, label))
        ]

    def _sample(
        self, synthetic: Dataset, rows: list[int], images: Dataset, place: dict[str, int]
    ) -> SampleRow:
        first = synthetic[rows[0]]
        source = images[place[first["source_id"]]] if first["source_id"] in place else None
        drawn = [synthetic[row] for row in rows[:SAMPLES_PER_SOURCE]]
        name = self.first.corpus.class_names[first["label"]]
        return SampleRow(
            title=f"{name}\ntype {source['skin_type']}" if source else name,
            source=np.asarray(source["image"].convert("RGB")) if source else None,
            synthetic=tuple(np.asarray(row["image"].convert("RGB")) for row in drawn),
            captions=tuple(f"as type {row['skin_type']}" for row in drawn),
        )


def _first_source(synthetic: Dataset, label: int) -> list[int]:
    """Return the rows of a class that show its first source with a changed skin type (or its first rows)."""
    rows = [row for row, code in enumerate(synthetic["label"]) if code == label]
    sources, before, after = synthetic["source_id"], synthetic["source_skin_type"], synthetic["skin_type"]
    moved = [row for row in rows if before[row] is not None and before[row] != after[row]]
    if not moved:
        return rows
    return [row for row in moved if sources[row] == sources[moved[0]]]


def report_fitz_lora(results: FitzResults, config: MeasuredConfig) -> Path:
    """Write the report of a study into the folder of its run and return the path of ``report.md``.

    Args:
        results: of all splits.
        config: the recipe's settings, with ``split``, ``split_seeds``, ``strategies`` and ``experiment``.
    """
    run = results.first.run
    if run.accelerator.is_main_process:
        surroundings = environment(run.accelerator.num_processes, run.accelerator.device.type)
        report = _report(results, asdict(config))
        write_report(run.path, report, include_images=config.include_images, surroundings=surroundings)
    run.end()
    return run.path / "report.md"


def _report(results: FitzResults, config: dict[str, Any]) -> Report:
    drawn, corpus = list(results.synthetic), results.first.corpus
    tones = {name: transfer_tone(results.parts(name), show_progress=True) for name in drawn}
    lesions = {name: transfer_lesions(results.parts(name), show_progress=True) for name in drawn}
    seconds = {"seconds_of_last_call": results.first.run.seconds}
    return Report(
        recipe="fitz_lora",
        title=TITLE,
        config=config,
        splits=results.described_splits,
        cells=results.cells,
        replicates=config["experiment"]["bootstrap_replicates"],
        corpus={"name": config["corpus"]["name"], **corpus.counts()},
        tones={name: tone for name, tone in tones.items() if tone is not None},
        lesions={name: lesion for name, lesion in lesions.items() if lesion is not None},
        curves=results.curves,
        samples=results.samples() if drawn else (),
        published=published_rows(config["split"]["scenario"], ablation=len(config["strategies"]) > 1),
        notes=[*corpus.warnings, *_notes(config)],
        study_sections=[*([results.types()] if drawn else []), *results.measured.sections()],
        extra={"synthesis": _synthesis(results), **results.measured.content()},
        trainings=_trainings(results),
        timings=seconds | {"seconds_of_drawing": _drawing_seconds(results)},
    )


def _synthesis(results: FitzResults) -> list[dict[str, Any]]:
    """Return what was drawn for each strategy and split, without its timings."""
    return [
        {
            "strategy": synthetic.strategy,
            "split_seed": seed,
            **({"name": synthetic.name} if synthetic.named else {}),
            "generator": synthetic.generator,
            **{key: value for key, value in synthetic.summary.items() if key != "timings"},
        }
        for by_seed in results.synthetic.values()
        for seed, synthetic in by_seed.items()
    ]


def _trainings(results: FitzResults) -> dict[str, int]:
    """Return the optimiser steps of every training; strategies share the words that they have in common."""
    steps = {}
    for label, by_seed in results.synthetic.items():
        for seed, synthetic in by_seed.items():
            for row in synthetic.adapter.log if synthetic.adapter else []:
                stage = str(row["stage"]).replace("_", " ")
                by = f" by {synthetic.name}" if synthetic.named else ""
                own = by if stage == "textual inversion" else f", {label}"
                steps[f"{stage}{own}, split {seed}"] = int(row["step"])
    return steps


def _drawing_seconds(results: FitzResults) -> dict[str, float]:
    return {
        f"{label}, split {seed}": synthetic.summary["timings"]["seconds"]
        for label, by_seed in results.synthetic.items()
        for seed, synthetic in by_seed.items()
    }


def _notes(config: dict[str, Any]) -> list[str]:
    notes = []
    if not shows_patients(config["corpus"]["name"]):
        notes.append(
            "These are drawings of skin, not photographs: they test the method and its measurement, and say "
            "nothing about patients."
        )
    if len(config["split_seeds"]) < 5 or len(config["experiment"]["train_seeds"]) < 3:
        notes.append(
            f"{len(config['split_seeds'])} split and {len(config['experiment']['train_seeds'])} training "
            "seeds: intervals from so few tend to be too narrow."
        )
    if config["split"]["preset"] == "published":
        notes.append(
            "Preset published splits by image, as the paper did: duplicates may cross into the test set."
        )
    return notes
