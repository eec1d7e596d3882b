"""``skindiff report RUN``: the verdicts and the scores of a run, in the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skindiff.classification.rows import METRICS
from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import say, table
from skindiff.evaluation.statistics.rows import SummaryRow
from skindiff.evaluation.statistics.verdicts import reference_rows
from skindiff.report.read import read_report
from skindiff.report.tables import by_series, chance, difference, populations, score_lines
from skindiff.wrong_settings import refuse


@dataclass
class ReportCommand:
    """Show the verdicts and the scores of a run.

    skindiff report runs/fitz_lora_smoke
    """

    run: str = ""
    """Folder of a run that has finished."""
    metrics: list[str] = field(default_factory=lambda: ["accuracy", "balanced_accuracy", "f1", "auroc"])
    """Columns of the table: accuracy, balanced_accuracy, precision, recall, f1, auroc,
    sensitivity_at_90_specificity, calibration_error."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if not self.run:
            refuse(f"{path}run is not given: name the folder of a run, such as runs/evaluate")
        if not self.metrics or not set(self.metrics) <= set(METRICS):
            refuse(f"{path}metrics: {self.metrics} is not a list of {', '.join(METRICS)}")


def main(words: Sequence[str]) -> int:
    """Show a run's report."""
    config = parse_command(ReportCommand, words, "report", positional=["run"])
    show(Path(config.run), config.metrics)
    return 0


def show(folder: Path, metrics: Sequence[str] = ("accuracy", "balanced_accuracy", "f1", "auroc")) -> None:
    """Print the report of a run.

    Args:
        folder: of the run.
        metrics: columns of the table.

    Raises:
        RunFolderError: there is no report.
    """
    content = read_report(folder)
    say(f"{content['title']}  ({content['recipe']})")
    corpus = content["corpus"]
    counts = [f"{corpus[name]} {name}" for name in ("images", "groups") if name in corpus]
    say(f"corpus {corpus.get('name', '')}: {' of '.join(counts)}\n")
    verdicts = content["verdicts"]
    asked = [one for one in verdicts if one.get("role") in ("primary", "then")] or verdicts
    for verdict in asked:
        say(f"- {verdict['sentence']}")
    if rest := len(verdicts) - len(asked):
        say(f"- {rest} more, exploratory: {folder / 'report.md'}")
    for rows in populations(reference_rows(content["summary"])).values():
        say()
        say("\n".join(_scores(rows, metrics)))
    for note in [*content.get("reading", ()), *content["notes"]]:
        say(f"\nnote: {note}")
    say(f"\nreport: {folder / 'report.md'}")
    if (folder / "report.html").is_file():
        say(f"page: {folder / 'report.html'}")


def _scores(rows: Sequence[SummaryRow], metrics: Sequence[str]) -> list[str]:
    """Return the lines of a table: a line for each arm, its means and intervals in percent."""
    first, judged = rows[0], by_series(rows).values()
    changes = [difference(own.get("balanced_accuracy")) for own in judged]
    lines = [[*line, change] for line, change in zip(score_lines(rows, metrics), changes, strict=True)]
    guesses = [chance(rows, metric) for metric in metrics]
    lines += [["chance", *guesses, ""]] if any(guesses) else []
    about = (
        f"{first['architecture']}, scenario {first['scenario']}, {first['test_group']} test images: "
        f"{first['images']} of {first['groups']} groups, {first['cells']} runs per arm; percent [95%]"
    )
    headings = ["arm", *(METRICS[metric] for metric in metrics), "balanced - real"]
    return [about, *table(headings, lines)]
