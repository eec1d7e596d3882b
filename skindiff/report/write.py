"""The report of a study: ``report.json`` for machines; ``report.md``, pictures, ``report.html`` for people.

All are pure functions of a :class:`Report`, down to the byte, so that a resumed run can be compared with an
uninterrupted one. What differs between the two by nature (how long it took, on what) stands in the keys
``timings`` and ``environment`` of ``report.json``, at the end of ``report.html``, and nowhere else.
"""

import json
import math
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any, TypedDict, cast

import numpy as np
import torch

from skindiff.classification.cells import Cell
from skindiff.classification.contrasts import PrimaryContrast, default_primary
from skindiff.classification.leaks import comparison_flags
from skindiff.classification.rows import SplitRow
from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.registry import shows_patients
from skindiff.evaluation.fairness.chapters import fairness_chapters
from skindiff.evaluation.fairness.rows import FairnessContent
from skindiff.evaluation.statistics.paired_bootstrap import result_row
from skindiff.evaluation.statistics.summary import summarise
from skindiff.evaluation.statistics.verdicts import verdicts
from skindiff.files import replacing_folder, write_atomically
from skindiff.manifest import record
from skindiff.measures.copying.crossing import copied_flags, crossing_flags
from skindiff.measures.skin.lesion_structure import LesionPreservation
from skindiff.measures.skin.tone import ToneShift
from skindiff.report.confusions import confusion_groups, largest_confusions
from skindiff.report.content import (
    CorpusContent,
    ExtraContent,
    PrimaryContent,
    PublishedRow,
    ReportContent,
    SettingsName,
    Surroundings,
    Timings,
    ToneContent,
)
from skindiff.report.cost import study_cost
from skindiff.report.drawing import DARK
from skindiff.report.group_pictures import chance_recalls, draw_bars, group_bars
from skindiff.report.page import render_page
from skindiff.report.pictures import (
    Log,
    SampleRow,
    draw_confusions,
    draw_curves,
    draw_forest,
    draw_samples,
    draw_tone,
    study_colours,
)
from skindiff.report.published.fitzpatrick import Published
from skindiff.report.read import SCHEMA
from skindiff.report.study_section import Picture, StudySection, StudySectionOf
from skindiff.report.text import (
    CONFUSIONS,
    FAIRNESS,
    SAMPLES,
    SCORES,
    TITLES,
    TONE,
    TRAINING,
    Section,
    images,
    opening,
    paragraphs,
    render_markdown,
    report_sections,
)

PICTURES = "pictures"
_FOREST_METRICS = ("accuracy", "balanced_accuracy", "auroc")
_PLACE_SETTINGS = ("output_dir", "resume", "overwrite")
"""Settings that say where and how a run was called, not what it computes; left out of the report."""
_PACKAGES = (
    *("skindiff", "torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "datasets"),
    *("timm", "evaluate", "scikit-learn", "numpy"),
)


@dataclass
class Report:
    """Everything that a report is made from.

    Attributes:
        recipe: name of the recipe.
        title: first line of ``report.md``.
        config: the run's settings as nested plain values.
        settings: which of the recipe's own settings files they come from; None where that is not known.
        splits: one dict per split with at least ``seed``, ``sizes``, ``dropped`` and ``groups_crossing``.
        cells: predictions of every arm and seed.
        primary: the study's question; the verdicts are about its score.
        replicates: of the bootstrap.
        attribute: what is scarce in the corpus, by whose groups fairness is told.
        corpus: counts of what was read, missing, quarantined.
        tones: shift in skin tone by the name of the transfer; the first is the study's own.
        lesions: preservation of lesions by the name of the transfer.
        curves: training logs, by training and run.
        samples: lines of the sample grid.
        published: the paper's numbers to set beside ours.
        notes: sentences on how to read this study, in the order given.
        reading: sentences on settings and on what was read of the corpus; they may name files, and are not
            pushed.
        study_sections: sections that only this study has, or what makes one from ``report.json``;
            those with neither text nor pictures are left out.
        extra: further keys of ``report.json`` that a recipe adds (plain values).
        trainings: optimiser steps of generators and detectors, by name.
        timings: seconds by stage, or by stage and part; kept out of ``report.md``.
    """

    recipe: str
    title: str
    config: Mapping[str, Any]
    splits: Sequence[SplitRow]
    cells: Sequence[Cell]
    settings: SettingsName | None = None
    primary: PrimaryContrast | None = None
    replicates: int = 2000
    attribute: Attribute = SKIN_TYPE
    corpus: CorpusContent = field(default_factory=CorpusContent)
    tones: Mapping[str, ToneShift] = field(default_factory=dict)
    lesions: Mapping[str, LesionPreservation] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Log]] = field(default_factory=dict)
    samples: Sequence[SampleRow] = ()
    published: Sequence[Published] = ()
    notes: Sequence[str] = ()
    reading: Sequence[str] = ()
    study_sections: Sequence[StudySection | StudySectionOf] = ()
    extra: ExtraContent = field(default_factory=ExtraContent)
    trainings: Mapping[str, int] = field(default_factory=dict)
    timings: Timings = field(default_factory=dict)


def environment(processes: int = 1, device: str = "cpu") -> Surroundings:
    """Return versions and the kind of machine, without host, user or folder names.

    Args:
        processes: that worked together.
        device: type of accelerator, such as ``"cpu"`` or ``"cuda"``.
    """
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "processes": processes,
        "threads_per_process": torch.get_num_threads(),
        "versions": versions,
    }


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: six digits, null for what is not finite, short paths."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return round(value, 6) + 0.0 if math.isfinite(value) else None
    text = str(value)
    return PurePath(text).name if isinstance(value, PurePath) or PurePath(text).is_absolute() else text


def report_content(report: Report, surroundings: Surroundings) -> ReportContent:
    """Return the content of ``report.json``.

    Paths in the config are cut to their last part (reports are shared, home folders are not), and the
    settings that name the run's own folder are left out.

    Args:
        report: what was found.
        surroundings: from :func:`environment`.
    """
    primary = report.primary or default_primary([cell.key.arm for cell in report.cells])
    summary = summarise(report.cells, primary=primary, replicates=report.replicates)
    results = [result_row(cell) for cell in report.cells]
    fairness, chapters = fairness_chapters(report.cells, report.attribute, replicates=report.replicates)
    content: ReportContent = {
        "schema": SCHEMA,
        "recipe": report.recipe,
        "title": report.title,
        **({"settings": report.settings} if report.settings else {}),
        "config": {key: value for key, value in report.config.items() if key not in _PLACE_SETTINGS},
        "corpus": report.corpus,
        "splits": report.splits,
        "flags": [
            *comparison_flags(report.cells, report.splits, report.corpus),
            *crossing_flags(report.extra.get("copying", ())),
            *copied_flags(report.extra["external"].get("copies", ()) if "external" in report.extra else ()),
        ],
        "primary": cast(PrimaryContent, asdict(primary)) if primary else None,
        "verdicts": verdicts(summary, (primary or PrimaryContrast()).metric),
        "summary": summary,
        "fairness": fairness,
        **_of_attribute(report.attribute, chapters),
        "skin_tone": _tone_content(report.tones),
        "lesion": {name: one.summary() for name, one in report.lesions.items()} or None,
        "results": results,
        "confusions": largest_confusions(confusion_groups(report.cells, summary)),
        "published": [cast(PublishedRow, row._asdict()) for row in report.published],
        "notes": list(report.notes),
        "reading": list(report.reading),
        **report.extra,
        "cost": study_cost(results, report.extra.get("synthesis", ()), report.trainings),
        "environment": surroundings,
        "timings": report.timings,
    }
    cleaned: ReportContent = plain(content)
    return cleaned


class _OfAttribute(TypedDict, total=False):
    attribute: dict[str, Any]
    fairness_by: list[FairnessContent]


def _of_attribute(attribute: Attribute, chapters: list[FairnessContent]) -> _OfAttribute:
    """Return the keys that a study of skin types alone does not have."""
    found: _OfAttribute = {}
    if kept := attribute.record():
        found["attribute"] = kept["attribute"]
    if chapters:
        found["fairness_by"] = chapters
    return found


def _tone_content(tones: Mapping[str, ToneShift]) -> ToneContent | None:
    """Return the study's own transfer first, flat, and every transfer by name."""
    if not tones:
        return None
    by_transfer = {name: tone.summary() for name, tone in tones.items()}
    first = next(iter(by_transfer))
    return {"transfer": first, **by_transfer[first], "by_transfer": by_transfer}


def includes_images(include_images: bool | None, corpus: str | None) -> bool:
    """Return whether a report shows images of the corpus: as asked, or only if it shows no patients."""
    return not shows_patients(corpus) if include_images is None else include_images


def write_report(
    folder: Path,
    report: Report,
    *,
    include_images: bool | None = None,
    surroundings: Surroundings | None = None,
) -> Path:
    """Write the report and ``pictures/`` into ``folder`` and return the path of ``report.md``.

    The page shows pictures as the reader's theme asks; those for dark pages are in ``pictures/dark/``.

    Pictures of an earlier report are replaced; each text file appears in one piece, ``report.md`` last.

    Args:
        folder: of the run; must exist.
        report: what was found.
        include_images: show images of the corpus and those made from them. With photographs of patients
            the report must not be shared then, so None shows them only if no patient is on them
            (phantom).
        surroundings: from :func:`environment`; that of this process if left out.
    """
    content = report_content(report, environment() if surroundings is None else surroundings)
    shown = includes_images(include_images, content["corpus"].get("name"))
    made = [one if isinstance(one, StudySection) else one(content) for one in report.study_sections]
    with replacing_folder(folder / PICTURES) as pictures:
        (pictures / DARK).mkdir()
        drawn = _draw(report, content, pictures, shown)
        study_sections = [_draw_section(section, pictures, shown) for section in made]
    first = drawn.pop(SAMPLES, [])[:1]  # it stands with the answer
    left_out = [] if shown else _photographs(report, made)
    sections = report_sections(content, drawn, study_sections, left_out)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / "report.json", text + "\n")
    write_atomically(folder / "report.html", render_page(content, sections, folder, opening(content, first)))
    write_atomically(folder / "report.md", render_markdown(content, sections, first))
    record(folder, "report.json", "report.html", "report.md", PICTURES)
    return folder / "report.md"


_SAMPLES = "Sources and their synthetic images."


def _photographs(report: Report, study_sections: Sequence[StudySection]) -> list[str]:
    """Return the captions of all pictures that show images."""
    own = [_SAMPLES] if report.samples else []
    return own + [caption for section in study_sections for _, caption, _ in section.photographs]


def _draw_section(section: StudySection, folder: Path, shown: bool) -> Section:
    """Plot a section's pictures and return its text with them, empty where there is neither."""
    wanted: tuple[Picture, ...] = section.pictures + (section.photographs if shown else ())
    for name, _, draw in wanted:
        draw(folder / name)
    if section.after not in TITLES:
        raise ValueError(f"section {section.title!r} is to follow {section.after!r}, none of {TITLES}")
    links = images([(f"{PICTURES}/{name}", caption) for name, caption, _ in wanted])
    return Section(section.title, paragraphs(section.text, links), section.after)


def _draw(
    report: Report, content: ReportContent, folder: Path, shown: bool
) -> dict[str, list[tuple[str, str]]]:
    """Plot all pictures; return (path from the report, caption) by section."""
    drawn: dict[str, list[tuple[str, str]]] = {}

    def add(section: str, name: str, caption: str) -> Path:
        drawn.setdefault(section, []).append((f"{PICTURES}/{name}", caption))
        return folder / name

    summary = content["summary"]
    colours = study_colours(summary)
    if any(row["role"] is not None for row in summary):
        path = add(
            SCORES,
            "differences.png",
            "Paired differences with the intervals that decide.",
        )
        draw_forest(summary, _FOREST_METRICS, path, colours)
    for name, groups in confusion_groups(report.cells, summary).items():
        file = re.sub(
            r"[^\w.-]", "-", f"confusions-{name}.png"
        )  # a probe has a colon, one of the Hub a slash
        path = add(CONFUSIONS, file, f"Confusion matrices, {name}.")
        draw_confusions(groups, path)
    bars = group_bars(content["fairness"])
    if bars:
        picture = add(FAIRNESS, "fairness.png", "Recall by group, with 95% intervals.")
        draw_bars(bars, picture, chances=chance_recalls(content["fairness"]), colours=colours)
    if report.tones:
        draw_tone(report.tones, add(TONE, "skin-tone.png", "Skin tone before and after the transfer."))
    if report.samples and shown:
        draw_samples(report.samples, add(SAMPLES, "samples.png", _SAMPLES))
    if report.curves:
        draw_curves(report.curves, add(TRAINING, "training.png", "Training curves."), colours)
    return drawn
