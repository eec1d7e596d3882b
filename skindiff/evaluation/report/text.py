"""``report.md`` from the content of ``report.json``: words and tables, no computing."""

from collections.abc import Mapping, Sequence
from typing import Any

from skindiff.evaluation.published.fitzpatrick import CITATION
from skindiff.evaluation.statistics.verdicts import judged_differences, points, series_name

Pictures = Mapping[str, Sequence[tuple[str, str]]]

_SHOWN = ("accuracy", "balanced_accuracy", "f1", "auroc")
_HEADINGS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "macro F1",
    "auroc": "AUROC",
}
_HOW = (
    "Means are over split and training seeds. Intervals (95%) and paired differences come from a crossed "
    "bootstrap over groups of test images (patients, lesions or duplicate clusters), split seeds and "
    "training seeds; a difference is taken image by image and seed by seed. They are not corrected for "
    "the number of arms, and with three seeds or fewer they tend to be too narrow where seeds matter "
    "most. Macro scores run over the classes that have test images."
)


def render_markdown(content: Mapping[str, Any], pictures: Pictures) -> str:
    """Return the text of ``report.md``.

    Args:
        content: of ``report.json``.
        pictures: (path, caption) by section, as drawn.
    """
    sections = [
        _heading(content),
        _verdicts(content["verdicts"]),
        _section("Is the comparison fair?", "\n".join(f"- {flag}" for flag in content["flags"])),
        _scores(content["summary"], pictures),
        _beside_the_paper(content["summary"], content["published"]),
        _tone(content["skin_tone"], pictures),
        _lesion(content["lesion"]),
        _section("Samples", _images(pictures, "samples")),
        _skin_types(content["results"]),
        _section("Confusions", _images(pictures, "confusions")),
        _section("Training", _images(pictures, "curves")),
        _splits(content["splits"], content["corpus"]),
        _section("How to read this", "\n".join(f"- {note}" for note in [_HOW, *content["notes"]])),
        "Every number, the settings, versions and timings: `report.json`. To run it again: `config.yaml`.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _section(title: str, *parts: str) -> str:
    body = [part for part in parts if part]
    return "\n\n".join([f"## {title}", *body]) if body else ""


def _images(pictures: Pictures, section: str) -> str:
    return "\n\n".join(f"![{caption}]({path})" for path, caption in pictures.get(section, ()))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(headings) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows))


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _estimate(row: Mapping[str, Any] | None) -> str:
    if row is None or row["mean"] is None:
        return "n/a"
    return f"{_percent(row['mean'])} [{_percent(row['ci_low'])}, {_percent(row['ci_high'])}]"


def _difference(value: Mapping[str, Any] | None) -> str:
    if value is None or value["delta"] is None:
        return ""
    return f"{points(value['delta'])} [{points(value['delta_ci_low'])}, {points(value['delta_ci_high'])}]"


def _heading(content: Mapping[str, Any]) -> str:
    corpus = content["corpus"]
    counts = ", ".join(f"{value} {name}" for name, value in corpus.items() if isinstance(value, int))
    return f"# {content['title']}" + (f"\n\nCorpus: {counts}." if counts else "")


def _verdicts(found: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"- **{one['verdict']}**: {one['sentence']}" for one in found if one["reference"] == "real"]
    other = [f"- {one['sentence']}" for one in found if one["reference"] != "real"]
    against = "Against the controls:\n\n" + "\n".join(other) if other else ""
    return _section("What was found", "\n".join(lines), against)


def _populations(summary: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in summary:
        key = (row["scenario"], row["test_group"], row["architecture"], row["preset"])
        groups.setdefault(key, []).append(row)
    return groups


def _series(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return rows by series name and metric."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(series_name(row, rows), {})[row["metric"]] = row
    return found


def _scores(summary: Sequence[Mapping[str, Any]], pictures: Pictures) -> str:
    parts = []
    for (scenario, group, architecture, preset), rows in _populations(summary).items():
        lines = []
        for name, by_metric in _series(rows).items():
            lines.append([name, *(_estimate(by_metric.get(metric)) for metric in _SHOWN)])
        first = rows[0]
        about = (
            f"{first['images']} test images of {first['groups']} groups over {first['cells']} runs per arm"
        )
        title = f"**Scenario {scenario}, {group}, {architecture}, preset {preset}** ({about}), in percent"
        table = _table(["arm", *(_HEADINGS[metric] for metric in _SHOWN)], lines)
        parts.append(f"{title}\n\n{table}\n\n{_difference_table(rows)}".rstrip())
    return _section("Scores", *parts, _images(pictures, "differences"))


def _difference_table(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = ("accuracy", "balanced_accuracy", "auroc")
    lines = []
    for name, by_metric in _series(rows).items():
        judged = [judged_differences(by_metric[metric], rows) for metric in shown]
        for reference in judged[0]:
            lines.append([f"{name} - {reference}", *(_difference(one.get(reference)) for one in judged)])
    if not lines:
        return ""
    return _table(["paired difference, points", *(_HEADINGS[metric] for metric in shown)], lines)


def _beside_the_paper(summary: Sequence[Mapping[str, Any]], published: Sequence[Mapping[str, Any]]) -> str:
    if not published:
        return ""
    ours = {_paper_key(row): row for row in summary if row["metric"] == "accuracy"}
    theirs = {_paper_key(row): row for row in published if row["metric"] == "accuracy"}
    lines = []
    for key, row in theirs.items():
        mine = ours.get(key)
        percent = f"{row['percent']:.2f}"
        if row["plus_minus"] is not None:
            percent += f" ± {row['plus_minus']:.2f}"
        real = theirs.get((*key[:3], "real", ""))
        gain = f"{row['percent'] - real['percent']:+.2f}" if real and row["arm"] != "real" else ""
        lines.append(
            [
                f"{row['architecture']}, {row['arm']}"
                + (f", {row['strategy']}" if row["table"] == 5 else ""),
                f"{row['scenario']}, {row['test_group']}",
                f"Table {row['table']}",
                percent,
                _estimate(mine) if mine else "not run",
                gain,
                _difference(mine),
            ]
        )
    headings = ["architecture, arm", "scenario, test", "printed in", "paper, accuracy %", "ours, accuracy %"]
    about = (
        f"Paper: {CITATION}. Its numbers are for Fitzpatrick17k's seven conditions, Stable Diffusion 2.1, "
        "classifiers pretrained on ImageNet, and a checkpoint chosen on the test set; another corpus, "
        "generator or protocol is not expected to reach the same level. Compare what the arms add, not the "
        "levels."
    )
    return _section("Beside the paper", about, _table([*headings, "paper, gain", "ours, gain"], lines))


def _paper_key(row: Mapping[str, Any]) -> tuple[str, ...]:
    strategy = "" if row["arm"] == "real" else str(row["strategy"])
    return row["scenario"], row["test_group"], row["architecture"], row["arm"], strategy


def _spread(value: Mapping[str, float]) -> str:
    return f"{value['median']:.1f} ({value['p10']:.1f} to {value['p90']:.1f})"


def _interval(value: Mapping[str, float | None], scale: float = 1.0, digits: int = 1) -> str:
    numbers = list(value.values())
    if any(number is None for number in numbers):
        return "n/a"
    middle, low, high = (f"{scale * float(number or 0.0):.{digits}f}" for number in numbers)
    return f"{middle} [{low}, {high}]"


def _tone(tone: Mapping[str, Any] | None, pictures: Pictures) -> str:
    if tone is None:
        return ""
    lines = [
        [
            name,
            _spread(one["source"]),
            _spread(one["synthetic"]),
            _spread(one["target"]),
            _interval(one["paired_shift"]),
            _interval(one["share_of_gap"], 100, 0) + " %",
            f"{one['wasserstein_source_to_target']:.1f} to {one['wasserstein_synthetic_to_target']:.1f}",
        ]
        for name, one in tone["by_transfer"].items()
    ]
    headings = ["transfer", "source", "synthetic", "real target", "paired shift", "share of gap", "distance"]
    about = (
        "Individual typology angle of bare skin in degrees (lighter is higher): median (10th to 90th "
        "percentile); median paired shift and share of the source-to-target gap with 95% intervals over "
        "groups; Wasserstein distance to the real target group before and after. Photographs are not "
        "calibrated, and an angle is no Fitzpatrick type."
    )
    return _section("Skin tone", about, _table(headings, lines), _images(pictures, "tone"))


def _lesion(lesion: Mapping[str, Any] | None) -> str:
    if not lesion:
        return ""
    lines = [
        [
            name,
            _interval(one["own_similarity"], digits=2),
            f"{one['mismatched_similarity']:.2f}",
            _interval(one["kept"], 100, 0) + " %",
            _interval(one["rank_of_own_source"], 100, 0) + " %",
        ]
        for name, one in lesion.items()
    ]
    headings = ["transfer", "own source", "other sources", "structure kept", "other sources beaten"]
    about = (
        "Structure term of SSIM on band-passed luminance (1: the same lesion but for tone, light and "
        "contrast), with each image's own source and with sources of the same class from other groups. 0% "
        "kept and 50% beaten: the lesion was repainted."
    )
    return _section("Lesions", about, _table(headings, lines))


def _skin_types(results: Sequence[Mapping[str, Any]]) -> str:
    types = sorted({name for row in results for name in row["per_skin_type_recall"]})
    if not types:
        return ""
    lines = []
    for rows in _populations(results).values():
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            groups.setdefault(series_name(row, rows), []).append(row)
        for name, members in groups.items():
            first = members[0]
            where = f"{name} ({first['architecture']}, {first['scenario']}, {first['test_group']})"
            lines.append([where, *(_mean_recall(members, skin_type) for skin_type in types)])
    about = (
        "Macro recall in percent, mean over runs; types with too few test images for a score are left blank."
    )
    return _section("By skin type", about, _table(["arm", *(f"type {name}" for name in types)], lines))


def _mean_recall(rows: Sequence[Mapping[str, Any]], skin_type: str) -> str:
    values = [row["per_skin_type_recall"].get(skin_type) for row in rows]
    known = [value for value in values if value is not None]
    return _percent(sum(known) / len(known)) if known else ""


def _splits(splits: Sequence[Mapping[str, Any]], corpus: Mapping[str, Any]) -> str:
    if not splits:
        return ""
    names = list(dict.fromkeys(name for split in splits for name in split["sizes"]))
    lines = []
    for split in splits:
        dropped = ", ".join(
            f"{count} {reason.replace('_', ' ')}" for reason, count in split["dropped"].items() if count
        )
        sizes = [str(split["sizes"].get(name, 0)) for name in names]
        lines.append([str(split["seed"]), *sizes, str(split["groups_crossing"]), dropped or "none"])
    headings = ["seed", *(name.replace("_", " ") for name in names), "groups crossing", "not used"]
    about = ""
    if corpus.get("quarantined") or corpus.get("missing"):
        about = "What is missing or could not be used is listed in `missing.txt` and `quarantined.csv`."
    return _section("Splits", _table(headings, lines), about)
