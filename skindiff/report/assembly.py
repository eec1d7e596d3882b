"""From what a study has found to its report: one assembly for recipes, commands and notebooks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from accelerate.logging import get_logger
from datasets import Dataset

from skindiff.classification.best_epoch import mean_best_epochs
from skindiff.classification.contrasts import default_primary
from skindiff.classification.rows import MeanBestEpochs
from skindiff.config import settings_file
from skindiff.corpora.attribute import titled
from skindiff.corpora.registry import shows_patients
from skindiff.evaluation.statistics.choosing import tried_rows
from skindiff.evaluation.statistics.rows import TriedRow
from skindiff.measures.skin.transfer import transfer_lesions, transfer_tone, transferred_rows
from skindiff.progress import duration
from skindiff.report.choosing import tried_section
from skindiff.report.class_pictures import class_lines, classes_section, types_section
from skindiff.report.class_sections import (
    beside_rows,
    beside_section,
    detection_content,
    detection_section,
    per_class_f1,
    per_class_section,
)
from skindiff.report.content import ClassF1Row, ExtraContent, SettingsName
from skindiff.report.external import external_content, external_section, group_sections
from skindiff.report.ladder import ladder_section
from skindiff.report.measurements import MeasuredConfig
from skindiff.report.pictures import SampleRow
from skindiff.report.published.fitzpatrick import CITATION, Published
from skindiff.report.results import Results
from skindiff.report.study_section import StudySection, StudySectionOf
from skindiff.report.write import Report, environment, write_report
from skindiff.synthesis.asked import asked_column, value_of_rows

logger = get_logger(__name__)

SAMPLES_PER_SOURCE = 4
FEW_RUNS = 5
_DIFFERENT = (
    "Another corpus, size, generator or protocol is not expected to reach the same level: compare what the "
    "arms add. Notes on the printed numbers are below."
)


@dataclass(frozen=True)
class About:
    """What a report says of its study besides what was found.

    Attributes:
        recipe: name of the study.
        title: first line of the report.
        scenario: what its splits are called; the protocol when None.
        published: the paper's numbers on this study.
        notes: sentences on how to read it, after those that follow from what was found.
    """

    recipe: str
    title: str
    scenario: str | None = None
    published: Sequence[Published] = ()
    notes: Sequence[str] = ()


def write_study(results: Results, config: MeasuredConfig, about: About, *, replicates: int = 2000) -> Path:
    """Write the report of a study into the folder of its run and return the path of ``report.md``.

    Args:
        results: of all splits and seeds.
        config: of the study.
        about: what else is said of it.
        replicates: of the bootstrap.
    """
    run, began = results.run, results.run.seconds
    if run.accelerator.is_main_process:
        logger.info("report: tone, lesions, intervals and pictures")
        report = assemble(results, asdict(config), about, replicates)
        surroundings = environment(run.accelerator.num_processes, run.accelerator.device.type)
        write_report(run.path, report, include_images=config.include_images, surroundings=surroundings)
        logger.info("report: done in %s", duration(run.seconds - began))
    run.end()
    return run.path / "report.md"


def assemble(results: Results, config: dict[str, Any], about: About, replicates: int) -> Report:
    """Return the report of a study; arguments as of :func:`write_study`."""
    transfers = results.transfers()
    tones = {label: transfer_tone(parts, show_progress=True) for label, parts in transfers.items()}
    lesions = {label: transfer_lesions(parts, show_progress=True) for label, parts in transfers.items()}
    by_class, best = per_class_f1(results.cells), mean_best_epochs(results.best_epochs)
    detection = detection_content(results.detections, replicates)
    extra: ExtraContent = {
        "synthesis": results.synthesis,
        "per_class_f1": by_class,
        "best_test_epoch": best,
        **results.measured.content(),
        "detection": detection,
        "ladder": results.ladder,
        "tried": _tried(results, replicates),
    }
    sets = results.external_sets()
    external = external_content(
        sets, results.cells, results.elsewhere, results.primary, replicates, results.measured.elsewhere
    )
    if external is not None:
        extra["external"] = external
    corpus, name = results.corpus, config["corpus"]["name"]
    published = about.published
    own = [*_notes(results, name), *results.measured.notes()]
    return Report(
        recipe=about.recipe,
        title=about.title,
        config=config,
        settings=cast(SettingsName | None, settings_file(results.run.config)),
        splits=results.splits,
        cells=results.cells,
        primary=results.primary,
        replicates=replicates,
        corpus={"name": name, **corpus.counts()},
        attribute=corpus.attribute,
        tones={label: tone for label, tone in tones.items() if tone is not None},
        lesions={label: lesion for label, lesion in lesions.items() if lesion is not None},
        curves={title: runs for title, runs in results.curves.items() if runs},
        samples=_samples(results),
        published=published,
        notes=[*own, *about.notes],
        reading=[
            *results.run.notes,
            *corpus.warnings,
            *(said for one in results.external for said in one.reading),
        ],
        study_sections=[
            # Where nothing was classified, the paper's numbers stand in the table of detection.
            *([_beside(published, by_class, best)] if results.cells and _by_class(published) else []),
            external_section(external),
            *group_sections(external),
            detection_section(detection, published),
            tried_section(extra["tried"]),
            ladder_section(results.ladder),
            per_class_section(by_class),
            *results.measured.sections(),
            *_pictures(results),
        ],
        extra=cast(ExtraContent, {name: value for name, value in extra.items() if value}),
        trainings=results.trainings,
        timings={
            "seconds_of_last_call": results.run.seconds,
            "seconds_of_drawing": results.drawing_seconds,
        },
    )


def _tried(results: Results, replicates: int) -> list[TriedRow]:
    """Return what the uses of synthetic images gain, where the best of them is asked for."""
    primary = results.primary or default_primary([cell.key.arm for cell in results.cells])
    if results.choice is None or primary is None:
        return []
    return tried_rows(results.cells, results.choice, primary, replicates=replicates)


def _by_class(published: Sequence[Published]) -> bool:
    """Whether numbers are those of a study of classes; Wang et al. have a table of their own."""
    return bool(published) and published[0].paper != CITATION


def _beside(
    published: Sequence[Published], by_class: list[ClassF1Row], best: list[MeanBestEpochs]
) -> StudySectionOf:
    """Return what sets the paper's numbers beside those of the report's `summary`."""
    about = f"Paper: {published[0].paper}. {_DIFFERENT}"
    return lambda content: beside_section(beside_rows(published, content["summary"], by_class, best), about)


def _pictures(results: Results) -> list[StudySection]:
    """Return the grids: by class, and by class and skin type, of the last synthetic data set."""
    if not results.drawn:
        return []
    first = {label: sets[0] for label, sets in results.drawn.items()}
    grids = {
        label: class_lines(study.train, synthetic.dataset)
        for label, (study, synthetic) in first.items()
        if not transferred_rows(synthetic.dataset, study.train, study.corpus.attribute.column)
    }
    study, synthetic = list(first.values())[-1]
    return [classes_section(grids), types_section(study.train, synthetic.dataset, study.corpus.attribute)]


def _samples(results: Results) -> list[SampleRow]:
    """Return, for each class, one source of the first split and its images in the last data set."""
    if not results.drawn:
        return []
    study, synthetic = list(results.drawn.values())[-1][0]
    sources = study.corpus.dataset
    column = study.corpus.attribute.column
    pairs = dict(transferred_rows(synthetic.dataset, sources, column))
    labels = synthetic.dataset["label"][:]
    found = []
    for code, name in enumerate(results.corpus.class_names):
        own = [row for row in pairs if labels[row] == code]
        if own:
            same = [row for row in own if pairs[row] == pairs[own[0]]]
            found.append(_sample(name, column, sources[pairs[own[0]]], synthetic.dataset.select(same)))
    return found


def _sample(name: str, column: str, source: dict[str, Any], synthetic: Dataset) -> SampleRow:
    drawn = list(synthetic.select(range(min(len(synthetic), SAMPLES_PER_SOURCE))))
    return SampleRow(
        title=f"{name}\n{titled(column, source[column])}",
        source=np.asarray(source["image"].convert("RGB")),
        synthetic=tuple(np.asarray(row["image"].convert("RGB")) for row in drawn),
        captions=tuple(f"as {titled(column, row[column])}" for row in drawn),
    )


def _notes(results: Results, corpus: str) -> list[str]:
    notes = []
    if not shows_patients(corpus):
        notes.append(
            "Phantom images are computed by a program, not photographs: they test the method and its "
            "measurement, and say nothing about patients."
        )
    for row in results.synthesis:
        diversity = row.get("diversity")
        if diversity and diversity["collapsed"]:
            notes.append(
                f"{row['strategy']} (seed {row['seed']}) has collapsed on "
                f"{', '.join(diversity['collapsed'])}: its images lie less than "
                f"{diversity['collapse_below']:.0%} as far apart as real images."
            )
    scarce = results.corpus.attribute
    for label, sets in results.drawn.items():
        drawn = sets[0][1].dataset
        asked = asked_column(drawn.column_names)
        if asked != scarce.column and any(drawn[asked][:]) and any(drawn["prompt"][:]):
            notes.append(
                f"{label}: its images were asked for by {asked.replace('_', ' ')}, and what is scarce in "
                f"this study is {scarce.name}: they were not made for its minority."
            )
        if value_of_rows(drawn) == "unknown" and any(results.corpus.dataset[scarce.column][:]):
            notes.append(
                f"{label} generates by class alone: the {scarce.name} of its images is not known, and none "
                "was made for the minority."
            )
    for label, absent in results.undrawn().items():
        if absent:
            notes.append(
                f"{label} generates no image of {', '.join(absent)}, so a classifier of the arm `syn` cannot "
                "name it. Keep this in mind when reading that arm's accuracy."
            )
    runs = len({cell.key.seeds for cell in results.cells})
    if 0 < runs < FEW_RUNS:
        notes.append(f"{runs} runs per arm: intervals from so few tend to be too narrow.")
    if runs and len({study.split.seed for study in results.studies}) == 1:
        notes.append("One split: the intervals do not cover how another split of the corpus would come out.")
    return notes
