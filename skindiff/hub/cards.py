"""Cards: what an artefact is, how to use it, what is behind it, how good it is, and what it is not for.

They are generated from settings and measurements, so that nothing in them was written from memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import CardData, DatasetCardData, EvalResult, ModelCardData

from skindiff import __version__
from skindiff.classification.rows import METRICS, SeriesColumns
from skindiff.corpora.attribute import Attribute, recorded_attribute
from skindiff.escaping import code, fenced, markdown, prose
from skindiff.evaluation.statistics.verdicts import reference_rows
from skindiff.hub.origin import Facts
from skindiff.report.content import ReportContent
from skindiff.report.tables import deciding_interval

_QUOTED = ("balanced_accuracy", "accuracy", "f1", "auroc", "sensitivity_at_90_specificity")
"""Scores of a report that cards quote."""
_TAGS = ("skindiff", "dermatology", "medical-imaging", "skin")
_NOT_CLINICAL = (
    "For research. It is not a medical device; nothing it generates or predicts is a diagnosis, and it must "
    "not decide about the care of anyone."
)


@dataclass(frozen=True)
class Card:
    """What a card says beyond the facts of its origin.

    Attributes:
        title: heading; the repository's name.
        what: what the artefact is, in a sentence or two of Markdown.
        usage: Python that runs as it stands, once the repository can be read.
        results: scores with intervals.
        coverage: what is known of the skin types, or of what else is scarce, in Markdown.
        limits: what it cannot do, a sentence each.
        base_model: ``id@revision`` of the model it needs, if it needs one.
        sections: further headings with their Markdown.
        attribute: what is scarce, where not the report of its run says it.
    """

    title: str
    what: str
    usage: str
    results: Sequence[EvalResult]
    coverage: str
    limits: Sequence[str]
    base_model: str | None = None
    sections: Sequence[tuple[str, str]] = ()
    attribute: Attribute | None = None


def model_card(card: Card, facts: Facts, *, library: str, task: str, tags: Sequence[str] = ()) -> bytes:
    """Return the README of a model repository; scores stand in its metadata as ``EvalResult``."""
    base = card.base_model.partition("@")[0] if card.base_model else None
    data = ModelCardData(
        license=facts.licence,
        library_name=library,
        pipeline_tag=task,
        tags=[*_TAGS, *tags],
        base_model=base if base and "/" in base else None,
        model_name=card.title,
        eval_results=list(card.results) or None,
        **_own_terms(facts),
    )
    return _render(card, facts, data)


def dataset_card(card: Card, facts: Facts, *, tags: Sequence[str] = (), **metadata: Any) -> bytes:
    """Return the README of a data set's repository; ``metadata`` goes into its head (``configs`` for one)."""
    data = DatasetCardData(
        license=facts.licence, pretty_name=card.title, tags=[*_TAGS, *tags], **_own_terms(facts), **metadata
    )
    return _render(card, facts, data)


def eval_results(
    report: ReportContent, *, architecture: str | None = None, arms: Sequence[str] | None = None
) -> list[EvalResult]:
    """Return the scores of a report's `summary`, each with its 95% interval in ``metric_args``.

    Args:
        report: content of ``report.json``; an empty one has no scores.
        architecture: only those of this classifier.
        arms: only these arms.
    """
    corpus = (report.get("corpus") or {}).get("name", "images")
    results = []
    for row in reference_rows(report.get("summary", ()), None):
        wanted = (architecture is None or row["architecture"] == architecture) and (
            arms is None or row["arm"] in arms
        )
        if row["metric"] not in _QUOTED or row["mean"] is None or not wanted:
            continue
        place = f"scenario {row['scenario']}, {row['test_group']} test images, preset {row['preset']}"
        results.append(
            EvalResult(
                task_type="image-classification",
                task_name=f"{row['architecture']} trained on {_series(row)}",
                dataset_type=corpus,
                dataset_name=f"{corpus} ({place})",
                dataset_split="test",
                metric_type=row["metric"],
                metric_name=METRICS[row["metric"]],
                metric_value=row["mean"],
                metric_args={
                    "interval_95": [row["ci_low"], row["ci_high"]],
                    "reference": row.get("reference"),
                    "difference": row.get("delta"),
                    "difference_interval": list(deciding_interval(row)) if row["delta"] else [None, None],
                },
            )
        )
    return results


def coverage_text(facts: Facts, attribute: Attribute | None = None) -> str:
    """Return what is known of skin types, or what else is scarce, in training and testing, in Markdown.

    Args:
        facts: of the artefact.
        attribute: what is scarce; what the report of its run says when None.
    """
    attribute = attribute or attribute_of(facts.report)
    lines = []
    if facts.groups:
        order = [name for name in attribute.known if name in facts.groups]
        names = dict.fromkeys([*order, *sorted(facts.groups)])
        counts = table((attribute.name, "training images"), [(name, facts.groups[name]) for name in names])
        by = "Fitzpatrick skin type" if attribute.is_skin_tone else attribute.name
        lines += [prose(f"Training images by {by}:"), "", counts, ""]
    split = (facts.report.get("config") or {}).get("split") or {}
    if isinstance(split.get("scenario"), str):
        # Reports of before there were other attributes name the skin types with the split.
        majority = ", ".join(split.get("majority_types", attribute.of_majority))
        minority = ", ".join(split.get("minority_types", attribute.of_minority))
        what = "types" if attribute.is_skin_tone else attribute.name
        told = (
            f"Split scenario ({split['scenario']}): majority {what} {majority}; minority {what} {minority}."
        )
        lines += [prose(told), ""]
    by_type = [row.get("per_skin_type_recall", {}) for row in facts.report.get("results", ())]
    lines += _recall_table(facts.report, "skin type", by_type, "type ")
    if not attribute.is_skin_tone:
        rows = facts.report.get("results", ())
        own = [row.get("per_group_recall", {}).get(attribute.column, {}) for row in rows]
        lines += _recall_table(facts.report, attribute.name, own)
    if not lines:
        return prose(
            f"How many images of each {attribute.name} it learnt from was not recorded; expect it to work "
            "worst for those that it saw least of."
        )
    return "\n".join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(prose(str(cell), in_table=True) for cell in line) + " |" for line in lines
    )


def _render(card: Card, facts: Facts, data: CardData) -> bytes:
    parts = [
        f"# {markdown(card.title)}",
        card.what,
        _NOT_CLINICAL,
        "## Use",
        fenced(card.usage.strip(), "python"),
        "## Training data and licence",
        _data_text(facts),
        "## Measured",
        _results_text(card.results),
        "## Skin types" if (card.attribute or attribute_of(facts.report)).is_skin_tone else "## Groups",
        card.coverage.strip(),
        *(text for heading, body in card.sections for text in (f"## {heading}", body.strip())),
        "## Limits",
        "\n".join(f"- {prose(limit)}" for limit in (*card.limits, _NOT_CLINICAL)),
        "## How it was made",
        _making_text(card, facts),
    ]
    body = "\n\n".join(parts)
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n".encode()


def _data_text(facts: Facts) -> str:
    lines = [
        f"- {markdown(terms.title)}, licence `{terms.licence}`. Credit: {terms.credit}."
        for terms in facts.terms
    ]
    lines += [
        f"- {markdown(base.title)}, the base model, licence `{base.weights}`: {base.asks} ({base.source})."
        for base in facts.bases
    ]
    own = ": terms of its owner's own, which keep all that the lines above ask" * (facts.licence == "other")
    return "\n".join([*lines, "", f"Licence of what is in this repository: `{facts.licence}`{own}."])


def _results_text(results: Sequence[EvalResult]) -> str:
    if not results:
        return "No scores came with it: nothing was measured, or the run was not at hand when it was pushed."
    rows = []
    for result in results:
        known = result.metric_args or {}
        added = _with_interval(known["difference"], known["difference_interval"], sign="+")
        rows.append(
            (
                result.dataset_name,
                result.task_name,
                result.metric_name,
                _with_interval(result.metric_value, known["interval_95"]),
                f"{added} against {known['reference']}" if known["difference"] is not None else added,
            )
        )
    head = ("tested on", "classifier", "score", "percent [95% interval]", "difference, points [its interval]")
    note = (
        "Intervals are from a bootstrap over groups of images (patients, lesions, duplicates) and seeds. "
        "Those of differences are corrected for how many there are, but for the study's primary contrast."
    )
    return f"{table(head, rows)}\n\n{note}"


def _making_text(card: Card, facts: Facts) -> str:
    lines = [f"Made with skindiff {__version__}."]
    if card.base_model:
        model, _, revision = code(card.base_model).partition("@")
        lines += [
            "",
            f"Base model: `{model}`, revision `{revision or 'main'}`; its own licence applies besides.",
        ]
    if facts.commands:
        lines += ["", fenced("\n".join(facts.commands), "bash")]
    settings = facts.report.get("config")
    if settings:
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).strip()
        lines += [
            "",
            "<details><summary>config.yaml</summary>",
            "",
            fenced(text, "yaml"),
            "",
            "</details>",
        ]
    if facts.report_sha256:
        lines += [
            "",
            f"SHA-256 of the run's `report.json`: `{facts.report_sha256}`. It finds damage and careless "
            "edits, not a forger.",
        ]
    if not facts.commands and not settings:
        lines += ["", "The commands were not recorded."]
    return "\n".join(lines)


def _own_terms(facts: Facts) -> dict[str, Any]:
    """Return what the Hub asks of a licence that is none of its own."""
    return {"license_name": "see-card", "license_link": "README.md"} if facts.licence == "other" else {}


def _series(row: SeriesColumns) -> str:
    parts = [row["arm"], f"({row['strategy']})" if row.get("strategy") else ""]
    return " ".join(part for part in (*parts, f"x{row['ratio']:g}" if row.get("ratio") else "") if part)


def attribute_of(report: ReportContent) -> Attribute:
    """Return what is scarce in a study, by its report: skin types where that names nothing else."""
    return recorded_attribute(report.get("attribute"))


def _recall_table(
    report: ReportContent, by: str, recalls: Sequence[Mapping[str, float | None]], title: str = ""
) -> list[str]:
    """Return the mean recall by group of every series, by the groups' names; nothing where none is known.

    Args:
        report: with the rows of results.
        by: what the groups are told apart by.
        recalls: of each of these rows, by group.
        title: before the name of a group.
    """
    known = [(row, one) for row, one in zip(report.get("results", ()), recalls, strict=True) if one]
    groups = sorted({group for _, one in known for group in one})
    series: dict[str, list[Mapping[str, float | None]]] = {}
    for row, one in known:
        series.setdefault(f"{row['architecture']}, {_series(row)}", []).append(one)
    rows = []
    for name, mine in series.items():
        seen = [[value for one in mine if (value := one.get(group)) is not None] for group in groups]
        rows.append((name, *(_percent(sum(own) / len(own) if own else None) for own in seen)))
    head = ("trained on", *(f"{title}{group}" for group in groups))
    about = prose(f"Recall of the tested classifiers by {by} (mean over seeds, percent):")
    return [about, "", table(head, rows), ""] if rows else []


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _with_interval(value: float | None, interval: Sequence[float | None], sign: str = "") -> str:
    if value is None:
        return "-"
    low, high = (("-" if end is None else f"{100 * end:{sign}.1f}") for end in interval)
    return f"{100 * value:{sign}.1f} [{low}, {high}]"
