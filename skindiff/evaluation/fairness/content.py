"""The key ``fairness`` of ``report.json``: scores of every arm by group, and what changed for which group.

Test sets of one run (dark and light, where they are apart) are put together; scores are by skin type, or by
any other group of patients. Intervals are those of :mod:`skindiff.evaluation.statistics.paired_bootstrap`:
patients are resampled, the same ones for every arm, and seeds enter by the spread between splits. A cell with
few patients is suppressed: its score would say more about chance, and perhaps about a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from skindiff.classification.cells import Cell, CellKey
from skindiff.classification.contrasts import references_of
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.evaluation.fairness.counts import Counts, count, error_if_calibrated, members, merged
from skindiff.evaluation.fairness.rows import (
    FairnessArm,
    FairnessContent,
    FairnessSettings,
    GroupRow,
    GroupScore,
    Population,
    StudiedPopulation,
    WorstGroup,
)
from skindiff.evaluation.statistics.comparisons import comparison, holm
from skindiff.evaluation.statistics.estimates import LEVEL, Estimate
from skindiff.evaluation.statistics.paired_bootstrap import Resampling, Seeds, mean_over_seeds
from skindiff.evaluation.statistics.rows import Difference
from skindiff.evaluation.statistics.summary import nearest_reference
from skindiff.renamed import in_streams
from skindiff.seeding import numpy_generator
from skindiff.wrong_settings import refuse

FloatArray = NDArray[np.float64]
PlaceT = TypeVar("PlaceT")


@dataclass
class FairnessConfig:
    """Which groups of patients are compared, and how small a group may be."""

    smallest: int = 10
    """Patients (group_id) that a cell of the tables must have in the mean run to be shown."""
    advantaged: list[str] = field(default_factory=lambda: ["I", "II"])
    """Groups on the one side of the gap; with skin types the light ones. Empty, with the other, for no
    gap."""
    disadvantaged: list[str] = field(default_factory=lambda: ["V", "VI"])
    """Groups on the other side of the gap."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        if self.smallest < 1:
            refuse(f"{path}smallest: {self.smallest} is below 1; 10 is usual")
        for name, other in (("advantaged", "disadvantaged"), ("disadvantaged", "advantaged")):
            if getattr(self, other) and not getattr(self, name):
                refuse(f"{path}{name}: is empty; name at least one group")
        if shared := set(self.advantaged) & set(self.disadvantaged):
            refuse(f"{path}disadvantaged: {', '.join(sorted(shared))} is also in advantaged; keep it in one")


@dataclass(frozen=True)
class _Arm:
    """A series of cells with its counts, and the mean numbers of patients of a run."""

    key: CellKey
    cells: tuple[Cell, ...]
    counts: Mapping[Seeds, Counts]
    patients: Mapping[tuple[str, int | None], float]

    def patients_of(
        self, groups: Sequence[str], group_of: Mapping[str, str] | None, code: int | None = None
    ) -> int:
        """Return how many patients of some groups were tested in any run: of a class, or of all."""
        return len(
            {
                patient
                for cell in self.cells
                for patient, name, label in zip(
                    cell.group_ids, members(cell, group_of), cell.labels.tolist(), strict=True
                )
                if name in groups and code in (None, label)
            }
        )

    def each(self, score: str, *of: Any) -> dict[Seeds, FloatArray]:
        """Return a score of :class:`Counts` by seeds."""
        return {seeds: getattr(found, score)(*of) for seeds, found in self.counts.items()}


def fairness_content(
    cells: Sequence[Cell],
    config: FairnessConfig | None = None,
    *,
    group_of: Mapping[str, str] | None = None,
    order: Sequence[str] = (),
    replicates: int = 2000,
    level: float = LEVEL,
    seed: int = 0,
) -> FairnessContent:
    """Return scores by group, class and arm, the gap between groups, and their changes against a reference.

    The reference of an arm is itself without the factor under test, and ``real`` where the study lacks that
    (:func:`~skindiff.classification.contrasts.references_of`).

    Args:
        cells: predictions of every arm and seed; a run's test sets must not overlap.
        config: groups and the smallest cell.
        group_of: group of every image by ``image_id``, for other groups than skin types; images without one
            are left out.
        order: of these other groups; those that are not named follow by name.
        replicates: of the bootstrap over patients.
        level: of the intervals, in (0, 1).
        seed: names the random streams.

    Returns:
        ``settings``, and ``populations``: dicts with ``scenario``, ``architecture``, ``preset``, ``groups``,
        ``classes`` and ``arms``. An arm has its key and ``runs``; ``groups``: by name ``patients`` (of the
        mean run), ``suppressed``, ``recall`` (macro over the classes present), ``classes`` (recall by class,
        None where suppressed), ``calibration_error`` with ``calibration_error_by_chance`` (that of a
        calibrated classifier), ``overconfidence`` (confidence minus accuracy), ``change`` (of recall, see
        :func:`~skindiff.evaluation.statistics.comparisons.comparison`; corrected for all arms and groups);
        ``classes``: recall by class over all groups; ``worst``: the group with the least recall; ``gap``
        (advantaged minus disadvantaged, over the classes that both have) and ``gap_change`` (corrected for
        all arms); ``reference``: the arm that changes are against, None where there is none. Scores are
        dicts ``value``, ``low``, ``high``, shares of one; None where there is nothing to compute. Empty
        without any group.
    """
    config = config or FairnessConfig()
    config.validate()
    populations: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in merged(cells):
        key = cell.key
        populations.setdefault((key.scenario, key.architecture, key.preset), []).append(cell)
    found: list[Population] = []
    for names, own in populations.items():
        groups = _groups(own, group_of, order)
        if groups:
            scenario, architecture, preset = names
            drawn = Resampling(own, replicates, "fairness", *in_streams(*names), seed)
            study = _Study(own, drawn, groups, group_of, config, level)
            found.append(
                {
                    "scenario": scenario,
                    "architecture": architecture,
                    "preset": preset,
                    **study.content(seed),
                }
            )
    settings: FairnessSettings = {
        "smallest": config.smallest,
        "advantaged": config.advantaged,
        "disadvantaged": config.disadvantaged,
        "level": level,
    }
    return {"settings": settings, "populations": found} if found else {}


def _groups(cells: Sequence[Cell], group_of: Mapping[str, str] | None, order: Sequence[str]) -> list[str]:
    """Return the groups that occur: skin types from light to dark, others as they are ordered."""
    seen = {name for cell in cells for name in members(cell, group_of) if name is not None}
    if group_of is None:
        return [name for name in SKIN_TYPES if name in seen]
    return [*(name for name in order if name in seen), *sorted(seen - set(order))]


class _Study:
    """The arms of one population."""

    def __init__(
        self,
        cells: Sequence[Cell],
        drawn: Resampling,
        groups: list[str],
        group_of: Mapping[str, str] | None,
        config: FairnessConfig,
        level: float,
    ) -> None:
        self.groups, self.group_of, self.config, self.level = groups, group_of, config, level
        self.classes = cells[0].class_names
        series: dict[CellKey, list[Cell]] = {}
        for cell in cells:
            series.setdefault(cell.key.series, []).append(cell)
        self.arms = [self._arm(key, members_of, drawn) for key, members_of in series.items()]
        names = list(dict.fromkeys(arm.key.arm for arm in self.arms))
        by_key = {arm.key: arm for arm in self.arms}
        self.reference: dict[CellKey, _Arm] = {}
        for arm in self.arms:
            wanted = references_of(arm.key.arm, names)[:1]
            nearest = nearest_reference(arm.key, [key for key in by_key if key.arm in wanted])
            if nearest is not None:
                self.reference[arm.key] = by_key[nearest]

    def _arm(self, key: CellKey, cells: Sequence[Cell], drawn: Resampling) -> _Arm:
        counts = {
            cell.key.seeds: count(cell, drawn.of_images(cell), members(cell, self.group_of), self.groups)
            for cell in cells
        }
        patients = {
            (group, code): float(np.mean([_patients(cell, self.group_of, group, code) for cell in cells]))
            for group in self.groups
            for code in (None, *range(len(self.classes)))
        }
        return _Arm(key, tuple(cells), counts, patients)

    def content(self, seed: int) -> StudiedPopulation:
        """Return the population's arms with everything that is said of them."""
        changes, has_gap = self._changes(), self._has_gap()
        sides = self._sides()
        gap_changes = self._corrected(
            {arm.key: self._difference(arm, "gap", *sides) for arm in self.arms if all(sides)}
        )
        arms: list[FairnessArm] = []
        for arm in self.arms:
            groups = {name: self._group(arm, name, changes, seed) for name in self.groups}
            arms.append(
                {
                    **arm.key.series_columns,
                    "runs": len(arm.cells),
                    "groups": groups,
                    "classes": {
                        name: self._score(arm, "class_recall", None, code)
                        for code, name in enumerate(self.classes)
                    },
                    "worst": _worst(groups),
                    "gap": self._score(arm, "gap", *sides, bounded=False) if has_gap else None,
                    "reference": self.reference[arm.key].key.arm if arm.key in self.reference else None,
                    "gap_change": gap_changes.get(arm.key) if has_gap else None,
                }
            )
        return {"groups": self.groups, "classes": list(self.classes), "arms": arms}

    def _sides(self) -> tuple[list[str], list[str]]:
        return self.config.advantaged, self.config.disadvantaged

    def _has_gap(self) -> bool:
        """Return whether there are two sides of a gap, with enough patients in every arm."""
        return all(self._sides()) and all(
            sum(arm.patients.get((name, None), 0.0) for name in side) >= self.config.smallest
            for side in self._sides()
            for arm in self.arms
        )

    def _shown(self, arm: _Arm, group: str, code: int | None = None) -> bool:
        return arm.patients[group, code] >= self.config.smallest

    def _group(
        self, arm: _Arm, name: str, changes: Mapping[tuple[CellKey, str], Difference], seed: int
    ) -> GroupRow:
        shown = self._shown(arm, name)
        said: GroupRow = {"patients": arm.patients[name, None], "suppressed": not shown}
        if not shown:
            return said
        return said | {
            "recall": self._score(arm, "recall", name),
            "classes": {
                one: self._score(arm, "class_recall", name, code) if self._shown(arm, name, code) else None
                for code, one in enumerate(self.classes)
            },
            "calibration_error": self._score(arm, "calibration_error", name),
            "calibration_error_by_chance": float(
                np.mean([self._by_chance(cell, name, seed) for cell in arm.cells])
            ),
            "overconfidence": self._score(arm, "overconfidence", name, bounded=False),
            "change": changes.get((arm.key, name)),
        }

    def _by_chance(self, cell: Cell, name: str, seed: int) -> float:
        rng = numpy_generator("calibrated", *(str(part) for part in in_streams(*cell.key)), name, seed)
        return error_if_calibrated(cell, members(cell, self.group_of), name, rng)

    def _score(self, arm: _Arm, score: str, *of: Any, bounded: bool = True) -> GroupScore | None:
        found = mean_over_seeds(arm.each(score, *of), self._drawn(arm, of))
        if found is None:
            return None
        low, high = found.share_interval(self.level) if bounded else found.interval(self.level)
        return {"value": found.value, "low": low, "high": high}

    def _difference(self, arm: _Arm, score: str, *of: Any) -> tuple[Estimate | None, int]:
        reference = self.reference.get(arm.key)
        if reference is None:
            return None, 0
        mine, theirs = arm.each(score, *of), reference.each(score, *of)
        both = {seeds: mine[seeds] - theirs[seeds] for seeds in mine if seeds in theirs}
        return mean_over_seeds(both, self._drawn(arm, of)), len(both)

    def _drawn(self, arm: _Arm, of: Sequence[Any]) -> int:
        """Return the number of patients behind a score: of its group and class, the smaller side, or all."""
        if of and isinstance(of[0], list):
            return min(arm.patients_of(side, self.group_of) for side in of)
        groups = self.groups if not of or of[0] is None else [of[0]]
        return arm.patients_of(groups, self.group_of, *of[1:])

    def _changes(self) -> dict[tuple[CellKey, str], Difference]:
        return self._corrected(
            {
                (arm.key, name): self._difference(arm, "recall", name)
                for arm in self.arms
                for name in self.groups
                if self._shown(arm, name)
            }
        )

    def _corrected(self, found: Mapping[PlaceT, tuple[Estimate | None, int]]) -> dict[PlaceT, Difference]:
        """Return comparisons, corrected as one family; without those that cannot be made."""
        known = {place: (one, cells) for place, (one, cells) in found.items() if one is not None}
        corrections = holm([one.p_value() for one, _ in known.values()], self.level)
        return {
            place: comparison(one, cells, self.level, correction)
            for (place, (one, cells)), correction in zip(known.items(), corrections, strict=True)
        }


def _patients(cell: Cell, group_of: Mapping[str, str] | None, group: str, code: int | None) -> int:
    """Return how many patients of a group (and class) a test set has."""
    return len(
        {
            patient
            for patient, name, label in zip(
                cell.group_ids, members(cell, group_of), cell.labels.tolist(), strict=True
            )
            if name == group and code in (None, label)
        }
    )


def _worst(groups: Mapping[str, GroupRow]) -> WorstGroup | None:
    """Return the shown group with the least recall, with its name; None where fewer than two are shown."""
    shown = {name: recall for name, one in groups.items() if (recall := one.get("recall"))}
    if len(shown) < 2:
        return None
    name = min(shown, key=lambda one: shown[one]["value"])
    return {"group": name, **shown[name]}
