"""Which class is taken for which: counts, by population and series."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skindiff.classification.cells import Cell
from skindiff.evaluation.statistics.rows import SummaryRow
from skindiff.evaluation.statistics.verdicts import series_name
from skindiff.report.content import ConfusionRow


def confusion_counts(cells: Sequence[Cell]) -> NDArray[np.float64]:
    """Return how often each class (row) was called each class (column), summed over cells."""
    classes = len(cells[0].class_names)
    counts = np.zeros((classes, classes))
    for cell in cells:
        np.add.at(counts, (cell.labels, cell.probabilities.argmax(1)), 1)
    return counts


def confusion_groups(
    cells: Sequence[Cell], summary: Sequence[SummaryRow]
) -> dict[str, dict[str, list[Cell]]]:
    """Return cells by population (one picture each) and series (one matrix each)."""
    groups: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        scenario, test_group, architecture, preset = cell.key.population
        same = [
            other
            for other in summary
            if (other["scenario"], other["test_group"], other["architecture"], other["preset"])
            == cell.key.population
        ]
        title = series_name(cell.key.series_columns, same)
        name = f"scenario {scenario} {test_group} {architecture} {preset}"
        groups.setdefault(name, {}).setdefault(title, []).append(cell)
    return groups


def largest_confusions(groups: Mapping[str, Mapping[str, Sequence[Cell]]]) -> list[ConfusionRow]:
    """Return for each population and series the error that most images of a class share.

    Args:
        groups: of :func:`confusion_groups`.

    Returns:
        Rows with ``population``, ``series``, ``true`` and ``predicted`` (classes), and ``share`` (of the
        images of the true class, over all runs, in [0, 1]).
    """
    rows: list[ConfusionRow] = []
    for population, series in groups.items():
        for name, cells in series.items():
            counts = confusion_counts(cells)
            shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
            np.fill_diagonal(shares, 0)
            true, said = np.unravel_index(shares.argmax(), shares.shape)
            classes = cells[0].class_names
            rows.append(
                {
                    "population": population,
                    "series": name,
                    "true": classes[true],
                    "predicted": classes[said],
                    "share": float(shares[true, said]),
                }
            )
    return rows
