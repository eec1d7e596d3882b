"""What a study of class-conditional generators found, gathered while it runs, and its report.

The report is that of :mod:`skindiff.report.write` with the sections of
:mod:`skindiff.report.class_sections`: sample grids by class, F1 of every class, fidelity,
detection, and the published numbers beside ours.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from skindiff.classification.best_epoch import mean_best_epochs
from skindiff.classification.cells import Cell
from skindiff.classification.experiment import Experiment
from skindiff.corpora.registry import Corpus, shows_patients
from skindiff.evaluation.detection import Detection, DetectorOfSplit
from skindiff.report.class_pictures import ClassLine, class_lines, classes_section
from skindiff.report.class_sections import (
    beside_rows,
    beside_section,
    detection_content,
    detection_section,
    per_class_f1,
    per_class_section,
)
from skindiff.report.measurements import MeasuredConfig, Measurements
from skindiff.report.published.fitzpatrick import Published
from skindiff.report.study_section import StudySection, StudySectionOf
from skindiff.report.write import Report, environment, write_report
from skindiff.study import Study
from skindiff.synthesis.class_synthesis import ClassSynthesisConfig
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.from_scratch import LOG_FILE, FromScratchConfig, validate_families
from skindiff.training.gan import DIVERSITY_FILE

FEW_RUNS = 5


@dataclass
class ClassStudyConfig(MeasuredConfig):
    """Settings of every study of class-conditional generators."""

    families: list[str] = field(default_factory=list)
    """Families of generators to compare."""
    generator: FromScratchConfig = field(default_factory=FromScratchConfig)
    """The settings of each family; its own family is overruled by families."""
    synthesis: ClassSynthesisConfig = field(default_factory=ClassSynthesisConfig)
    """How many images of each class are drawn, and how; they are saved at the size of the corpus."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        super().validate(path)
        validate_families(self.families, self.generator, self.corpus.channels, path, f"{path}generator.")

    @property
    def drawing(self) -> ClassSynthesisConfig:
        """How images are drawn and saved."""
        return replace(self.synthesis, output_size=self.corpus.image_size)


@dataclass
class ClassResults:
    """Everything that the report of a study of class-conditional generators is made from."""

    replicates: int
    splits: list[dict[str, Any]] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    curves: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    synthesis: list[dict[str, Any]] = field(default_factory=list)
    grids: dict[str, list[ClassLine]] = field(default_factory=dict)
    undrawn: dict[str, list[str]] = field(default_factory=dict)
    best_epochs: list[dict[str, Any]] = field(default_factory=list)
    measured: Measurements = field(default_factory=Measurements)
    detections: list[Detection] = field(default_factory=list)
    trainings: dict[str, int] = field(default_factory=dict)
    drawing_seconds: dict[str, float] = field(default_factory=dict)

    def add_split(self, experiment: Experiment) -> None:
        """Add a split, or a further seed of the same one, and the cells that need no generator."""
        row = experiment.described_split()
        self.splits += [row] if row not in self.splits else []
        self.cells += experiment.cells()
        self.best_epochs += experiment.best_epochs
        self.curves.setdefault("classifiers", dict(experiment.logs))

    def add_detector(self, detector: DetectorOfSplit, detection: Detection) -> None:
        """Add what a detector says of a generator."""
        self.detections.append(detection)
        seed, generator_rows = detector.study.seed, len(detector.study.split.train)
        parts = {name: len(getattr(detector.split, name)) for name in ("train", "validation", "held_out")}
        sizes = {"generator": generator_rows, **{f"detector_{name}": size for name, size in parts.items()}}
        row = {"seed": seed, "sizes": sizes, "dropped": {}, "groups_crossing": 0}
        self.splits += [row] if row not in self.splits else []

    def add_generator(self, experiment: Experiment, pipeline: Path, synthetic: Synthetic) -> None:
        """Add a generator, and the cells that are trained on what it drew.

        Args:
            experiment: of the split; its cells of real images were added before.
            pipeline: folder of the trained pipeline, beside which its log lies.
            synthetic: what it drew.
        """
        before, family = len(experiment.best_epochs), synthetic.strategy
        cells = experiment.cells(synthetic)
        self.cells += [cell for cell in cells if cell.key.strategy is not None]
        self.best_epochs += experiment.best_epochs[before:]
        if family not in self.grids:
            drawn = {name: log for name, log in experiment.logs.items() if "syn" in name}
            self.curves[f"classifiers, {family}"] = drawn
        self.add_drawn(experiment.study, pipeline, synthetic)

    def add_drawn(self, study: Study, pipeline: Path, synthetic: Synthetic) -> None:
        """Add a generator of a study, and what it drew."""
        train, family, seed = study.train, synthetic.strategy, study.seed
        log = json.loads((pipeline.parent / LOG_FILE).read_text(encoding="utf-8"))
        rest = {key: value for key, value in synthetic.summary.items() if key != "timings"}
        self.trainings[f"{family}, seed {seed}"] = int(log[-1]["step"])
        self.drawing_seconds[f"{family}, seed {seed}"] = synthetic.summary["timings"]["seconds"]
        diversity = pipeline.parent / DIVERSITY_FILE
        found = json.loads(diversity.read_text(encoding="utf-8")) if diversity.is_file() else None
        self.synthesis.append(
            {"family": family, "seed": seed, "generator": synthetic.generator, "diversity": found, **rest}
        )
        for name, rows in player_logs(log).items():
            run = f"seed {seed}" if name == "loss" else f"{name}, seed {seed}"
            self.curves.setdefault(family, {})[run] = rows
        if family not in self.grids:
            self.grids[family] = class_lines(train, synthetic.dataset)
            drawn = set(synthetic.dataset["label"])
            names = study.corpus.class_names
            self.undrawn[family] = [name for code, name in enumerate(names) if code not in drawn]


def player_logs(log: Sequence[Mapping[str, float]]) -> dict[str, list[dict[str, float]]]:
    """Return a curve for each loss in a training log: one, or those of the two players of a GAN."""
    if log and "loss" in log[0]:
        return {"loss": [dict(row) for row in log]}
    return {
        player: [{"step": row["step"], "loss": row[f"{player}_loss"]} for row in log]
        for player in ("generator", "discriminator")
    }


def report_classes(
    results: ClassResults,
    study: Study,
    config: ClassStudyConfig,
    recipe: str,
    title: str,
    *,
    published: Sequence[Published] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write the report of a study into the folder of its run and return the path of ``report.md``.

    Args:
        results: of all seeds.
        study: of any of them.
        config: the recipe's settings.
        recipe: its name.
        title: first line of the report.
        published: the paper's numbers on this study.
        notes: sentences on the paper's numbers.
    """
    accelerator, folder = study.accelerator, study.run.path
    if accelerator.is_main_process:
        own = [*_own_notes(results, study.corpus, config.corpus.name), *notes]
        about = {"recipe": recipe, "title": title, "config": asdict(config), "notes": own}
        report = _report(results, study, published, about)
        surroundings = environment(accelerator.num_processes, accelerator.device.type)
        write_report(folder, report, include_images=config.include_images, surroundings=surroundings)
    study.run.end()
    return folder / "report.md"


def _report(
    results: ClassResults, study: Study, published: Sequence[Published], about: dict[str, Any]
) -> Report:
    by_class, best = per_class_f1(results.cells), mean_best_epochs(results.best_epochs)
    detection = detection_content(results.detections, results.replicates)
    extra = {
        "synthesis": results.synthesis,
        "per_class_f1": by_class,
        "best_test_epoch": best,
        **results.measured.content(),
        "detection": detection,
        "paper": [row._asdict() for row in published],
    }
    study_sections: list[StudySection | StudySectionOf] = [
        # Where nothing was classified, the paper's numbers stand in the table of detection.
        *([_beside(published, by_class, best)] if results.cells and published else []),
        detection_section(detection, published),
        per_class_section(by_class),
        *results.measured.sections(),
        classes_section(results.grids),
    ]
    return Report(
        **about,
        splits=results.splits,
        cells=results.cells,
        replicates=results.replicates,
        corpus={"name": about["config"]["corpus"]["name"], **study.corpus.counts()},
        curves={title: runs for title, runs in results.curves.items() if runs},
        study_sections=study_sections,
        extra={name: value for name, value in extra.items() if value},
        trainings=results.trainings,
        timings={"seconds_of_last_call": study.run.seconds, "seconds_of_drawing": results.drawing_seconds},
    )


_DIFFERENT = (
    "Another corpus, size, generator or protocol is not expected to reach the same level: compare what the "
    "arms add. What to know about the printed numbers stands below."
)


def _beside(
    published: Sequence[Published], by_class: Sequence[Mapping[str, Any]], best: Sequence[Mapping[str, Any]]
) -> StudySectionOf:
    """Return what sets the paper's numbers beside those of the report's `summary`."""
    about = f"Paper: {published[0].paper}. {_DIFFERENT}"
    return lambda content: beside_section(beside_rows(published, content["summary"], by_class, best), about)


def _own_notes(results: ClassResults, corpus: Corpus, corpus_name: str) -> list[str]:
    notes = list(corpus.warnings)
    if not shows_patients(corpus_name):
        notes.append(
            "These are drawings of skin, not photographs: they test the method and its measurement, and say "
            "nothing about patients."
        )
    for row in results.synthesis:
        if row["diversity"] and row["diversity"]["collapsed"]:
            notes.append(
                f"{row['family']} (seed {row['seed']}) has collapsed on "
                f"{', '.join(row['diversity']['collapsed'])}: its draws lie less than "
                f"{row['diversity']['collapse_below']:.0%} as far apart as real images."
            )
    for family, absent in results.undrawn.items():
        if absent:
            notes.append(
                f"{family} draws no image of {', '.join(absent)}, so a classifier of the arm `syn` cannot "
                "name it: read that arm's accuracy with this in mind."
            )
    runs = len({cell.key.seeds for cell in results.cells})
    if 0 < runs < FEW_RUNS:
        notes.append(f"{runs} runs per arm: intervals from so few tend to be too narrow.")
    return notes
