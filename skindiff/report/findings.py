"""What each section of a report found, in the sentence that it opens with: words, no computing."""

from collections.abc import Callable, Mapping, Sequence

from skindiff.classification.rows import SeriesColumns
from skindiff.evaluation.rows import DetectionRow
from skindiff.evaluation.statistics.comparisons import FEW_UNITS
from skindiff.evaluation.statistics.rows import SummaryRow, agree
from skindiff.evaluation.statistics.verdicts import points, reference_rows, series_name
from skindiff.measures.copying.rows import CopyingRow
from skindiff.report.choosing import TITLE as TRIED
from skindiff.report.choosing import tried_finding
from skindiff.report.content import ReportContent
from skindiff.report.external import TITLE as EXTERNAL
from skindiff.report.external import external_finding
from skindiff.report.ladder import TITLE as LADDER
from skindiff.report.ladder import ladder_finding
from skindiff.report.tables import difference, estimate, interval, percent, populations


def finding(title: str, content: ReportContent) -> str:
    """Return the first sentences of a section, empty where it has nothing to say in words.

    Args:
        title: of the section.
        content: of ``report.json``.
    """
    say = _FINDINGS.get(title)
    return say(content) if say else ""


def _scores(content: ReportContent) -> str:
    lines = []
    for (scenario, group, architecture, _), rows in populations(reference_rows(content["summary"])).items():
        own = [row for row in rows if row["metric"] == "balanced_accuracy" and row["mean"] is not None]
        real = next((row for row in own if row["arm"] == "real"), None)
        if real is None:
            continue
        others = sorted(mean for row in own if row is not real and (mean := row["mean"]) is not None)
        rest = f"; the other arms reach {percent(others[0])} to {percent(others[-1])}%" if others else ""
        where = f"{architecture}, scenario {scenario}, {group} test images"
        lines.append(f"{where}: `real` reaches {estimate(real)}% balanced accuracy{_chance(real)}{rest}.")
    return "\n\n".join(lines)


def _chance(row: SummaryRow) -> str:
    return f", where chance is {percent(row['chance'])}%" if row["chance"] is not None else ""


def _by_class(content: ReportContent) -> str:
    rows = content.get("per_class_f1") or []
    real = {_place(row): row for row in rows if row["arm"] == "real"}
    lines = []
    for row in rows:
        beside = real.get(_place(row))
        if not beside or not row["arm"].startswith("real+syn"):
            continue
        pairs = [(row["f1"][name]["mean"], one["mean"]) for name, one in beside["f1"].items()]
        known = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
        more = sum(mine > theirs for mine, theirs in known)
        less = sum(mine < theirs for mine, theirs in known)
        name = series_name(row, [other for other in rows if _place(other) == _place(row)])
        said = f"{name}: mean F1 is above that of `real` in {more} of {len(known)} classes, below in {less}"
        where = f"{row['architecture']}, scenario {row['scenario']}, {row['test_group']} test images"
        lines.append((where, said))
    return _told_apart("", lines, ". ")


def _place(row: SeriesColumns) -> tuple[str, ...]:
    return row["scenario"], row["test_group"], row["architecture"], row["preset"]


def _confusions(content: ReportContent) -> str:
    lines = [
        (
            row["population"],
            f"{row['series']}: {percent(row['share'])}% of {row['true']} is called {row['predicted']}",
        )
        for row in content.get("confusions", [])
    ]
    return _told_apart("The most frequent confusion of each arm.", lines, "; ")


def _told_apart(about: str, lines: Sequence[tuple[str, str]], between: str) -> str:
    """Return what is said of each place, in paragraphs where classifiers or test images are several."""
    by_place: dict[str, list[str]] = {}
    for place, said in lines:
        by_place.setdefault(place, []).append(said)
    several = len(by_place) > 1
    found = [
        (f"Of {place}: " if several else "") + f"{between.join(own)}." for place, own in by_place.items()
    ]
    return ("\n\n" if several else " ").join([*([about] if about and found else ()), *found])


def _tone(content: ReportContent) -> str:
    tone = content["skin_tone"]
    lines = [
        f"{name} moves skin by {interval(one['paired_shift'])} degrees, "
        f"{interval(one['share_of_gap'], 100, 0)}% of the way to real images of the target types."
        for name, one in (tone["by_transfer"].items() if tone else ())
    ]
    return " ".join(lines)


def _lesions(content: ReportContent) -> str:
    lines = [
        f"{name} keeps {interval(one['kept'], 100, 0)}% of the lesions' structure."
        for name, one in (content["lesion"] or {}).items()
    ]
    return " ".join(lines)


def _copying(content: ReportContent) -> str:
    by_name: dict[str, list[CopyingRow]] = {}
    for row in content.get("copying") or []:
        by_name.setdefault(row["images"], []).append(row)
    lines = []
    for name, rows in by_name.items():
        total = sum(row["generated"] for row in rows)
        near = sum(round(row["near_copies"]["share"] * row["generated"]) for row in rows)
        own = [(row["of_own_group"], row["generated"]) for row in rows if row["of_own_group"]]
        sources = sum(round(found["share"] * count) for found, count in own)
        beside = f" other than their source, and {sources} of that source" if own else ""
        lines.append(
            f"{name}: {near} of {total} synthetic images are near copies of a training image{beside}."
        )
    return " ".join(lines)


def _fidelity(content: ReportContent) -> str:
    lines = [
        f"{row['images']}, seed {row['seed']}: KID {row['scores']['kid']:.4f}"
        for row in content.get("fidelity") or []
    ]
    return (
        f"Lower is nearer to real images that the generator never saw. {'; '.join(lines)}." if lines else ""
    )


def _detection(content: ReportContent) -> str:
    rows = (content.get("detection") or {}).get("classes") or []
    by_generator: dict[str, list[DetectionRow]] = {}
    for row in rows:
        by_generator.setdefault(row["generator"], []).append(row)
    lines = []
    for name, every in by_generator.items():
        own = [row for row in every if recognised(row)]
        seeds = max(row["seeds"] for row in every)
        if seeds < FEW_UNITS:
            lines.append(f"{name}: no verdict, which takes {FEW_UNITS} seeds or more, and there are {seeds}.")
            continue
        below = [row["class_name"] for row in own if (row.get("share_ci_high_corrected") or 1) < 1]
        above = [row["class_name"] for row in own if (row.get("share_ci_low_corrected") or 0) > 1]
        mute = len(every) - len(own)
        lines.append(
            f"{name}: recognised less often than real images in {len(below)} of {len(every)} classes"
            f"{_listed(below)}, more often in {len(above)}{_listed(above)}; it can't be told in "
            f"{len(own) - len(below) - len(above)}."
            + f" No verdict on {mute}, which the detector does not know from other classes."
            * bool(mute)
        )
    return " ".join(lines)


def recognised(row: DetectionRow) -> bool:
    """Whether a detector knows a class: real images of it get the label more often than those of others."""
    others = row.get("others")
    return others is None or (row["recall_ci_low"] or 0) > others


def _listed(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _paper(content: ReportContent) -> str:
    """Return the printed gains of `real+syn` in accuracy beside ours, where both are known."""
    lines = []
    gains = [row for row in content["published"] if row["arm"] == "real+syn" and row["metric"] == "accuracy"]
    for row in gains:
        same = ("table", "scenario", "test_group", "architecture", "metric")
        real = [
            one for one in content["published"]
            if one["arm"] == "real" and agree(one, row, same)
        ]  # fmt: skip
        mine = [
            one for one in reference_rows(content["summary"])
            if one["arm"] == "real+syn" and agree(one, row, same[1:])
        ]  # fmt: skip
        if real and mine and mine[0]["delta"] is not None:
            gain = (row["percent"] - real[0]["percent"]) / 100
            lines.append(
                f"{row['architecture']}: the paper prints {points(gain)} points of accuracy for `real+syn`; "
                f"here it is {difference(mine[0])}."
            )
    return " ".join(dict.fromkeys(lines))


def _splits(content: ReportContent) -> str:
    splits = content["splits"]
    if not splits:
        return ""
    crossing = sum(split["groups_crossing"] for split in splits)
    known = "known group" if "ungrouped" in content["corpus"] else "group"
    number = f"{len(splits)} split{'s' * (len(splits) != 1)}"
    if crossing:
        return f"{crossing} {known}s stand on both sides of a cut, over {number}."
    return f"No {known} stands on both sides of a cut, in {number}."


def _cost(content: ReportContent) -> str:
    cost = content["cost"]
    words = {"classifiers": "classifiers", "trainings": "other trainings", "images_drawn": "synthetic images"}
    parts = [f"{cost[name]:,} {word}" for name, word in words.items() if cost.get(name)]
    return f"{', '.join(parts)}." if parts else ""


_FINDINGS: Mapping[str, Callable[[ReportContent], str]] = {
    "Scores": _scores,
    "F1 by class": _by_class,
    "Confusions": _confusions,
    "Skin tone": _tone,
    "Lesions": _lesions,
    "Copying": _copying,
    "Fidelity": _fidelity,
    "Detection": _detection,
    EXTERNAL: lambda content: external_finding(content.get("external")),
    TRIED: lambda content: tried_finding(content.get("tried") or []),
    LADDER: lambda content: ladder_finding(content.get("ladder") or []),
    "Beside the paper": _paper,
    "Splits": _splits,
    "Cost": _cost,
}
