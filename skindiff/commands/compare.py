"""``skindiff compare RUN RUN ...``: runs side by side, in the terminal or as a page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skindiff.classification.rows import METRICS
from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import say, suggest, table
from skindiff.report.compare import (
    PAGE_FILE,
    Run,
    facts,
    read_runs,
    score_tables,
    settings_table,
    unpaired,
    write_comparison,
)
from skindiff.wrong_settings import refuse


@dataclass
class CompareCommand:
    """Set runs side by side: where they differ, and what each says of every arm.

    skindiff compare runs/rank8 runs/rank16 --output_dir runs/ranks
    """

    runs: list[str] = field(default_factory=list)
    """Folders of two or more finished runs."""
    metrics: list[str] = field(default_factory=lambda: ["balanced_accuracy", "accuracy", "auroc"])
    """Scores to set side by side: accuracy, balanced_accuracy, precision, recall, f1, auroc,
    sensitivity_at_90_specificity, calibration_error."""
    output_dir: str | None = None
    """Folder for compare.md and compare.html; null prints to the terminal instead."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if len(self.runs) < 2:
            refuse(f"{path}runs: name at least two folders, such as runs/rank8 runs/rank16")
        if not self.metrics or not set(self.metrics) <= set(METRICS):
            refuse(f"{path}metrics: {self.metrics} is not a list of {', '.join(METRICS)}")


def main(words: Sequence[str]) -> int:
    """Compare runs."""
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    named = [json.dumps(list(words[:first]))] if first else []
    config = parse_command(CompareCommand, [*named, *words[first:]], "compare", positional=["runs"])
    runs = read_runs([Path(folder) for folder in config.runs])
    if config.output_dir is None:
        show(runs, config.metrics)
        say()
        suggest(["skindiff", "compare", *config.runs, "--output_dir", "runs/compared"])
        return 0
    path = write_comparison(Path(config.output_dir), runs, config.metrics)
    for warning in unpaired(runs):
        say(f"warning: {warning}")
    say(f"comparison: {path}")
    say(f"page: {path.parent / PAGE_FILE}")
    return 0


def show(runs: Sequence[Run], metrics: Sequence[str]) -> None:
    """Print a comparison.

    Args:
        runs: of :func:`~skindiff.report.compare.read_runs`.
        metrics: names of scores.
    """
    say("\n".join(table(*facts(runs))))
    for warning in unpaired(runs):
        say(f"\nwarning: {warning}")
    for title, scores, changes in score_tables(runs, metrics):
        say(f"\n{title}, percent [95%]\n")
        say("\n".join(table(*scores)))
        if changes[1]:
            say()
            say("\n".join(table(*changes)))
    headings, settings = settings_table(runs)
    if settings:
        say("\nsettings that differ\n")
        say("\n".join(table(headings, settings)))
