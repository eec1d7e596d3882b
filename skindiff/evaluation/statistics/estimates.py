"""A mean over runs with its standard error, interval, p-value and power: two sources of chance, one t-test.

A study is a handful of *units* (split seeds; training seeds where there is one split) that are tested on
overlapping sets of patients. Their mean, ``m = sum_u w_u d_u``, could have come out otherwise for two
reasons, and its variance has one part for each:

- the units share test patients, whose sampling moves all of them together: the *image part*, the mean
  covariance of two different units under the bootstrap over groups;
- units differ among themselves, by their seeds and by what is particular to one image in one run: the *seed
  part*, ``s^2 sum w_u^2`` with ``s^2`` the variance between units. Nothing is counted twice, because what is
  particular to an image in one run has no covariance between runs.

This is the analysis of several readers who read the same cases (Obuchowski and Rockette 1995, Communications
in Statistics 24:285; clustered cases as in Obuchowski 1997, Biometrics 53:567), with seeds for readers and
groups of images for cases; it asks nothing of the score, so AUROC and F1 go through it like accuracy. The
quantile is Student's, with ``1/df = a^p/(units - 1) + (1 - a)^2/(groups - 1)``, where ``a`` is the seed
part's share of the variance. Satterthwaite, and Hillis (2007, Statistics in Medicine 26:596), have p = 2; but
the share is estimated from the same few units, and three units then cover only 92.1% to 95.1%, depending on
the true share. With p = 2 - 3/units it is 94.1% to 96.2% (3 units), 94.6 to 95.7 (4), 94.7 to 95.4 (5), 94.9
to 95.1 (10), and 93.6 to 98.3 with two (normal errors, image part known, 200,000 draws). What holds on
simulated studies: :mod:`.paired_bootstrap`.

What the seed part is made of. The floor below is *image by run*: what is particular to an image in one run,
which more runs and more patients shrink. The rest is luck: of the generator (and of the split it learnt on),
and of a training; where splits have several trainings their spread within splits tells the two apart. The
image part is shared by all runs: only more patients shrink it.

The bootstrap also knows how much units must differ for their images alone, the *floor* of the seed part. A
few units can agree better than that by luck. The interval stays as it is (raised to the floor it would cover
97% and more), but power is planned with no less than the floor, and :attr:`Estimate.lucky` tells of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

FloatArray = NDArray[np.float64]

LEVEL = 0.95
USUAL_POWER = 0.8
_POINTS = 200
"""Quadrature points for the distribution of a variance; more change a power by less than 1e-4."""


@dataclass(frozen=True)
class Estimate:
    """A mean over units and the parts of its variance (see the module's text).

    Attributes:
        value: the mean.
        seed_variance: the seed part.
        image_variance: the image part.
        seed_floor: how much of the seed part images alone would make.
        units: splits; trainings where there is one split.
        groups: of test images.
        training_variance: how much of the seed part comes from trainings within splits; None where no split
            has several.
        training_floor: how much of that images alone would make.
        units_are: what the units are.
    """

    value: float
    seed_variance: float
    image_variance: float
    seed_floor: float
    units: int
    groups: int
    training_variance: float | None = None
    training_floor: float = 0.0
    units_are: Literal["splits", "trainings"] = "splits"

    @property
    def parts(self) -> dict[str, float]:
        """The four parts of the variance as shares of it; see the module's text.

        ``generator`` (what splits with their generators have of their own), ``training`` (of a classifier),
        ``image_by_run`` and ``images``. Where each split has one training the first two cannot be told apart
        and are ``generator_and_training``, and so they are where there is one split.
        """
        by_run = min(self.seed_floor, self.seed_variance)
        luck = self.seed_variance - by_run
        found = {"generator_and_training": luck}
        if self.training_variance is not None:
            training = min(max(self.training_variance - self.training_floor, 0.0), luck)
            found = {"generator": luck - training, "training": training}
        found |= {"image_by_run": by_run, "images": self.image_variance}
        total = self.variance
        return {name: part / total if total > 0 else 0.0 for name, part in found.items()}

    def with_more(self, *, splits: float = 1, trainings: float = 1, patients: float = 1) -> "Estimate":
        """Return what the estimate would be with so many times as much data, its value as it is.

        Args:
            splits: each with a generator of its own; where there is one split they are trainings.
            trainings: of every split. Nothing is known of them where each split has one.
            patients: who are tested.
        """
        by_run = min(self.seed_floor, self.seed_variance)
        trained = min(self.training_variance or 0.0, self.seed_variance)
        seeds = self.seed_variance - trained * (1 - 1 / trainings)
        # What is particular to an image in one run shrinks with either; it is not counted twice.
        seeds -= min(by_run, seeds) * (1 - 1 / patients)
        return replace(
            self,
            seed_variance=seeds / splits,
            image_variance=self.image_variance / patients,
            units=round(self.units * splits),
            groups=round(self.groups * patients),
        )

    @property
    def lucky(self) -> bool:
        """Whether units agree so well that images alone would let them do so in 1 of 10 studies at most."""
        few = max(self.units - 1, 1)
        return self.units > 1 and self.seed_variance < self.seed_floor * _chi_squared(0.1, few) / few

    @property
    def variance(self) -> float:
        """The squared standard error."""
        return self.seed_variance + self.image_variance

    @property
    def standard_error(self) -> float:
        """In the unit of the score."""
        return float(np.sqrt(self.variance))

    @property
    def seed_share(self) -> float:
        """Share of the variance that more seeds would lower, the rest needs more patients; 0 to 1."""
        return self.seed_variance / self.variance if self.variance > 0 else 0.0

    @property
    def degrees_of_freedom(self) -> float:
        """At least 1; near ``units - 1`` where seeds dominate and ``groups - 1`` where images do."""
        seeds, images = max(self.units - 1, 1), max(self.groups - 1, 1)
        power = 2 - 3 / max(self.units, 2)
        return 1 / (self.seed_share**power / seeds + (1 - self.seed_share) ** 2 / images)

    def half_width(self, level: float = LEVEL) -> float:
        """Return half the width of a two-sided interval."""
        return _quantile(self.degrees_of_freedom, level) * self.standard_error

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the ends of the two-sided interval."""
        half = self.half_width(level)
        return self.value - half, self.value + half

    def share_interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return an interval inside [0, 1], made on the logit scale.

        Around 0 and 1, where nothing varied, it is the exact one of a share of independent groups (Clopper
        and Pearson 1934, Biometrika 26:404).
        """
        spread = self.value * (1 - self.value)
        if spread <= 0:
            limit = 1 - ((1 - level) / 2) ** (1 / max(self.groups, 1))
            return (0.0, limit) if self.value <= 0 else (1 - limit, 1.0)
        half = self.half_width(level) / spread
        low, high = special.expit(special.logit(self.value) + np.array([-half, half]))
        return float(low), float(high)

    def p_value(self) -> float:
        """Return the two-sided p-value of no effect."""
        if self.variance == 0:
            return float(self.value == 0)
        return float(2 * special.stdtr(self.degrees_of_freedom, -abs(self.value) / self.standard_error))

    def power(self, effect: float, level: float = LEVEL) -> float:
        """Return the chance that a study like this one finds a true ``effect`` at two-sided 1 - ``level``.

        The variance behind it is estimated too, and from few units. Its seed part enters as a median-unbiased
        estimate, so of many such studies about half state more power than there is, and half less.
        """
        planned = self._planned()
        if planned.variance == 0:
            return float(effect != 0)
        return _power(abs(effect) / planned.standard_error, planned._bars(level))

    def detectable(self, level: float = LEVEL, power: float = USUAL_POWER) -> float | None:
        """Return the smallest effect found with this ``power``; None where nothing varied in the data."""
        planned = self._planned()
        if planned.variance == 0:
            return None
        bars = planned._bars(level)
        size = optimize.brentq(lambda size: _power(size, bars) - power, 0.0, 10 * bars[-1] + 10)
        return float(size) * planned.standard_error

    def _planned(self) -> "Estimate":
        few = max(self.units - 1, 1)
        unbiased = self.seed_variance * few / _chi_squared(0.5, few)
        return replace(self, seed_variance=max(unbiased, self.seed_floor))

    def _bars(self, level: float) -> FloatArray:
        """Return what an effect has to exceed, in standard errors, at equally likely estimates of these."""
        freedom = self.degrees_of_freedom
        chances = (np.arange(_POINTS) + 0.5) / _POINTS
        return np.sqrt(_chi_squared(chances, freedom) / freedom) * _quantile(freedom, level)


def unpaired(one: Estimate, other: Estimate, level: float = LEVEL) -> tuple[float, float, float]:
    """Return the difference of two independent means and the ends of its interval (Welch)."""
    variances = np.array([one.variance, other.variance])
    freedoms = np.array([one.degrees_of_freedom, other.degrees_of_freedom])
    value, total = one.value - other.value, float(variances.sum())
    if total == 0:
        return value, value, value
    half = _quantile(total**2 / float((variances**2 / freedoms).sum()), level) * float(np.sqrt(total))
    return value, value - half, value + half


def _power(size: float, bars: FloatArray) -> float:
    """Return the power of the t-test at an effect of ``size`` standard errors (noncentral t, by parts)."""
    return float(np.mean(special.ndtr(size - bars) + special.ndtr(-size - bars)))


def _quantile(freedom: float, level: float) -> float:
    return float(special.stdtrit(freedom, (1 + level) / 2))


def _chi_squared(chance: Any, freedom: float) -> Any:
    return 2 * special.gammaincinv(freedom / 2, chance)


def estimate(replicates: FloatArray, weights: Sequence[float], groups: int) -> Estimate | None:
    """Estimate the mean over units from their scores under the bootstrap over groups.

    Args:
        replicates: shape ``(units, 1 + resamples)``; in the first column the scores as observed (finite), in
            the others all units under the same resampled groups, NaN where a score does not exist.
        weights: of the units, positive; they need not sum to one.
        groups: number of groups that were resampled.

    Returns:
        The estimate; None where fewer than half of the resamples have all scores.
    """
    shares = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    drawn = replicates[:, 1:]
    drawn = drawn[:, np.isfinite(drawn).all(0)]
    if drawn.shape[1] < 0.5 * (replicates.shape[1] - 1):
        return None
    value = float(shares @ replicates[:, 0])
    units, squares = len(shares), float(shares @ shares)
    of_mean = float((shares @ drawn).var(ddof=1))
    if units == 1:
        return Estimate(value, 0.0, of_mean, 0.0, 1, groups)
    of_units = float(shares**2 @ drawn.var(axis=1, ddof=1))
    between = float(shares @ (replicates[:, 0] - value) ** 2) / (1 - squares)
    # For equal weights: s^2 / units, the mean covariance of two units, what of their variance is not shared.
    shared = max((of_mean - of_units) / (1 - squares), 0.0)
    return Estimate(value, between * squares, shared, max(of_units - squares * shared, 0.0), units, groups)
