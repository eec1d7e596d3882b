"""Print in one table what each step from a paper's protocol to a fair one does to the gain, by study.

    python scripts/published_gains.py "[runs/ham_fewshot_ham10000, runs/medmnist_augment_breastmnist]"

The runs are finished; `--recorded only` makes one in minutes from the cells that are kept beside its recipe.
The table of docs/published_gains.md is what this prints.
"""

from pathlib import Path

from jsonargparse import auto_cli

from skindiff.classification.rows import METRICS
from skindiff.errors import RunFolderError
from skindiff.report.ladder import HEADINGS, step_cells
from skindiff.report.read import read_report
from skindiff.report.study_section import markdown_table


def gains_of(run: Path) -> list[list[str]]:
    """Return the rows of a run; the study and the score are named in the first."""
    report = read_report(run)
    rows = report.get("ladder") or []
    if not rows:
        raise RunFolderError(f"{run} takes no published gain apart; name a run whose settings have a ladder")
    several = len({row["strategy"] for row in rows}) > 1
    named = [f"{report['recipe']}, {METRICS[rows[0]['metric']]}", *[""] * (len(rows) - 1)]
    return [[name, *step_cells(row, several)] for name, row in zip(named, rows, strict=True)]


def main(runs: list[str]) -> None:
    """Print the table.

    Args:
        runs: folders of finished runs.
    """
    lines = [line for run in runs for line in gains_of(Path(run))]
    headings = ["study, score", "step", "difference", "optimiser steps", "score, %", *HEADINGS]
    print(markdown_table(headings, lines))


if __name__ == "__main__":
    auto_cli(main)
