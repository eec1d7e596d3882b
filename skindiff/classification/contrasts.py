"""What every arm is compared with: itself without the factor under test, then the controls of that factor.

| arm | itself without the factor | controls |
|---|---|---|
| ``real+syn`` | ``real`` | ``real+duplicates``, ``real+colour``, ``real+geometric`` |
| ``real+syn+weighted`` | ``real+weighted`` | ``real+duplicates+weighted``, ``real+colour+weighted`` ... |
| ``real+syn:tone`` | ``real`` | the same, and ``real+syn:random`` |
| ``real+syn+downweighted`` | ``real`` | downweighted ones, and ``real+syn`` (so the other uses) |
| ``real+weighted``, ``real+duplicates`` | ``real`` | |

So a gain of ``real+syn+weighted`` is the generator's and not the sampler's. Only arms of the study are taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skindiff.classification.arm_names import FILTERED, SYNTHETIC_USE, Arm, is_arm, parse_arm
from skindiff.classification.cells import REAL
from skindiff.classification.rows import JUDGED
from skindiff.wrong_settings import refuse

_CONTROLS = ("real+duplicates", "real+colour")
_FILTER_CONTROL = "random"


@dataclass
class PrimaryContrast:
    """The one question of a study, stated before it runs; whatever else is compared is exploratory."""

    arm: str = "real+syn"
    """The arm under test."""
    reference: str = REAL
    """What it is compared with."""
    metric: str = "balanced_accuracy"
    """The score that decides: accuracy, balanced_accuracy, precision, recall, f1, auroc or
    sensitivity_at_90_specificity."""
    then: str | None = None
    """A second reference, tested at the same level, but only if the first contrast is decided."""
    strategy: str | None = None
    """How the synthetic images were made, such as ddpm or img2img ti+lora; null is the study's first."""
    architecture: str | None = None
    """The classifier; null is the study's first."""
    test_group: str | None = None
    """The test set; null is the study's first."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        for name in ("arm", "reference", "then"):
            value = getattr(self, name)
            if value is not None:
                parse_arm(value)
        if self.metric not in JUDGED:
            refuse(f"{path}metric: {self.metric!r} is not one of {', '.join(JUDGED)}")
        if len({self.arm, self.reference, self.then}) < 3:
            refuse(f"{path}reference: {self.arm}, {self.reference} and {self.then} must differ")

    def check_arms(self, arms: Sequence[str], path: str = "") -> None:
        """Raise a ConfigError if one of its arms is not among those of the study."""
        for name in ("arm", "reference", "then"):
            value = getattr(self, name)
            if value is not None and value not in arms:
                refuse(f"{path}{name}: {value!r} is not among the arms {', '.join(arms)}: add it")

    def matches(self, key: Any) -> bool:
        """Whether a cell's key is of the arm under test, as far as this says which."""
        wanted = {name: getattr(self, name) for name in ("strategy", "architecture", "test_group")}
        return key.arm == self.arm and all(
            value is None or getattr(key, name) == value for name, value in wanted.items()
        )


@dataclass
class ChoiceConfig:
    """How the best of many uses of synthetic images is chosen, in the metric of the study's question.

    It is chosen on some groups of the test images and confirmed once on the others, which had no say.
    """

    share: float = 0.5
    """Share of the groups of test images (patients, lesions, duplicates) that the choice is made on."""
    seed: int = 0
    """Which groups those are."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if not 0 < self.share < 1:
            refuse(f"{path}share: {self.share} is outside above 0 to below 1; 0.5 is usual")


def default_primary(arms: Sequence[str]) -> PrimaryContrast | None:
    """Return the question of a study that states none: `real+syn` against `real`, where it has both."""
    return PrimaryContrast() if {REAL, "real+syn"} <= set(arms) else None


def references_of(name: str, arms: Sequence[str]) -> list[str]:
    """Return the arms of a study that one of them is compared with, itself without the factor first.

    Where the study lacks that one, ``real`` comes first.

    Args:
        name: of the arm.
        arms: of the study.
    """
    present = set(arms)
    if not is_arm(name):  # of a simulation, or of another toolkit
        return [REAL] if REAL in present and name != REAL else []
    arm = parse_arm(name)
    views = tuple(view for view in arm.views if view not in SYNTHETIC_USE)
    if arm.rows == REAL:
        wanted = [REAL]
    else:
        wanted = [Arm(REAL, None, views).name]
        if arm.rows not in _CONTROLS:
            lighter = tuple(view for view in arm.views if view != "mixed")
            wanted += [Arm(rows, None, lighter).name for rows in _CONTROLS]
            geometric = tuple(dict.fromkeys(("geometric", *views)))
            wanted += [Arm(REAL, None, geometric).name] if "geometric" not in views else []
        if arm.rows in FILTERED and arm.kept not in (None, _FILTER_CONTROL):
            wanted.append(Arm(arm.rows, _FILTER_CONTROL, arm.views).name)
        if (set(SYNTHETIC_USE) - {"mixed"}) & set(arm.views):
            wanted.append(Arm(arm.rows, arm.kept, views).name)
    found = [one for one in wanted if one in present and one != name]
    if REAL in present and name != REAL and wanted[0] not in present:
        found = [REAL, *(one for one in found if one != REAL)]
    return found


def lost_references(arms: Sequence[str]) -> dict[str, str]:
    """Return, by arm, itself without the factor under test, where the study has no such arm.

    A difference of such an arm with ``real`` is that of several factors together.
    """
    lost = {}
    for name in filter(is_arm, arms):
        arm = parse_arm(name)
        own = Arm(REAL, None, tuple(view for view in arm.views if view not in SYNTHETIC_USE)).name
        if arm.rows != REAL and own not in arms and REAL in arms:
            lost[name] = own
    return lost
