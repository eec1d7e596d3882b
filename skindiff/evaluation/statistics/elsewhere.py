"""How classifiers do on another corpus, and how much of what they reach at home is lost there.

The images of another corpus are one more sample of patients, and the same ones test every split: the design
"one test set for 5 splits" of :mod:`.paired_bootstrap`, and means and differences between arms come from
there.

The difference to the study's own test images, there minus here, is taken for each training, which is the
same in both places, and averaged. Its variance has the two parts of :mod:`.estimates`: the images of both
corpora are resampled at once, each corpus on its own, so that what all trainings share is the sum of both;
what trainings differ by is the spread of their differences.

Coverage. No true difference, 1,000 simulated studies of each design, 95% intervals; two binomial standard
errors are 1.4 points (``scripts/calibrate_intervals.py``):

========================  ====  =====  ==============
design                    BA    AUROC  balanced Brier
========================  ====  =====  ==============
clinical, 3 splits        95.3  96.2   95.8
clinical, 5 splits        94.5  95.7   95.0
phantom, 5 splits         94.0  94.7   94.4
lesions as in HAM10000    95.2  93.9   94.3
seeds dominate, 3 splits  95.4  96.5   95.7
one test set, 5 splits    95.4  95.5   94.9
one split x 5 trainings   95.0  95.2   95.3
========================  ====  =====  ==============

Both corpora are asked the same: by the same classes, of which only those count that both have images of. What
depends on how common classes are (accuracy, precision, F1) is not compared, as another clinic has other
shares; balanced measures, AUROC and a Brier score in which every class weighs alike are.
"""

from collections.abc import Sequence

from skindiff.classification.cells import Cell, CellKey
from skindiff.classification.external_sets import ExternalSet
from skindiff.classification.rows import ELSEWHERE
from skindiff.evaluation.statistics.estimates import LEVEL
from skindiff.evaluation.statistics.paired_bootstrap import Resampling, Series, mean_over_seeds
from skindiff.evaluation.statistics.rows import ElsewhereRow


def elsewhere_rows(
    here: Sequence[Cell],
    there: Sequence[Cell],
    sets: Sequence[ExternalSet],
    *,
    metrics: Sequence[str] = tuple(ELSEWHERE),
    replicates: int = 2000,
    level: float = LEVEL,
    seed: int = 0,
) -> list[ElsewhereRow]:
    """Return a row for every other corpus, series and score: the means in both places and their difference.

    Args:
        here: predictions on one of the study's own test sets.
        there: predictions on other corpora, whose ``test_group`` is the name of the set.
        sets: the other corpora.
        metrics: scores to compare.
        replicates: of the bootstrap.
        level: of the intervals, in (0, 1).
        seed: names the random streams.
    """
    rows: list[ElsewhereRow] = []
    for one in sets:
        present = sorted(set(one.images["label"][:]))
        own = [one.table.asked_here(cell, present) for cell in here]
        other = [cell for cell in there if cell.key.test_group == one.name]
        rows += compared(own, other, one.name, metrics, replicates, level, seed)
    return rows


def compared(
    here: Sequence[Cell],
    there: Sequence[Cell],
    name: str,
    metrics: Sequence[str],
    replicates: int = 2000,
    level: float = LEVEL,
    seed: int = 0,
) -> list[ElsewhereRow]:
    """Return the rows of one other corpus, where both are asked the same; see :func:`elsewhere_rows`."""
    if not here or not there:
        return []
    own, other = (
        _series(cells, Resampling(cells, replicates, "elsewhere", place, name, seed), metrics)
        for cells, place in ((here, "here"), (there, "there"))
    )
    return [
        _row(own[key], other[key], metric, name, level) for key in other if key in own for metric in metrics
    ]


def _series(cells: Sequence[Cell], drawn: Resampling, metrics: Sequence[str]) -> dict[CellKey, Series]:
    """Return all series, whatever test set they are of."""
    found: dict[CellKey, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.key.series._replace(test_group=""), []).append(cell)
    return {key: Series(own, drawn, metrics) for key, own in found.items()}


def _row(here: Series, there: Series, metric: str, name: str, level: float) -> ElsewhereRow:
    both = {
        pair: found[metric] - here.scores[pair][metric]
        for pair, found in there.scores.items()
        if pair in here.scores
    }
    lost, own, other = (
        mean_over_seeds(both, min(here.groups, there.groups)),
        here.mean(metric),
        there.mean(metric),
    )
    low, high = lost.interval(level) if lost else (None, None)
    own_low, own_high = own.share_interval(level) if own else (None, None)
    ci_low, ci_high = other.share_interval(level) if other else (None, None)
    return {
        **there.key.series_columns,
        "test_group": here.key.test_group,
        "test_corpus": name,
        "metric": metric,
        "mean": other.value if other else None,
        "ci_low": ci_low,
        "ci_high": ci_high,
        "chance": there.chance(metric),
        "here": own.value if own else None,
        "here_ci_low": own_low,
        "here_ci_high": own_high,
        "change": lost.value if lost else None,
        "change_ci_low": low,
        "change_ci_high": high,
        "runs": len(both),
        "images": there.images,
        "groups": there.groups,
        "here_images": here.images,
        "here_groups": here.groups,
    }
