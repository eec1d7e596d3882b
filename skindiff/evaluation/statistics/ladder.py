"""What every step from a published comparison to a fair one does to the gain, with intervals.

On one cut of the corpus two rungs are tested on the same images by the same seeds, and what lies between them
is a paired difference of differences. Where the cut changes, the two gains count as independent.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from skindiff.classification.cells import Cell
from skindiff.classification.ladder import Rung
from skindiff.evaluation.statistics.estimates import Estimate, unpaired
from skindiff.evaluation.statistics.paired_bootstrap import (
    FloatArray,
    Resampling,
    Seeds,
    Series,
    mean_over_seeds,
)
from skindiff.evaluation.statistics.rows import RungRow


class _Climbed:
    """A rung with its two arms, scored in every replicate of its cut; of the runs that both arms have."""

    def __init__(self, rung: Rung, cells: Sequence[Cell], drawn: Resampling, metric: str) -> None:
        self.rung, self.metric = rung, metric
        own = [[cell for cell in cells if cell.key.arm == name] for name in (rung.arm, rung.reference)]
        runs = set.intersection(*({cell.key.seeds for cell in arm} for arm in own))
        self.arm, self.reference = (
            Series([cell for cell in arm if cell.key.seeds in runs], drawn, [metric]) for arm in own
        )

    @property
    def gains(self) -> dict[Seeds, FloatArray]:
        """The gain by split and training seed, as observed and under every resample."""
        others = self.reference.scores
        return {
            pair: found[self.metric] - others[pair][self.metric] for pair, found in self.arm.scores.items()
        }

    @property
    def groups(self) -> int:
        """Groups of test images."""
        return min(self.arm.groups, self.reference.groups)


def ladder_rows(
    rungs: Sequence[Rung],
    cells: Mapping[str, Sequence[Cell]],
    *,
    strategy: str,
    metric: str,
    replicates: int = 2000,
    seed: int = 0,
) -> list[RungRow]:
    """Return a row for every rung: its gain, and how it differs from that of the rung before.

    Args:
        rungs: in their order.
        cells: of every rung by its name, of all splits and seeds.
        strategy: whose images they are.
        metric: of the gain.
        replicates: of the bootstrap.
        seed: names its random stream.

    Returns:
        Rows with both means, ``gain`` and ``change`` with the ends of their 95% intervals (shares of one),
        ``paired`` (None in the first), the mean ``optimiser_steps`` of both arms, ``runs`` and ``images``.
    """
    drawn = {
        cut: Resampling(
            [cell for rung in rungs if rung.cut == cut for cell in cells[rung.name]],
            replicates, "ladder", strategy, cut, seed,
        )
        for cut in dict.fromkeys(rung.cut for rung in rungs)
    }  # fmt: skip
    rows: list[RungRow] = []
    before: _Climbed | None = None
    for rung in rungs:
        climbed = _Climbed(rung, cells[rung.name], drawn[rung.cut], metric)
        rows.append(_row(climbed, before, strategy))
        before = climbed
    return rows


def _row(own: _Climbed, before: _Climbed | None, strategy: str) -> RungRow:
    gain, paired = _estimate(own.gains, own.groups), None
    low, high = gain.interval()
    change: tuple[float | None, float | None, float | None] = (None, None, None)
    if before is not None:
        paired = before.rung.cut == own.rung.cut
        if paired:
            earlier = before.gains
            both = {pair: found - earlier[pair] for pair, found in own.gains.items() if pair in earlier}
            moved = _estimate(both, own.groups)
            change = (moved.value, *moved.interval())
        else:
            change = unpaired(gain, _estimate(before.gains, before.groups))
    steps = [
        float(np.mean([cell.optimiser_steps for cell in one.cells.values()]))
        for one in (own.arm, own.reference)
    ]
    means = [
        float(np.mean([found[own.metric][0] for found in one.scores.values()]))
        for one in (own.arm, own.reference)
    ]
    return {
        "strategy": strategy,
        "rung": own.rung.name,
        "cut": own.rung.cut,
        "arm": own.rung.arm,
        "reference": own.rung.reference,
        "metric": own.metric,
        "optimiser_steps": steps[0],
        "reference_steps": steps[1],
        "mean": means[0],
        "reference_mean": means[1],
        "gain": gain.value,
        "gain_ci_low": low,
        "gain_ci_high": high,
        "change": change[0],
        "change_ci_low": change[1],
        "change_ci_high": change[2],
        "paired": paired,
        "runs": len(own.gains),
        "images": own.arm.images,
    }


def _estimate(gains: Mapping[Seeds, FloatArray], groups: int) -> Estimate:
    found = mean_over_seeds(gains, groups)
    if found is None:
        raise ValueError("a rung has too few test images of its classes for a score")
    return found
