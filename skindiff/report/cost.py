"""What a study cost: trainings, steps and images, alike at every call, and time, which is not."""

from collections.abc import Mapping, Sequence

from skindiff.evaluation.statistics.rows import ResultRow, values_of
from skindiff.progress import duration
from skindiff.report.content import SynthesisRow, Timings
from skindiff.report.study_section import markdown_table

_CLASSIFIER = (
    *("scenario", "generator", "strategy", "arm", "ratio", "architecture", "preset"),
    *("split_seed", "train_seed"),
)
_WORDS = {
    "classifiers": "classifiers trained",
    "classifier_steps": "optimiser steps of all classifiers",
    "trainings": "other trainings (generators, detectors)",
    "training_steps": "their optimiser steps",
    "images_drawn": "images generated",
    "images_refused": "of these refused",
}


def study_cost(
    results: Sequence[ResultRow],
    synthesis: Sequence[SynthesisRow],
    trainings: Mapping[str, int],
) -> dict[str, int]:
    """Return counts of what was computed, without those that are zero.

    Args:
        results: rows of `results`; a classifier that was tested on several groups counts once.
        synthesis: rows with ``planned`` and ``drawn`` images.
        trainings: optimiser steps of the trainings that are no classifiers of `results`, by name.
    """
    steps = {values_of(row, _CLASSIFIER): row["optimiser_steps"] for row in results}
    drawn = sum(row.get("drawn", 0) for row in synthesis)
    planned = sum(row.get("planned", 0) for row in synthesis)
    counts = {
        "classifiers": len(steps),
        "classifier_steps": sum(steps.values()),
        "trainings": len(trainings),
        "training_steps": sum(trainings.values()),
        "images_drawn": planned,
        "images_refused": planned - drawn,
    }
    return {name: count for name, count in counts.items() if count}


def cost_table(cost: Mapping[str, int]) -> list[str]:
    """Return the counts of :func:`study_cost` as a table, nothing where there are none."""
    lines = [[_WORDS[name], f"{count:,}"] for name, count in cost.items()]
    return [markdown_table(["what was computed", "number"], lines)] if lines else []


def timing_rows(timings: Timings) -> list[tuple[str, str]]:
    """Return what took how long, in words.

    Args:
        timings: seconds by stage; a stage may be a mapping too, of seconds by part, which are summed.
    """
    rows = []
    for name, value in timings.items():
        parts = list(value.values()) if isinstance(value, Mapping) else [value]
        several = f" ({len(parts)} times)" if len(parts) > 1 else ""
        known = [float(part) for part in parts if part is not None]
        if known:
            words = name.replace("seconds_of_", "").replace("_", " ")
            rows.append((words + several, duration(sum(known))))
    return rows
