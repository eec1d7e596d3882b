"""Runs side by side, from their ``report.json``: where they differ, and what each says of every arm."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skindiff.classification.rows import METRICS
from skindiff.errors import ConfigError
from skindiff.escaping import prose
from skindiff.evaluation.statistics.rows import SERIES, PopulationColumn, SummaryRow, agree
from skindiff.evaluation.statistics.verdicts import reference_rows, series_name
from skindiff.files import real_path, write_atomically
from skindiff.report.content import ReportContent
from skindiff.report.drawing import DARK
from skindiff.report.page import fill_page
from skindiff.report.read import read_report
from skindiff.report.run_pictures import RunDifference, draw_runs
from skindiff.report.study_section import markdown_table
from skindiff.report.tables import difference, estimate
from skindiff.report.text import Section, images, paragraphs

TITLE = "Runs side by side"
TEXT_FILE, PAGE_FILE, PICTURE_FILE = "compare.md", "compare.html", "compare.png"
_NONE = "—"
_LONGEST = 60
_NO_RESULT = ("threads", "trackers", "include_images")
"""Settings that change no score."""
_CORPUS = ("name", "image_size", "audit")
"""Settings of every corpus; of the others those count that the chosen corpus has."""
_TEST_SETS = (
    *("corpus", "split", "fractions", "split_seeds", "subset_seed", "per_class", "generator_share"),
    "seeds",
)
"""Settings that decide which images are tested, in all recipes together."""
_ABOUT = (
    "Each column is one run: intervals (95%) and differences to `real` hold within that run. No column is "
    "tested against another, and whether two intervals overlap is not such a test."
)

Table = tuple[list[str], list[list[str]]]
"""Headings and rows."""


@dataclass(frozen=True)
class Run:
    """A run to be compared: what it is called here, and the content of its ``report.json``."""

    name: str
    content: ReportContent


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Return the runs of some folders, each under the shortest end of its path that no other has.

    Raises:
        ConfigError: there are fewer than two, or a folder is named twice.
        RunFolderError: a folder holds no report that can be read.
    """
    if len(folders) < 2:
        raise ConfigError("runs: name at least two folders of finished runs")
    places = [real_path(folder) for folder in folders]
    if len(set(places)) < len(places):
        raise ConfigError(f"runs: {', '.join(map(str, folders))} names a folder twice; name each once")
    return [
        Run(_short(place, places), read_report(folder)) for place, folder in zip(places, folders, strict=True)
    ]


def _short(place: Path, places: Sequence[Path]) -> str:
    for length in range(1, len(place.parts)):
        end = place.parts[-length:]
        if sum(other.parts[-length:] == end for other in places) == 1:
            return "/".join(end)
    return str(place)


def facts(runs: Sequence[Run]) -> Table:
    """Return what each run is about: recipe, corpus, seeds, sizes."""
    rows = {
        "recipe": [run.content["recipe"] for run in runs],
        "corpus": [_corpus(run) for run in runs],
        "scenario": [_listed(row["scenario"] for row in run.content["summary"]) for run in runs],
        "split seeds": [_listed(split["seed"] for split in run.content["splits"]) for run in runs],
        "training seeds": [_listed(row["train_seed"] for row in run.content["results"]) for run in runs],
        "classifier": [_classifier(run) for run in runs],
        "images generated": [_drawn(run) for run in runs],
    }
    lines = [[name, *found] for name, found in rows.items() if set(found) != {_NONE}]
    return ["", *(run.name for run in runs)], lines


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in dict.fromkeys(values)) or _NONE


def _corpus(run: Run) -> str:
    corpus = run.content["corpus"]
    counts = ", ".join(f"{corpus[name]} {name}" for name in ("images", "groups") if name in corpus)
    return ": ".join(part for part in (str(corpus.get("name", "")), counts) if part) or _NONE


def _classifier(run: Run) -> str:
    kinds = {(row["architecture"], row.get("optimiser_steps") or 0) for row in run.content["results"]}
    return ", ".join(f"{name}, {steps} steps" if steps else name for name, steps in sorted(kinds)) or _NONE


def _drawn(run: Run) -> str:
    drawn = sum(row.get("drawn", 0) for row in run.content.get("synthesis", ()))
    return str(drawn) if drawn else _NONE


def settings_table(runs: Sequence[Run]) -> Table:
    """Return the settings in which runs differ, a whole part in one line where some run has none of it."""
    lines = [
        [name, *map(_value, values)]
        for name, values in _differences("", [_deciding(run.content["config"]) for run in runs])
    ]
    return ["setting", *(run.name for run in runs)], lines


def _deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that can change a result."""
    kept = {name: value for name, value in config.items() if name not in _NO_RESULT}
    if isinstance(kept.get("corpus"), Mapping):
        chosen = (*_CORPUS, kept["corpus"].get("name"))
        kept["corpus"] = {name: value for name, value in kept["corpus"].items() if name in chosen}
    return kept


_ABSENT = object()


def _differences(path: str, values: Sequence[Any]) -> list[tuple[str, list[Any]]]:
    if all(value == values[0] for value in values):
        return []
    if not all(isinstance(value, Mapping) for value in values):
        return [(path, list(values))]
    names = dict.fromkeys(name for value in values for name in value)
    return [
        found
        for name in names
        for found in _differences(
            f"{path}.{name}" if path else name, [_part(value, name) for value in values]
        )
    ]


def _part(value: Mapping[str, Any], name: str) -> Any:
    return value.get(name, _ABSENT)


def _value(value: Any) -> str:
    if value is _ABSENT:
        return _NONE
    if isinstance(value, Mapping):
        return "set"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def unpaired(runs: Sequence[Run]) -> list[str]:
    """Return why runs cannot be set against the first image by image, nothing where they can."""
    found = []
    first = runs[0]
    for run in runs[1:]:
        reasons = _reasons(first.content, run.content)
        if reasons:
            found.append(
                f"{first.name} and {run.name} were tested on other images ({'; '.join(reasons)}): a "
                "difference between these columns is not paired, and may come from the test images alone."
            )
    return found


def _reasons(mine: ReportContent, theirs: ReportContent) -> list[str]:
    names = [content["corpus"].get("name") for content in (mine, theirs)]
    if names[0] != names[1]:
        return [f"corpus {names[0]}, corpus {names[1]}"]
    reasons = []
    if mine["corpus"] != theirs["corpus"]:
        reasons.append("other images of the same corpus")
    configs = [_deciding(content["config"]) for content in (mine, theirs)]
    settings = [{name: config[name] for name in _TEST_SETS if name in config} for config in configs]
    changed = [name for name, _ in _differences("", settings)]
    if changed:
        reasons.append(f"{', '.join(changed[:4])}{' and more' if len(changed) > 4 else ''} differ")
    if not reasons and _tested(mine) != _tested(theirs):
        reasons.append("other numbers of test images")
    return reasons


def _tested(content: ReportContent) -> set[tuple[str, int, int]]:
    return {(row["test_group"], row["images"], row["groups"]) for row in content["summary"]}


def score_tables(runs: Sequence[Run], metrics: Sequence[str]) -> list[tuple[str, Table, Table]]:
    """Return for each test group, architecture and metric a title, scores and differences by arm and run.

    Arms are matched by their names in each run's own report. Differences are to the run's own `real`, with
    the verdict where there is one.
    """
    by_run = [_by_place(run.content) for run in runs]
    places = dict.fromkeys(place for found in by_run for place in found)
    tables = []
    for place in places:
        those = [(run, found[place]) for run, found in zip(runs, by_run, strict=True) if place in found]
        names = [run.name for run, _ in those]
        arms = dict.fromkeys(name for _, found in those for name, _ in found)
        for metric in metrics:
            rows = {name: [found.get((name, metric)) for _, found in those] for name in arms}
            scores = [[name, *(estimate(row) if row else _NONE for row in own)] for name, own in rows.items()]
            changes = [
                [name, *(_change(run.content, row) for (run, _), row in zip(those, own, strict=True))]
                for name, own in rows.items()
                if any(row and row["delta"] is not None for row in own)
            ]
            title = f"{METRICS[metric]}, {', '.join(place)}"
            tables.append((title, (["arm", *names], scores), (["minus real, points", *names], changes)))
    return tables


def _by_place(content: ReportContent) -> dict[tuple[str, ...], dict[tuple[str, str], SummaryRow]]:
    """Return rows of `summary` by what was tested how, and by series and metric.

    Scenario and preset stand in the place only where a run has several: they may be what is compared.
    """
    summary = reference_rows(content["summary"])
    names: tuple[PopulationColumn, ...] = ("scenario", "preset")
    several = [name for name in names if len({row[name] for row in summary}) > 1]
    found: dict[tuple[str, ...], dict[tuple[str, str], SummaryRow]] = {}
    for row in summary:
        same = [other for other in summary if agree(other, row, _POPULATION)]
        place = (
            f"{row['test_group']} test images",
            row["architecture"],
            *(str(row[name]) for name in several),
        )
        found.setdefault(place, {})[series_name(row, same), row["metric"]] = row
    return found


_POPULATION = ("scenario", "test_group", "architecture", "preset")


def _change(content: ReportContent, row: SummaryRow | None) -> str:
    if row is None or row["delta"] is None:
        return _NONE
    own = (*SERIES, "metric")
    said = [
        verdict["verdict"]
        for verdict in content.get("verdicts", ())
        if verdict["reference"] == "real" and agree(verdict, row, own)
    ]
    return ", ".join([difference(row), *said])


def compare_sections(runs: Sequence[Run], metrics: Sequence[str]) -> list[Section]:
    """Return the sections of ``compare.md``, without the picture."""
    warnings = [f"- {prose(one)}" for one in unpaired(runs)]
    paired = "The runs were tested on the same images, as far as their settings and counts tell."
    settings = settings_table(runs)
    scores = score_tables(runs, metrics)
    parts = [
        paragraphs(
            f"**{prose(title)}**, in percent", *(markdown_table(*table) for table in tables if table[1])
        )
        for title, *tables in scores
    ]
    without = ", ".join(run.name for run in runs if not run.content["summary"])
    sections = [
        Section("The runs", markdown_table(*facts(runs))),
        Section("Can they be compared?", "\n".join(warnings) or paired),
        Section("Scores", paragraphs(_ABOUT, *parts) if parts else ""),
        Section("Without scores", prose(f"No classifier was compared in {without}.") if without else ""),
        Section(
            "Settings that differ",
            markdown_table(*settings) if settings[1] else "None that changes a result.",
        ),
    ]
    return [section for section in sections if section.body]


def differences_of(runs: Sequence[Run], metric: str) -> dict[str, list[RunDifference]]:
    """Return the differences to `real` by place and arm, one for each run that has it."""
    by_run = [_by_place(run.content) for run in runs]
    several = len({place for found in by_run for place in found}) > 1
    differences: dict[str, list[RunDifference]] = {}
    for run, found in zip(runs, by_run, strict=True):
        for place, rows in found.items():
            for (name, of_metric), row in rows.items():
                if of_metric == metric and row["delta"] is not None:
                    arm = ", ".join((name, *place)) if several else name
                    differences.setdefault(arm, []).append(RunDifference(run.name, row))
    return differences


def write_comparison(folder: Path, runs: Sequence[Run], metrics: Sequence[str]) -> Path:
    """Write ``compare.md``, ``compare.html`` and a picture into ``folder``; return the path of the text.

    Args:
        folder: made if need be.
        runs: of :func:`read_runs`.
        metrics: names of scores; the first is plotted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sections = compare_sections(runs, metrics)
    found = differences_of(runs, metrics[0])
    if found:
        (folder / DARK).mkdir(exist_ok=True)
        draw_runs(found, [run.name for run in runs], METRICS[metrics[0]], folder / PICTURE_FILE)
        caption = f"{METRICS[metrics[0]]}: differences to real in points, with 95% intervals."
        sections.insert(2, Section("Differences to real", images([(PICTURE_FILE, caption)])))
    bodies = [f"## {section.title}\n\n{section.body}" for section in sections]
    page = fill_page(TITLE, sections, folder, kicker="skindiff · compare")
    write_atomically(folder / PAGE_FILE, page)
    write_atomically(folder / TEXT_FILE, paragraphs(f"# {TITLE}", *bodies) + "\n")
    return folder / TEXT_FILE
