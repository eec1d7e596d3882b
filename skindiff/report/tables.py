"""The tables of a report as Markdown, from the content of ``report.json``: no computing beyond means."""

from collections.abc import Mapping, Sequence

from skindiff.classification.rows import METRICS, SplitRow
from skindiff.escaping import prose
from skindiff.evaluation.statistics.rows import Difference, Mean, SummaryRow
from skindiff.evaluation.statistics.verdicts import points, reference_rows, series_name
from skindiff.measures.skin.rows import Angles, LesionRow
from skindiff.report.content import PublishedRow, ToneContent
from skindiff.report.published.fitzpatrick import CITATION
from skindiff.report.study_section import markdown_table

Rows = Sequence[SummaryRow]

_SHOWN = ("accuracy", "balanced_accuracy", "f1", "auroc")
_COMPARED = ("accuracy", "balanced_accuracy", "auroc")
_SENSITIVITY, _CALIBRATION = "sensitivity_at_90_specificity", "calibration_error"


def percent(value: float | None) -> str:
    """Return a share in percent with one digit, ``"n/a"`` where there is none."""
    return "n/a" if value is None else f"{100 * value:.1f}"


def estimate(row: Mean | None) -> str:
    """Return the mean of a row of `summary` with its interval, in percent."""
    if row is None or row["mean"] is None:
        return "n/a"
    if row["ci_low"] is None:
        return percent(row["mean"])
    return f"{percent(row['mean'])} [{percent(row['ci_low'])}, {percent(row['ci_high'])}]"


def difference(value: Difference | None) -> str:
    """Return a difference in points with the interval that decides, empty where there is none."""
    if value is None or value["delta"] is None:
        return ""
    low, high = deciding_interval(value)
    return (
        points(value["delta"]) if low is None else f"{points(value['delta'])} [{points(low)}, {points(high)}]"
    )


def deciding_interval(found: Difference) -> tuple[float | None, float | None]:
    """Return the ends of a difference's interval: the one that its verdict follows from, where it has one."""
    if found.get("delta_ci_low_corrected") is not None:
        return found["delta_ci_low_corrected"], found["delta_ci_high_corrected"]
    return found["delta_ci_low"], found["delta_ci_high"]


def populations(rows: Rows) -> dict[tuple[str, ...], list[SummaryRow]]:
    """Return rows of `summary` by scenario, test group, architecture and preset."""
    groups: dict[tuple[str, ...], list[SummaryRow]] = {}
    for row in rows:
        key = (row["scenario"], row["test_group"], row["architecture"], row["preset"])
        groups.setdefault(key, []).append(row)
    return groups


def by_series(rows: Rows) -> dict[str, dict[str, SummaryRow]]:
    """Return the rows of a population of `summary` by the name of their series, and by metric."""
    found: dict[str, dict[str, SummaryRow]] = {}
    for row in rows:
        found.setdefault(series_name(row, rows), {}).setdefault(row["metric"], row)
    return found


def score_tables(summary: Rows, judged: str = "") -> list[str]:
    """Return for each population a table of scores and one of differences.

    Args:
        summary: of ``report.json``.
        judged: the metric of the verdicts, whose differences stand with them.
    """
    parts = []
    for (scenario, group, architecture, preset), rows in populations(summary).items():
        lines = [*score_lines(rows, _SHOWN), ["chance", *(chance(rows, metric) for metric in _SHOWN)]]
        first = rows[0]
        about = (
            f"{first['images']} test images of {first['groups']} groups over {first['cells']} runs per arm"
        )
        title = f"Scenario {scenario}, {group}, {architecture}, preset {preset}"
        parts.append(f"**{prose(title)}** ({about}), in percent")
        parts.append(markdown_table(["arm", *(METRICS[metric] for metric in _SHOWN)], lines))
        parts += [_difference_table(rows), _clinical_table(rows)]
    return parts


def _clinical_table(rows: Rows) -> str:
    """Return sensitivity with its difference from the arm's own reference, and calibration; empty without."""
    known = [(name, own) for name, own in by_series(rows).items() if _SENSITIVITY in own]
    lines = [
        [name, estimate(own[_SENSITIVITY]), _against(own[_SENSITIVITY]), estimate(own.get(_CALIBRATION))]
        for name, own in known
    ]
    lines.append(["chance", chance(rows, _SENSITIVITY), "", ""])
    headings = ["arm", METRICS[_SENSITIVITY], "difference, points", METRICS[_CALIBRATION]]
    return markdown_table(headings, lines) if known else ""


def _against(row: SummaryRow) -> str:
    found = difference(row)
    return f"{found} against {row['reference']}" if found else ""


def score_lines(rows: Rows, metrics: Sequence[str]) -> list[list[str]]:
    """Return a line for each arm of a population: its name, and its means with their intervals."""
    found = by_series(rows).items()
    return [[name, *(estimate(own.get(metric)) for metric in metrics)] for name, own in found]


def chance(rows: Rows, metric: str) -> str:
    """Return what guessing reaches in a population, in percent; empty where that is not known."""
    known = [row["chance"] for row in rows if row["metric"] == metric and row["chance"] is not None]
    return percent(known[0]) if known else ""


def _difference_table(rows: Rows) -> str:
    by_name: dict[str, dict[str, SummaryRow]] = {}
    for row in rows:
        if row["role"] is not None:
            name = f"{series_name(row, rows)} - {row['reference']}"
            by_name.setdefault(name, {})[row["metric"]] = row
    lines = [[name, *(difference(one.get(metric)) for metric in _COMPARED)] for name, one in by_name.items()]
    headings = ["paired difference, points", *(METRICS[metric] for metric in _COMPARED)]
    return markdown_table(headings, lines) if lines else ""


def beside_the_paper(summary: Rows, published: Sequence[PublishedRow]) -> list[str]:
    """Return the numbers of Wang et al. beside ours, nothing where none are given."""
    if not published:
        return []
    # Where a study has several generators, the first one stands beside the paper's.
    rows = reference_rows(summary)
    ours = {_paper_key(row): row for row in reversed(rows) if row["metric"] == "accuracy"}
    theirs = {_paper_key(row): row for row in published if row["metric"] == "accuracy"}
    lines = []
    for key, row in theirs.items():
        mine = ours.get(key)
        printed = f"{row['percent']:.2f}"
        if row["plus_minus"] is not None:
            printed += f" ± {row['plus_minus']:.2f}"
        real = theirs.get((*key[:3], "real", ""))
        gain = f"{row['percent'] - real['percent']:+.2f}" if real and row["arm"] != "real" else ""
        strategy = f", {row['strategy']}" if row["table"] == 5 else ""
        lines.append(
            [
                f"{row['architecture']}, {row['arm']}{strategy}",
                f"{row['scenario']}, {row['test_group']}",
                f"Table {row['table']}",
                printed,
                estimate(mine) if mine else "not run",
                gain,
                difference(mine),
            ]
        )
    headings = ["architecture, arm", "scenario, test", "printed in", "paper, accuracy %", "ours, accuracy %"]
    about = (
        f"Paper: {CITATION}. Its numbers are for Fitzpatrick17k's seven conditions, Stable Diffusion 2.1, "
        "classifiers pretrained on ImageNet, and a checkpoint chosen on the test set; another corpus, "
        "generator or protocol is not expected to reach the same level. Compare what the arms add, not the "
        "levels."
    )
    return [about, markdown_table([*headings, "paper, gain", "ours, gain"], lines)]


def _paper_key(row: SummaryRow | PublishedRow) -> tuple[str, ...]:
    strategy = "" if row["arm"] == "real" else str(row["strategy"])
    return row["scenario"], row["test_group"], row["architecture"], row["arm"], strategy


def _spread(value: Angles) -> str:
    return f"{value['median']:.1f} ({value['p10']:.1f} to {value['p90']:.1f})"


def interval(value: Mapping[str, object], scale: float = 1.0, digits: int = 1) -> str:
    """Return a value with the ends of its interval, which follow it in a mapping; n/a where one lacks."""
    numbers = [number for number in value.values() if isinstance(number, (int, float))]
    if len(numbers) < len(value):
        return "n/a"
    middle, low, high = (f"{scale * number:.{digits}f}" for number in numbers)
    return f"{middle} [{low}, {high}]"


def tone_table(tone: ToneContent | None) -> list[str]:
    """Return what each transfer did to skin tone, nothing where none was measured."""
    if tone is None:
        return []
    lines = [
        [
            name,
            _spread(one["source"]),
            _spread(one["synthetic"]),
            _spread(one["target"]),
            interval(one["paired_shift"]),
            interval(one["share_of_gap"], 100, 0) + " %",
            f"{one['wasserstein_source_to_target']:.1f} to {one['wasserstein_synthetic_to_target']:.1f}",
        ]
        for name, one in tone["by_transfer"].items()
    ]
    headings = ["transfer", "source", "synthetic", "real target", "paired shift", "share of gap", "distance"]
    about = (
        "Individual typology angle of bare skin in degrees (lighter is higher): median (10th to 90th "
        "percentile); median paired shift and share of the source-to-target gap with 95% intervals over "
        "groups; Wasserstein distance to the real target group before and after. Photographs are not "
        "calibrated, and an angle is not a Fitzpatrick type."
    )
    return [markdown_table(headings, lines), about]


def lesion_table(lesion: Mapping[str, LesionRow] | None) -> list[str]:
    """Return how much of the lesions each transfer kept, nothing where it was not measured."""
    if not lesion:
        return []
    lines = [
        [
            name,
            interval(one["own_similarity"], digits=2),
            f"{one['mismatched_similarity']:.2f}",
            interval(one["kept"], 100, 0) + " %",
            interval(one["rank_of_own_source"], 100, 0) + " %",
        ]
        for name, one in lesion.items()
    ]
    headings = ["transfer", "own source", "other sources", "structure kept", "other sources beaten"]
    about = (
        "Structure term of SSIM on band-passed luminance (1: the same lesion but for tone, light and "
        "contrast), with each image's own source and with sources of the same class from other groups. 0% "
        "kept and 50% beaten mean that the lesion was replaced; 100% and 100% mean that it was kept."
    )
    return [markdown_table(headings, lines), about]


def split_table(splits: Sequence[SplitRow], *, patients_known: bool) -> str:
    """Return sizes, groups that cross and rows that are not used, by seed; empty where nothing was split."""
    if not splits:
        return ""
    names = list(dict.fromkeys(name for split in splits for name in split["sizes"]))
    counted = any(split.get("copies_crossing") is not None for split in splits)
    lines = []
    for split in splits:
        dropped = ", ".join(
            f"{count} {reason.replace('_', ' ')}" for reason, count in split["dropped"].items() if count
        )
        sizes = [str(split["sizes"].get(name, 0)) for name in names]
        crossing = [str(split["groups_crossing"])]
        crossing += [str(split.get("copies_crossing", ""))] if counted else []
        lines.append([str(split["seed"]), *sizes, *crossing, dropped or "none"])
    crossings = [
        "groups crossing" if patients_known else "known groups crossing",
        *(["copies crossing"] if counted else []),
    ]
    headings = ["seed", *(name.replace("_", " ") for name in names), *crossings, "not used"]
    return markdown_table(headings, lines)
