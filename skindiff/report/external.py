"""The chapter on other corpora: what was tested, how the arms do there, and what of their scores is lost."""

from collections.abc import Sequence
from dataclasses import replace

from skindiff.classification.arm_names import parse_arm
from skindiff.classification.cells import REAL, Cell
from skindiff.classification.contrasts import PrimaryContrast, default_primary
from skindiff.classification.external_sets import ExternalSet
from skindiff.classification.rows import ELSEWHERE, JUDGED, METRICS, ExternalCounts
from skindiff.corpora.attribute import SKIN_COLUMN
from skindiff.corpora.registry import shows_patients
from skindiff.escaping import prose
from skindiff.evaluation.fairness.chapters import fairness_chapters
from skindiff.evaluation.fairness.rows import FairnessContent
from skindiff.evaluation.statistics.elsewhere import elsewhere_rows
from skindiff.evaluation.statistics.paired_bootstrap import result_row
from skindiff.evaluation.statistics.rows import SERIES, ElsewhereRow, SummaryRow, agree
from skindiff.evaluation.statistics.summary import summarise
from skindiff.evaluation.statistics.verdicts import series_name, verdicts
from skindiff.measures.copying.crossing import labelled
from skindiff.measures.copying.rows import CopiedElsewhere
from skindiff.report.content import ExternalContent
from skindiff.report.fairness import chapters_text
from skindiff.report.study_section import StudySection, markdown_table
from skindiff.report.tables import difference, estimate, percent

TITLE = "On other corpora"
_FIXED = (
    "Arms, ratios and settings were fixed before these images were opened: no training, no generator and no "
    "choice has seen them, and every classifier was asked once, after its training."
)
_ABOUT = (
    "The images of a corpus "
    "are the same for all arms and splits. Its intervals cover which of its groups of images are tested, and "
    "the spread between trainings. Both places are asked the same, by the classes that both have images of; "
    "accuracy and F1 follow how common the classes are in a place, so they are not compared. Calibration is "
    "for the shares of the classes as they are there; in the balanced Brier score every class weighs alike "
    "(less is better)."
)
_HOW_JUDGED = (
    "The primary contrast of the study is asked once more, of the first corpus alone, and tested on its own. "
    "All other differences are exploratory, and corrected together over all other corpora (Holm)."
)


def external_content(
    sets: Sequence[ExternalSet],
    here: Sequence[Cell],
    there: Sequence[Cell],
    primary: PrimaryContrast | None,
    replicates: int,
    copies: Sequence[CopiedElsewhere] = (),
) -> ExternalContent | None:
    """Return the key ``external`` of ``report.json``, None where nothing was tested elsewhere.

    Args:
        sets: the other corpora.
        here: predictions on the study's own test images.
        there: predictions on the other corpora.
        primary: the study's question; that of the arms when None.
        replicates: of the bootstrap.
        copies: what was found of their images among synthetic ones.
    """
    if not sets:
        return None
    asked = primary or default_primary([cell.key.arm for cell in there])
    asked = asked and elsewhere_asked(asked)
    metrics = tuple(ELSEWHERE) + tuple({asked.metric} - set(ELSEWHERE) if asked else ())
    summary = summarise(there, primary=asked, metrics=metrics, replicates=replicates)
    group = (primary and primary.test_group) or (here[0].key.test_group if here else "")
    own = [cell for cell in here if cell.key.test_group == group]
    return {
        "sets": [one.counts for one in sets],
        "results": [result_row(cell) for cell in there],
        "summary": summary,
        "verdicts": verdicts(summary, (asked or PrimaryContrast()).metric),
        "beside": elsewhere_rows(own, there, sets, replicates=replicates),
        "fairness": {one.name: _groups_of(one, there, replicates) for one in sets},
        "copies": list(copies),
    }


def _groups_of(one: ExternalSet, there: Sequence[Cell], replicates: int) -> list[FairnessContent]:
    """Return the chapters by the groups of one corpus, which are corrected on their own."""
    own = [cell for cell in there if cell.key.test_group == one.name]
    first, further = fairness_chapters(own, one.attribute, replicates=replicates)
    return [chapter for chapter in (first, *further) if chapter]


def elsewhere_asked(primary: PrimaryContrast) -> PrimaryContrast:
    """Return the study's question as it is asked of another corpus: in a score that does not follow how
    common the classes are there."""
    balanced = primary.metric in ELSEWHERE and primary.metric in JUDGED
    return replace(primary, test_group=None, metric=primary.metric if balanced else PrimaryContrast().metric)


def external_section(content: ExternalContent | None) -> StudySection:
    """Return the chapter, empty where nothing was tested elsewhere."""
    if content is None:
        return StudySection(TITLE)
    parts = [part for one in content["sets"] for part in _set(one, content)]
    if any(one.get("role") == "primary" for one in content["verdicts"]):
        parts.append(_HOW_JUDGED)
    before = {one["name"]: one["asked_before"] for one in content["sets"] if one["asked_before"]}
    parts += [
        f"{count} classifiers of other settings were asked about {prose(name)} before, in this run: what was "
        "chosen since then may have been chosen by its images."
        for name, count in before.items()
    ]
    copied = any(row["near_copies"] for row in content.get("copies", ()))
    parts += [_FIXED] * (not before and not copied)
    return StudySection(TITLE, "\n\n".join(part for part in (*parts, _ABOUT) if part), after="Scores")


def group_sections(content: ExternalContent | None) -> list[StudySection]:
    """Return the chapter on the groups of each corpus; one that records none says so."""
    if content is None:
        return []
    found = []
    for one in content["sets"]:
        chapters = content.get("fairness", {}).get(one["name"], [])
        tested = "patients" if shows_patients(one["corpus"]["name"]) else "groups of images"
        column = one.get("attribute", SKIN_COLUMN).replace("_", " ")
        nothing = prose(
            f"No {column} is recorded of the images of {one['name']}, so whom an arm helps there is not "
            f"known. Another column that tells groups apart is named by {one['name']}.corpus.attribute."
        )
        title = f"Groups on {one['name']}"
        found.append(StudySection(title, chapters_text(chapters, tested) or nothing, after="Scores"))
    return found


def _set(one: ExternalCounts, content: ExternalContent) -> list[str]:
    """Return what is said of one corpus."""
    name = one["name"]
    beside = [row for row in content["beside"] if row["test_corpus"] == name]
    summary = [row for row in content["summary"] if row["test_group"] == name]
    said = f"**{prose(name)}**: {_tested(one)} {prose(_copies(name, content))}".strip()
    return [said, _scores(beside, summary), _verdicts(name, content)]


def _tested(one: ExternalCounts) -> str:
    """Return in sentences what was tested, and what was left out."""
    classes = ", ".join(f"{count} {name}" for name, count in one["tested"].items())
    mapped = "; ".join(
        f"{theirs} is {ours}"
        for theirs, ours in one["classes"].items()
        if ours is not None and ours != theirs
    )
    said = [
        f"{one['images']} images of {one['groups']} groups of the corpus {one['corpus']['name']}: {classes}."
    ]
    if mapped:
        said.append(f"{mapped}.")
    joined: dict[str, list[str]] = {}
    for ours, scored in one["ours"].items():
        joined.setdefault(scored, []).append(ours)
    said += [
        f"The probability of {scored} is the sum of those of {', '.join(ours)}."
        for scored, ours in joined.items()
        if len(ours) > 1
    ]
    if absent := [scored for scored in joined if scored not in one["tested"]]:
        said.append(
            f"It has no image of {', '.join(absent)}: an image that is taken for one of them counts as wrong."
        )
    if one["unmapped"]:
        left = ", ".join(f"{name} ({count})" for name, count in one["unmapped"].items())
        said.append(
            f"Left out, as none of the study's classes: {sum(one['unmapped'].values())} images, of {left}."
        )
    said.append(_twins(one))
    if one["corpus"].get("ungrouped"):
        said.append(
            f"Patients of {one['corpus']['ungrouped']} of its images are unknown, so intervals may be too "
            "narrow."
        )
    if one["trained_again"]:
        said.append(
            f"{one['trained_again']} classifiers were trained again for this, as their weights were not kept."
        )
    return prose(" ".join(said))


def _twins(one: ExternalCounts) -> str:
    """Return in a sentence how many images the study has too."""
    if one["twins"] is None:
        return (
            "The images that the classifiers were trained on are not at hand, so it is not known whether "
            "some of these are among them: leakage not excluded."
        )
    found = one["planted_found"].values()
    return (
        f"{one['twins'] or 'No'} images are in the study's corpus too (similarity {one['twins_from']} or "
        f"more){', and left out' if one['twins'] else ''}; of planted copies such a search finds "
        f"{percent(min(found))} to {percent(max(found))}%."
    )


def _copies(name: str, content: ExternalContent) -> str:
    """Return in sentences whether synthetic images that classifiers learnt from show images of a corpus."""
    arms = {row["arm"] for row in content["results"] if row["test_group"] == name}
    if not any(parse_arm(arm).rows in ("syn", "real+syn") for arm in arms):
        return ""
    rows = [row for row in content.get("copies", ()) if row["test_corpus"] == name]
    if not rows:
        return "Copies of its images among the synthetic ones were not searched for."
    count, total = sum(row["near_copies"] for row in rows), sum(row["generated"] for row in rows)
    every = ", ".join(f"{row['near_copies']} of {labelled(row)}" for row in rows if row["near_copies"])
    planted = [share for row in rows for share in row["planted_found"].values()]
    return (
        f"{count or 'No'} {'image' if count == 1 else 'images'} of {total} synthetic ones "
        f"{'is a near copy' if count == 1 else 'are near copies'} of an image of it (similarity "
        f"{rows[0]['threshold']} or more{'; ' * bool(every)}{every}); the nearest has "
        f"{max(row['nearest'] for row in rows):.3f}. Of planted copies such a search finds "
        f"{percent(min(planted))} to {percent(max(planted))}%."
    )


def _scores(beside: Sequence[ElsewhereRow], summary: Sequence[SummaryRow]) -> str:
    """Return every arm's scores there, and beside those on the study's own test images where there are."""
    if beside:
        headings = ["arm", "score", "there [95%]", "chance", f"here, {beside[0]['test_group']} [95%]"]
        headings.append("there - here [95%]")
        lines = [
            [
                _name(row, beside),
                ELSEWHERE[row["metric"]],
                estimate(row),
                "" if row["chance"] is None else percent(row["chance"]),
                estimate({"mean": row["here"], "ci_low": row["here_ci_low"], "ci_high": row["here_ci_high"]}),
                _change(row),
            ]
            for row in beside
        ]
        return markdown_table(headings, lines)
    first: dict[tuple[str, str], SummaryRow] = {}
    for row in summary:
        first.setdefault((_name(row, summary), row["metric"]), row)
    lines = [
        [name, ELSEWHERE.get(metric, METRICS.get(metric, metric)), estimate(row), percent(row["chance"])]
        for (name, metric), row in first.items()
    ]
    return markdown_table(["arm", "score", "there [95%]", "chance"], lines)


def _name(row: ElsewhereRow | SummaryRow, rows: Sequence[ElsewhereRow] | Sequence[SummaryRow]) -> str:
    same = [other for other in rows if other["architecture"] == row["architecture"]]
    own = series_name(row, same)
    return own if len(same) == len(rows) else f"{own}, {row['architecture']}"


def _change(row: ElsewhereRow) -> str:
    if row["change"] is None:
        return "n/a"
    low, high = row["change_ci_low"], row["change_ci_high"]
    if low is None or high is None:
        return f"{100 * row['change']:+.1f}"
    return f"{100 * row['change']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _verdicts(name: str, content: ExternalContent) -> str:
    """Return the verdicts on one corpus as a table."""
    own = [one for one in content["verdicts"] if one["test_group"] == name]
    lines = []
    for one in own:
        wanted = (*SERIES, "metric", "reference")
        row = next(row for row in content["summary"] if agree(row, one, wanted))
        says = one["verdict"] + (f": {one['why']}" if one.get("why") else "")
        lines.append(
            [
                f"{_name(row, content['summary'])} - {one['reference']}",
                one.get("role") or "",
                says,
                difference(row),
            ]
        )
    if not lines:
        return ""
    metric = METRICS[own[0]["metric"]]
    return markdown_table(["difference there", "role", "verdict", f"points of {metric} [95%]"], lines)


def external_finding(content: ExternalContent | None) -> str:
    """Return in a sentence for each corpus how the classifiers of real images do there."""
    if content is None:
        return ""
    said = []
    for row in content["beside"]:
        if row["arm"] == REAL and row["metric"] == "balanced_accuracy":
            said.append(
                f"{row['test_corpus']}, {row['architecture']}: `real` reaches {estimate(row)}% balanced "
                f"accuracy, where chance is {percent(row['chance'])}%; {_change(row)} points from the "
                "study's own test images."
            )
    return " ".join(said)
