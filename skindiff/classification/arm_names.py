"""The arms that a study can compare, by their names.

| arm | rows |
|---|---|
| ``real`` | the real rows |
| ``syn`` | the synthetic rows alone |
| ``real+syn`` | both |
| ``real+duplicates`` | the real rows, and for each synthetic row once more the real image it was made from |
| ``real+colour`` | the real rows, and for each synthetic row a non-generative tone transfer of that image |

The two controls have as many rows as ``real+syn``, class by class, so that a difference is due to what the
added images show, not to how often something is shown.

An arm with synthetic rows may say which of them it keeps, ``real+syn:agreement`` for one: an equal share of
every class, those that a filter of :mod:`skindiff.measures.filters` scores highest, or for comparison
``:random`` ones.

After the rows an arm may name how its classifier sees them: ``+geometric`` or ``+randaugment`` augment
them on the fly, ``+weighted`` samples the classes equally often, and ``+mixed`` shows in place of each real
image, with a probability, a synthetic one made from it, as DA-Fusion does (Trabucco et al. 2023), and
``+downweighted`` gives the added rows a share of the loss that does not grow with their number, as DISEF and
DataDream do (da Costa et al. 2023; Kim et al. 2024, arXiv 2407.10910), and ``+pretrained`` lets a network
learn from the added rows alone before the real ones (He et al. 2023, arXiv 2210.07574).
``+own_statistics`` gives added rows a batch norm of their own (arXiv 2312.02253), ``+mixup`` and ``+cutmix``
show images that are part real and part added (:mod:`.blending`). ``+equal_exposure`` shows each real row just
as often as ``real`` does: every step has the batch of ``real`` and as many added rows, and in a probe real
rows weigh what they weigh in ``real``. So there are ``real+geometric``, ``real+syn+mixed`` or
``real+syn:tone+geometric+weighted``. An arm without these words is trained with the classifier's own
settings, which must then be without.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from skindiff.classification.classifier_config import ClassifierConfig, architecture_of
from skindiff.classification.networks import has_batch_norm
from skindiff.classification.probe import ProbeConfig
from skindiff.corpora.attribute import Attribute
from skindiff.errors import ConfigError
from skindiff.training.augmentation import Augment
from skindiff.wrong_settings import refuse

ARMS = ("real", "syn", "real+syn", "real+duplicates", "real+colour")
"""Every arm by its rows, in the order of a report."""
FILTERS = ("random", "agreement", "typicality", "novelty", "tone")
"""Which synthetic rows an arm may keep."""
FILTERED = ("syn", "real+syn")
"""The arms that may keep only some of the synthetic rows."""
SYNTHETIC_USE = ("mixed", "downweighted", "pretrained", "own_statistics", "mixup", "cutmix", "equal_exposure")
"""What an arm may do with the rows it adds, which changes nothing in ``real``; one of them at most."""
VIEWS = ("geometric", "randaugment", "weighted", *SYNTHETIC_USE)
"""What an arm may add to its rows, in this order."""
SettingsT = TypeVar("SettingsT", bound=ClassifierConfig | ProbeConfig)
ARM_NAMES = (
    f"{', '.join(ARMS)}; {' and '.join(FILTERED)} with one of {', '.join(':' + name for name in FILTERS)}; "
    f"any of them followed by {', '.join('+' + view for view in VIEWS)} in this order"
)
"""All arms, described."""


@dataclass(frozen=True)
class Arm:
    """An arm's name in its parts.

    Attributes:
        rows: one of :data:`ARMS`.
        kept: one of :data:`FILTERS`, or None for all synthetic rows.
        views: of :data:`VIEWS`: how the classifier sees the rows.
    """

    rows: str
    kept: str | None = None
    views: tuple[str, ...] = ()

    @property
    def needs_synthetic(self) -> bool:
        """Whether the arm is another for each generator; arms of real rows alone are trained once."""
        return self.rows != "real"

    def settings(self, classifier: SettingsT, geometric: Augment, path: str = "") -> SettingsT:
        """Return the settings of a classifier, fine-tuned or a probe, in this arm.

        Args:
            classifier: of arms that name no view.
            geometric: the augmentation that ``+geometric`` stands for.
            path: prefix of settings in error messages, such as ``"experiment."``.

        Raises:
            ConfigError: a view changes nothing, so that two arms would be the same, or two exclude another.
        """
        changed, part = classifier, "probe" if isinstance(classifier, ProbeConfig) else "classifier"
        if "geometric" in self.views:
            changed = replace(changed, augment=geometric)
        if "randaugment" in self.views:
            changed = replace(changed, augment="randaugment")
        if "weighted" in self.views:
            changed = replace(changed, balance="class")
        for view, name in (("geometric", "augment"), ("randaugment", "augment"), ("weighted", "balance")):
            if view in self.views and getattr(changed, name) == getattr(classifier, name):
                raise ConfigError(
                    f"{path}arms: {self.name!r} is {Arm(self.rows, self.kept).name!r} over again, since "
                    f"{part}.{name} is already {getattr(classifier, name)!r}; set that to none, or drop the "
                    "arm"
                )
        if {"geometric", "randaugment"} <= set(self.views):
            raise ConfigError(f"{path}arms: {self.name!r} names two augmentations: take one of them")
        if "mixed" in self.views and self.rows != "real+syn":
            raise ConfigError(
                f"{path}arms: {self.name!r} mixes nothing; +mixed goes with real+syn, whose real rows it "
                "replaces"
            )
        uses = [view for view in self.views if view in SYNTHETIC_USE]
        if len(uses) > 1:
            raise ConfigError(
                f"{path}arms: {self.name!r} uses synthetic rows in {len(uses)} ways: take one of "
                f"{' and '.join('+' + view for view in uses)}"
            )
        if uses not in ([], ["mixed"]) and self.rows in ("real", "syn"):
            raise ConfigError(
                f"{path}arms: {self.name!r} has no rows of two kinds; +{uses[0]} goes with real+syn, "
                "real+duplicates and real+colour"
            )
        if {"pretrained", "own_statistics"} & set(uses) and isinstance(classifier, ProbeConfig):
            raise ConfigError(
                f"{path}arms: {self.name!r} is for networks that are fine-tuned, and a probe is fitted on "
                f"all rows at once; drop the arm, or name networks alone in {path}architectures"
            )
        if {"mixup", "cutmix"} & set(uses) and isinstance(changed, ProbeConfig) and changed.augment != "none":
            raise ConfigError(
                f"{path}arms: {self.name!r} blends the images of a probe, which then has no other views: set "
                f"{path}probe.augment to none, or drop the arm"
            )
        network = classifier if isinstance(classifier, ClassifierConfig) else None
        if "own_statistics" in uses and network is not None and not _learns_statistics(network):
            raise ConfigError(
                f"{path}arms: {self.name!r} changes nothing, as {network.architecture} has no batch norm "
                "that is trained; drop the arm, or name a network with one, such as resnet18"
            )
        if set(self.views) - set(SYNTHETIC_USE) and classifier.preset == "published":
            raise ConfigError(
                f"{path}arms: {self.name!r} changes settings that classifier.preset published overrules; set "
                "that to grouped, or drop the arm"
            )
        return changed

    @property
    def name(self) -> str:
        """The arm as configs and reports write it."""
        kept = f":{self.kept}" if self.kept else ""
        return "+".join((self.rows + kept, *self.views))


def _learns_statistics(classifier: ClassifierConfig) -> bool:
    """Return whether a network has batch norm that is trained."""
    return classifier.trainable == "all" and has_batch_norm(architecture_of(classifier, ("a", "b")))


def refuse_tone_arms(arms: Sequence[str], attribute: Attribute, setting: str) -> None:
    """Raise ConfigError for an arm about the tone of the skin where something else is scarce.

    Args:
        arms: their names.
        attribute: of the corpus.
        setting: that lists the arms.
    """
    known = [parse_arm(name) for name in arms if is_arm(name)]
    of_tone = [arm for arm in known if arm.rows == "real+colour" or arm.kept == "tone"]
    if of_tone and not attribute.is_skin_tone:
        rest = [arm.name for arm in known if arm not in of_tone]
        refuse(
            f"{setting}: {of_tone[0].name!r} is about skin types, and corpus.attribute.column is "
            f"{attribute.column}; leave it out, as in [{', '.join(rest)}]"
        )


def is_arm(name: str) -> bool:
    """Return whether :func:`parse_arm` knows the arm."""
    return _parts(name) is not None


def parse_arm(name: str) -> Arm:
    """Return the parts of an arm's name.

    Raises:
        ConfigError: it names no rows of :data:`ARMS`, or its filter or views are unknown, twice or in another
            order.
    """
    arm = _parts(name)
    if arm is None:
        raise ConfigError(f"arms: unknown arm {name!r}; choose from {ARM_NAMES}")
    return arm


def _parts(name: str) -> Arm | None:
    kept: tuple[str | None, ...] = (None, *FILTERS)
    for rows in sorted(ARMS, key=len, reverse=True):
        for chosen in kept if rows in FILTERED else (None,):
            start = Arm(rows, chosen).name
            views = tuple(name.removeprefix(start).split("+")[1:])
            ordered = tuple(view for view in VIEWS if view in views)
            if name == "+".join((start, *views)) and views == ordered:
                return Arm(rows, chosen, views)
    return None
