"""The section on fairness, from the key ``fairness`` of ``report.json``: words and tables, no computing."""

from collections.abc import Sequence

from skindiff.corpora.attribute import SKIN_COLUMN
from skindiff.escaping import prose
from skindiff.evaluation.fairness.rows import (
    FairnessArm,
    FairnessContent,
    FairnessSettings,
    GroupScore,
    Population,
)
from skindiff.evaluation.statistics.rows import Difference
from skindiff.evaluation.statistics.verdicts import CANNOT_TELL, call, points, series_name
from skindiff.report.study_section import StudySection, markdown_table
from skindiff.report.tables import difference

TITLE = "Fairness"
_HOW = (
    "Recall in percent, macro over the classes that a group has, over a run's test sets; 95% intervals "
    "over {tested} and seeds as in the tables above. Changes are paired with the same arm without what it "
    "adds; their intervals are corrected for all arms and groups of a table. The worst group has the lowest "
    "recall, by chance or not."
)
_JUDGED = "Fitzpatrick types are judged from photographs."


def fairness_section(
    content: FairnessContent, tested: str = "patients", further: Sequence[FairnessContent] = ()
) -> StudySection:
    """Return the section; without text where there are no groups.

    Args:
        content: of :func:`skindiff.evaluation.fairness.content.fairness_content`.
        further: chapters by other columns and by intersections.
        tested: of :func:`skindiff.report.judgement.tested`.
    """
    chapters = [one for one in (content, *further) if one]
    return StudySection(TITLE, chapters_text(chapters, tested), after="Scores")


def chapters_text(chapters: Sequence[FairnessContent], tested: str) -> str:
    """Return what chapters say of their groups, empty without any.

    Args:
        chapters: by one column or by several, none of them empty.
        tested: what the groups of test images are called.
    """
    if not chapters:
        return ""
    smallest = chapters[0]["settings"]["smallest"]
    hidden = f"Cells with fewer than {smallest} {tested} in the mean run are left out (—)."
    columns = [one["settings"].get("by", [SKIN_COLUMN]) for one in chapters]
    parts = []
    for by, chapter in zip(columns, chapters, strict=True):
        if columns != [[SKIN_COLUMN]]:
            parts.append(prose(f"By {' and '.join(name.replace('_', ' ') for name in by)}:"))
        for population in chapter["populations"]:
            parts += _population(population, chapter, tested)
    judged = [_JUDGED] * any(SKIN_COLUMN in by for by in columns)
    parts.append(" ".join([_HOW.format(tested=tested), *judged, hidden]))
    return "\n\n".join(part for part in parts if part)


def _population(population: Population, content: FairnessContent, tested: str) -> list[str]:
    where = f"{population['architecture']}, scenario {population['scenario']}, preset {population['preset']}"
    tables = [_recalls(population, tested), _changes(population)]
    tables += [
        _gaps(population, content["settings"], tested),
        _by_class(population),
        _calibration(population),
    ]
    return [f"**{prose(where)}**", _said(population), *tables]


def _arms(population: Population) -> list[tuple[str, FairnessArm]]:
    arms = population["arms"]
    return [(series_name(arm, arms), arm) for arm in arms]


def _said(population: Population) -> str:
    """Return a sentence for every group that an arm helps or hurts, or that there is none."""
    lines, least = [], []
    for name, arm in _arms(population):
        for group, one in arm["groups"].items():
            change = one.get("change")
            if not change:
                continue
            least.append(change["minimum_effect_corrected"])
            word = call(change["delta_ci_low_corrected"], change["delta_ci_high_corrected"])
            if word != CANNOT_TELL:
                says = f"{word} {group} against {arm['reference']}"
                lines.append(f"- {prose(f'{name} {says}: {difference(change)} points of recall.')}")
    if not least:
        return ""
    known = [one for one in least if one is not None]
    seen = ""
    if known:
        seen = f" Effects below {100 * min(known):.1f} points could not have been seen reliably in any group."
    return "\n".join(lines) or f"No arm is known to help or hurt any group.{seen}"


def _against(name: str, arm: FairnessArm) -> str:
    return f"{name} - {arm['reference']}" if arm["reference"] else name


def _recalls(population: Population, tested: str) -> str:
    lines = []
    for name, arm in _arms(population):
        worst = arm["worst"]
        lines.append(
            [
                name,
                *(_score(one.get("recall")) for one in arm["groups"].values()),
                f"{worst['group']}, {100 * worst['value']:.1f}" if worst else "—",
            ]
        )
    first = population["arms"][0]["groups"]
    lines.append(["chance", *[_guess(population)] * len(first), ""])
    groups = [f"{name} ({one['patients']:.0f} {tested} in a run)" for name, one in first.items()]
    return markdown_table(["recall by group", *groups, "worst"], lines)


def _guess(population: Population) -> str:
    """Return the recall of a guess, which is the same in every group and class."""
    classes = population["classes"]
    return f"{100 / len(classes):.1f}" if classes else "—"


def _changes(population: Population) -> str:
    lines = [
        [_against(name, arm), *(difference(one.get("change")) for one in arm["groups"].values())]
        for name, arm in _arms(population)
        if any(one.get("change") for one in arm["groups"].values())
    ]
    return markdown_table(["change of recall, points", *population["groups"]], lines) if lines else ""


def _gaps(population: Population, settings: FairnessSettings, tested: str) -> str:
    sides = [" and ".join(settings[name]) for name in ("advantaged", "disadvantaged")]
    if not all(sides):
        return ""
    lines = [
        [_against(name, arm), _signed(arm["gap"]), difference(arm["gap_change"]), _verdict(arm["gap_change"])]
        for name, arm in _arms(population)
        if arm["gap"]
    ]
    if not lines:
        untested = [
            side
            for side, name in zip(sides, ("advantaged", "disadvantaged"), strict=True)
            if not set(settings[name]) & set(population["groups"])  # type: ignore[literal-required]
        ]
        why = (
            f"no image of {untested[0].replace(' and ', ' or ')} is tested"
            if untested
            else f"one side has too few {tested}"
        )
        return prose(f"The gap between {sides[0]} and {sides[1]} is not shown: {why}.")
    headings = [f"gap, {sides[0]} minus {sides[1]}, points", "gap", "change", "the gap"]
    return markdown_table(headings, lines)


def _verdict(change: Difference | None) -> str:
    if not change:
        return ""
    low, high = change["delta_ci_low_corrected"], change["delta_ci_high_corrected"]
    return {"helps": "grows", "hurts": "shrinks"}.get(call(low, high), CANNOT_TELL)


def _by_class(population: Population) -> str:
    several = len(population["groups"]) > 1
    lines = []
    for name, arm in _arms(population):
        lines.append([name, *(_score(one) for one in arm["classes"].values())])
        for group, one in arm["groups"].items():
            if several and one.get("classes") and any(one["classes"].values()):
                lines.append([f"{name}, {group}", *(_score(value) for value in one["classes"].values())])
    lines.append(["chance", *[_guess(population)] * len(population["classes"])])
    return markdown_table(["recall by class", *population["classes"]], lines)


def _calibration(population: Population) -> str:
    lines = []
    for name, arm in _arms(population):
        shown = {group: one for group, one in arm["groups"].items() if not one["suppressed"]}
        for group, one in shown.items():
            chance = f"{100 * one['calibration_error_by_chance']:.1f}"
            error, sure = _score(one["calibration_error"]), _signed(one["overconfidence"])
            lines.append([f"{name}, {group}", error, chance, sure])
    headings = [
        "calibration, percent",
        "expected error",
        "of a calibrated classifier",
        "confidence - accuracy",
    ]
    return markdown_table(headings, lines) if lines else ""


def _score(value: GroupScore | None) -> str:
    if not value:
        return "—"
    return f"{100 * value['value']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


def _signed(value: GroupScore | None) -> str:
    if not value:
        return "—"
    return f"{points(value['value'])} [{points(value['low'])}, {points(value['high'])}]"
