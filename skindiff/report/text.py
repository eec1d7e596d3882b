"""``report.md`` from the content of ``report.json``: its sections in order, those of the study among them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from skindiff.evaluation.statistics.rows import agree
from skindiff.evaluation.statistics.verdicts import CANNOT_TELL, HELPS, HURTS, points
from skindiff.report.content import ReportContent
from skindiff.report.cost import cost_table
from skindiff.report.fairness import TITLE as FAIRNESS
from skindiff.report.fairness import fairness_section
from skindiff.report.judgement import comparison_text, verdict_text
from skindiff.report.published.fitzpatrick import CITATION
from skindiff.report.tables import (
    beside_the_paper,
    lesion_table,
    score_tables,
    split_table,
    tone_table,
)

Pictured = Sequence[tuple[str, str]]
Pictures = Mapping[str, Pictured]
"""(path from the report, caption) of what was drawn, by section."""

FOUND, FAIR, SCORES = "What was found", "Is the comparison fair?", "Scores"
CONFUSIONS = "Confusions"
TONE, LESIONS, SAMPLES, PAPER = "Skin tone", "Lesions", "Samples", "Beside the paper"
TRAINING, SPLITS, COST, READING = "Training", "Splits", "Cost", "How to read this"
TITLES = (
    *(FOUND, FAIR, SCORES, FAIRNESS, CONFUSIONS, TONE, LESIONS),
    *(SAMPLES, PAPER, TRAINING, SPLITS, COST, READING),
)
"""Sections of every report, in order; those with nothing to say are left out."""

_HOW = (
    "Means are over split and training seeds. Intervals (95%) add two sources of chance: which patients were "
    "tested, by a bootstrap over groups of test images (patients, lesions or duplicate clusters), and how "
    "the seeds fell, by the spread between them. A difference is taken image by image and seed by seed. In "
    "the tables each interval stands for itself; the verdicts follow from intervals that are corrected for "
    "the number of arms (Holm), in the picture the thin ends of the lines. Macro scores run over the classes "
    "that have test images."
)
CLOSING = "Every number, the settings, versions and timings: `report.json`. To run it again: `config.yaml`."


@dataclass(frozen=True)
class Section:
    """A section as it is written: Markdown below a title; ``after`` places a section (see `StudySection`)."""

    title: str
    body: str
    after: str = ""


def report_sections(
    content: ReportContent,
    pictures: Pictures,
    study_sections: Sequence[Section] = (),
    left_out: Sequence[str] = (),
) -> list[Section]:
    """Return the sections that have something to say, in order.

    Args:
        content: of ``report.json``.
        pictures: as drawn.
        study_sections: with ``after`` one of :data:`TITLES`.
        left_out: captions of the pictures that are not included, as they show images of the corpus.
    """
    found = []
    for title in TITLES:
        parts = _PARTS[title](content) if title in _PARTS else []
        if title == SAMPLES and left_out:
            parts = [_left_out(content, left_out)]
        found.append(Section(title, paragraphs(*parts, images(pictures.get(title, ())))))
        found += [section for section in study_sections if section.after == title]
    return [section for section in found if section.body]


def render_markdown(content: ReportContent, sections: Sequence[Section], first: Pictured = ()) -> str:
    """Return the text of ``report.md``, which opens with the answer.

    Args:
        content: of ``report.json``.
        sections: of :func:`report_sections`.
        first: the picture that stands with the answer, as (path from the report, caption).
    """
    bodies = [f"## {section.title}\n\n{section.body}" for section in sections]
    top = (f"# {content['title']}", answer(content), images(first), lead(content))
    return paragraphs(*top, *bodies, CLOSING) + "\n"


def paragraphs(*parts: str) -> str:
    """Join what is not empty by blank lines."""
    return "\n\n".join(part for part in parts if part)


def images(pictures: Sequence[tuple[str, str]]) -> str:
    """Return the Markdown that shows pictures, given as (path from the report, caption)."""
    return paragraphs(*(f"![{caption}]({path})" for path, caption in pictures))


def answer(content: ReportContent) -> str:
    """Return the answer to the study's own question in a sentence: does the arm of both kinds help?

    Empty where no arm with synthetic images stands against `real`.
    """
    against = [one for one in content["verdicts"] if one["reference"] == "real"]
    asked = [one for one in against if one["arm"].startswith("real+syn")]
    if not asked:
        return ""
    first = next((one for one in asked if one["arm"] == "real+syn"), asked[0])
    row = next(row for row in content["summary"] if agree(row, first, _ASKED))
    low, high = row["delta_ci_low_corrected"], row["delta_ci_high_corrected"]
    by = f" ({first['strategy']})" if first["strategy"] else ""
    word = {HELPS: "Yes", HURTS: "No, they hurt", CANNOT_TELL: "It can't be told"}[first["verdict"]]
    score = f"{points(row['delta'])} points of {first['metric'].replace('_', ' ')}"
    return (
        f"Do synthetic images help? **{word}**: `{first['arm']}`{by} against `real` has {score} "
        f"[{points(low)}, {points(high)}] on {row['images']} test images."
    )


_ASKED = (
    *("scenario", "test_group", "generator", "strategy", "arm", "ratio", "architecture", "preset", "metric"),
)
"""What a verdict and the row it follows from have in common."""


def lead(content: ReportContent) -> str:
    """Return what the corpus is, in a sentence; empty where it was not counted."""
    counts = ", ".join(
        f"{value} {name}" for name, value in content["corpus"].items() if isinstance(value, int)
    )
    return f"Corpus: {counts}." if counts else ""


def _left_out(content: ReportContent, captions: Sequence[str]) -> str:
    corpus = f"the corpus {content['corpus']['name']}" if "name" in content["corpus"] else "the corpus"
    about = (
        f"Left out, since they show images of {corpus}, which can be of patients, or images generated from "
        "them:"
    )
    how = (
        "To have them in the report, run the same command again with `--resume --include_images true`. "
        "The folder then holds pictures of the corpus: mind where it goes."
    )
    return paragraphs(about, "\n".join(f"- {caption}" for caption in captions), how)


def _splits(content: ReportContent) -> list[str]:
    about = ""
    if content["corpus"].get("quarantined") or content["corpus"].get("missing"):
        about = "What is missing or could not be used is listed in `missing.txt` and `quarantined.csv`."
    return [split_table(content["splits"], patients_known="ungrouped" not in content["corpus"]), about]


_PARTS: dict[str, Callable[[ReportContent], list[str]]] = {
    FOUND: lambda content: verdict_text(content),
    FAIR: lambda content: comparison_text(content),
    SCORES: lambda content: score_tables(content["summary"]),
    FAIRNESS: lambda content: [fairness_section(content["fairness"]).text],
    TONE: lambda content: tone_table(content["skin_tone"]),
    LESIONS: lambda content: lesion_table(content["lesion"]),
    PAPER: lambda content: beside_the_paper(
        content["summary"], [row for row in content["published"] if row["paper"] == CITATION]
    ),
    SPLITS: _splits,
    COST: lambda content: cost_table(content["cost"]),
    READING: lambda content: ["\n".join(f"- {note}" for note in [_HOW, *content["notes"]])],
}
