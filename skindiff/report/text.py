"""``report.md`` from the content of ``report.json``: its sections in order, those of the study among them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from skindiff.classification.arm_names import parse_arm
from skindiff.classification.cells import REAL
from skindiff.classification.rows import METRICS
from skindiff.corpora.registry import shows_patients
from skindiff.escaping import code, markdown, prose
from skindiff.evaluation.statistics.rows import SERIES, Verdict, agree
from skindiff.evaluation.statistics.verdicts import CANNOT_TELL, HELPS, HURTS
from skindiff.report.badges import badges
from skindiff.report.content import ReportContent
from skindiff.report.cost import cost_table
from skindiff.report.fairness import TITLE as FAIRNESS
from skindiff.report.fairness import fairness_section
from skindiff.report.findings import finding
from skindiff.report.judgement import comparison_text, judged, tested, verdict_text
from skindiff.report.published.fitzpatrick import CITATION
from skindiff.report.tables import (
    beside_the_paper,
    difference,
    lesion_table,
    score_tables,
    split_table,
    tone_table,
)
from skindiff.report.words import contrast_words, strategy_words

Pictured = Sequence[tuple[str, str]]
Pictures = Mapping[str, Pictured]
"""(path from the report, caption) of each picture, by section."""

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
    "Means are over split and training seeds. Intervals (95%) cover two sources of chance: which images are "
    "tested, by a bootstrap over their groups (patients, lesions or duplicate clusters), and which seeds are "
    "used, by the spread between them. Differences are paired by image and by seed, and shown with the "
    "interval that their verdict follows from: that of the primary contrast stands for itself, those of all "
    "others are corrected together (Holm). Chance is what guessing reaches. Macro scores are means over the "
    "classes that have test images. Sensitivity is read off the ROC curve of each class against the rest, "
    "where specificity is 90%; the calibration error is how far confidence lies from accuracy (less is "
    "better; it is never 0 for few images, and is described, not judged)."
)
_TERMS = (
    "An arm is a training set: `real` images, synthetic images alone (`syn`), both (`real+syn`), controls "
    "with as many images: repeats (`real+duplicates`), or copies recoloured without a generator "
    "(`real+colour`). `probe:` is a linear classifier on the features of a frozen network; other names are "
    "networks that are fine-tuned. Where every image is repeated as often, a probe stays what it was. "
    "*Can't tell* is a verdict: the interval that decides has both more and less in it. *No verdict* is "
    "none: the comparison was not judged, for the reason that stands beside it."
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
        pictures: by section.
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
    return [
        replace(section, body=paragraphs(_opening(section.title, content), section.body))
        for section in found
        if section.body
    ]


def _opening(title: str, content: ReportContent) -> str:
    return paragraphs(*(prose(part) for part in finding(title, content).split("\n\n")))


def render_markdown(content: ReportContent, sections: Sequence[Section], first: Pictured = ()) -> str:
    """Return the text of ``report.md``, which opens with the answer.

    Args:
        content: of ``report.json``.
        sections: of :func:`report_sections`.
        first: the picture that stands with the answer, as (path from the report, caption).
    """
    bodies = [f"## {section.title}\n\n{section.body}" for section in sections]
    top = (f"# {markdown(content['title'])}", told(content), opening(content, first), lead(content))
    return paragraphs(*top, *bodies, CLOSING) + "\n"


def told(content: ReportContent) -> str:
    """Return the badges of a report in a line."""
    return " · ".join(f"**{prose(one.text)}**" for one in badges(content))


def opening(content: ReportContent, first: Pictured = ()) -> str:
    """Return what a report opens with, the answer and the picture that stands with it."""
    return paragraphs(answer(content), images(first))


def paragraphs(*parts: str) -> str:
    """Join what is not empty by blank lines."""
    return "\n\n".join(part for part in parts if part)


def images(pictures: Sequence[tuple[str, str]]) -> str:
    """Return the Markdown that shows pictures, given as (path from the report, caption)."""
    return paragraphs(*(f"![{prose(caption)}]({path})" for path, caption in pictures))


def answer(content: ReportContent) -> str:
    """Return the answer to the study's own question, its primary contrast, in a sentence.

    Where a study states none it is `real+syn` against `real`; where it has no such arms, what a detector
    found, and nothing without one.
    """
    asked = [one for one in content["verdicts"] if one.get("role") == "primary"]
    asked = asked or [
        one for one in content["verdicts"] if one["reference"] == REAL and one["arm"].startswith("real+syn")
    ]
    if not asked:
        return _opening("Detection", content)
    first = next((one for one in asked if one["arm"] == "real+syn"), asked[0])
    row = judged(content, first)
    by = f" ({markdown(strategy_words(first['strategy']))})" if first["strategy"] else ""
    drawn = parse_arm(first["arm"]).rows in ("syn", "real+syn")
    asked_of = "Do synthetic images help?" if drawn else f"Does `{code(first['arm'])}` do better?"
    words = {HELPS: "Yes", HURTS: "No, they hurt", CANNOT_TELL: "It can't be told"}
    words |= {} if drawn else {HURTS: "No, it does worse"}
    word = words.get(first["verdict"], "This study cannot say")
    word += "" if shows_patients(content["corpus"].get("name")) else ", on computed images"
    why = f" ({prose(reason)})" if (reason := first.get("why")) else ""
    arm, reference = code(first["arm"]), code(first["reference"])
    found = (
        f"{asked_of} **{word}**{why}: `{arm}`{by} against `{reference}` has "
        f"{difference(row)} points of {METRICS[first['metric']]} on {row['images']} test images."
        f"{prose(_on_others(content, first))}"
    )
    return paragraphs(found, _meant(first))


_MEASURED = {
    "accuracy": "the share of test images that are told right",
    "balanced_accuracy": "the mean over the classes of how many of each are told right",
    "auroc": "how often an image of a class is ranked above one of another; 50 is chance",
}
"""Scores that an answer is mostly about, in a reader's words."""


def _meant(verdict: Verdict) -> str:
    """Return what the words of an answer mean, before any section explains more."""
    compared, metric = contrast_words(verdict), verdict["metric"]
    parts = [
        f"The classifiers were trained on {compared}" if compared else "",
        f"{METRICS[metric]} is {_MEASURED[metric]}" if metric in _MEASURED else "",
        "the brackets are the 95% interval that decides",
    ]
    said = "; ".join(filter(None, parts))
    return f"{said[0].upper()}{said[1:]}. More in *{READING}*, at the end."


def _on_others(content: ReportContent, first: Verdict) -> str:
    """Return what the same difference is with each other classifier of the study."""
    same = [name for name in (*SERIES, "metric", "reference") if name != "architecture"]
    others = [
        f"{difference(judged(content, one))} with {one['architecture']}"
        for one in content["verdicts"]
        if one["architecture"] != first["architecture"] and agree(one, first, same)
    ]
    return f" The classifier was {first['architecture']}; it is {', '.join(others)}." if others else ""


def lead(content: ReportContent) -> str:
    """Return the size of the corpus in a sentence; empty where it was not counted."""
    counts = ", ".join(
        f"{value} {name}" for name, value in content["corpus"].items() if isinstance(value, int)
    )
    return f"Corpus: {counts}." if counts else ""


def _left_out(content: ReportContent, captions: Sequence[str]) -> str:
    name = content["corpus"].get("name")
    corpus = "the corpus" if name is None else f"the corpus {markdown(name)}"
    about = (
        f"Left out, since they show images of {corpus}, which can be of patients, or images generated from "
        "them:"
    )
    how = (
        "To have them in the report, run the same command again with `--resume --include_images true`. "
        "The folder then holds images of the corpus: be careful where you share it."
    )
    return paragraphs(about, "\n".join(f"- {prose(caption)}" for caption in captions), how)


def _splits(content: ReportContent) -> list[str]:
    about = ""
    if content["corpus"].get("quarantined") or content["corpus"].get("missing"):
        about = "What is missing or could not be used is listed in `missing.txt` and `quarantined.csv`."
    return [split_table(content["splits"], patients_known="ungrouped" not in content["corpus"]), about]


_PARTS: dict[str, Callable[[ReportContent], list[str]]] = {
    FOUND: lambda content: verdict_text(content),
    FAIR: lambda content: comparison_text(content),
    SCORES: lambda content: score_tables(content["summary"], *{one["metric"] for one in content["verdicts"]}),
    FAIRNESS: lambda content: [
        fairness_section(content["fairness"], tested(content), content.get("fairness_by", ())).text
    ],
    TONE: lambda content: tone_table(content["skin_tone"]),
    LESIONS: lambda content: lesion_table(content["lesion"]),
    PAPER: lambda content: beside_the_paper(
        content["summary"], [row for row in content["published"] if row["paper"] == CITATION]
    ),
    SPLITS: _splits,
    COST: lambda content: cost_table(content["cost"]),
    READING: lambda content: [
        "\n".join(
            f"- {prose(note)}" for note in [*content.get("reading", ()), *content["notes"], _TERMS, _HOW]
        )
    ],
}
