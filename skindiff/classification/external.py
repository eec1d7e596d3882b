"""Test sets from other corpora: what their classes are here, and how our classifiers are asked about them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from skindiff.classification.cells import Cell
from skindiff.corpora.registry import CorpusConfig
from skindiff.errors import ConfigError
from skindiff.measures.copying.threshold import TWIN
from skindiff.wrong_settings import refuse

REST = "rest"
"""The class of everything that no other scored class is."""
_NAME = re.compile(r"\w{1,40}", re.ASCII)


@dataclass
class MappedClasses:
    """What the classes of another corpus are in a study."""

    classes: dict[str, str | None] = field(default_factory=dict)
    """What each of its classes is here, such as {basal cell carcinoma: bcc}; null leaves its images out, and
    one that is not named is the class of the same name. rest is everything else: all classes of the study
    that none of these is, whose probabilities are added up."""
    others: str | None = None
    """What its further classes are that the study has not, such as rest; null leaves their images out. The
    report counts them."""
    ours: dict[str, str] = field(default_factory=dict)
    """What classes of the study count as where those of this corpus are coarser, such as {mel: malignant, nv:
    benign}. Those that are not named stay what they are, or are the rest where there is one."""
    twins_from: float = TWIN
    """Similarity of structure to an image of the study, 0 to 1, from which an image is taken for the same
    photograph and left out; 0.95 finds 99 of 100 crops and copies in other sizes and colours."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if not 0 < self.twins_from <= 1:
            refuse(f"{path}twins_from: {self.twins_from} is not above 0 and at most 1; take 0.95")


@dataclass
class ExternalConfig(MappedClasses):
    """Another corpus that every classifier is tested on, and what its classes are in the study."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """Its images; they are kept at the size of the study's own."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        self.corpus.validate(f"{path}corpus.")
        super().validate(path)


def validate_external(external: Mapping[str, ExternalConfig], path: str = "") -> None:
    """Raise a ConfigError on the first of several corpora that cannot work, or whose name cannot."""
    for name, config in external.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{path}: {name!r} is the name of a folder and of a line in tables; use at most 40 letters, "
                "digits and _"
            )
        config.validate(f"{path}.{name}.")


@dataclass(frozen=True)
class ClassTable:
    """The classes that are scored on another corpus, and which of them the classes of both sides are.

    Attributes:
        names: of the scored classes, in the order of their codes.
        ours: ``(k,)`` the code of each class of the study.
        theirs: the code of each of their classes; None of one whose images are left out.
    """

    names: tuple[str, ...]
    ours: NDArray[np.int64]
    theirs: Mapping[str, int | None]

    @classmethod
    def of(
        cls, config: ExternalConfig, ours: Sequence[str], theirs: Sequence[str], path: str = ""
    ) -> "ClassTable":
        """Return the table that settings ask for.

        Args:
            config: the settings.
            ours: classes of the study.
            theirs: classes of the other corpus.
            path: of the settings, for messages.

        Raises:
            ConfigError: a class that one side lacks is named, or fewer than two classes would be told apart.
        """
        _refuse_unknown(config.classes, theirs, f"{path}classes", f"the corpus {config.corpus.name}")
        _refuse_unknown(config.ours, ours, f"{path}ours", "the study")
        same = {name: name if name in ours else config.others for name in theirs}
        meant = same | config.classes
        scored = {name for name in meant.values() if name is not None}
        if not scored:
            raise ConfigError(
                f"{path}classes: no class of {config.corpus.name}, which has {', '.join(theirs)}, is any of "
                f"the study's, which are {', '.join(ours)}; name at least two, such as {{theirs: ours}}"
            )
        own = [
            config.ours.get(name, REST if REST in scored - set(ours) and name not in scored else name)
            for name in ours
        ]
        if lacking := sorted(scored - set(own)):
            raise ConfigError(
                f"{path}classes: {lacking[0]!r} is none of the study's classes, which are {', '.join(ours)}; "
                f"take one of them, or say by {path}ours which of them it is"
            )
        if len(set(own)) < 2:
            raise ConfigError(
                f"{path}classes: all of the study's classes count as {own[0]!r}, so there is nothing to tell "
                "apart; keep two of them apart"
            )
        names = tuple(dict.fromkeys(sorted(own, key=lambda name: name == REST and REST not in ours)))
        place = {name: code for code, name in enumerate(names)}
        codes = {name: None if one is None else place[one] for name, one in meant.items()}
        return cls(names, np.array([place[name] for name in own]), codes)

    def collapse(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities ``(n, len(names))`` of the scored classes from those ``(n, k)`` of ours."""
        return probabilities @ (self.ours[:, None] == np.arange(len(self.names)))

    def asked_here(self, cell: Cell, present: Sequence[int]) -> Cell:
        """Return a cell of the study's own test images as it answers what the other corpus is asked.

        Args:
            cell: by the study's classes.
            present: codes of the scored classes that the other corpus has images of; others are left out.
        """
        labels = self.ours[cell.labels]
        kept = np.flatnonzero(np.isin(labels, present))
        return replace(
            cell,
            class_names=self.names,
            image_ids=tuple(cell.image_ids[row] for row in kept),
            group_ids=tuple(cell.group_ids[row] for row in kept),
            skin_types=tuple(cell.skin_types[row] for row in kept),
            labels=labels[kept],
            probabilities=self.collapse(cell.probabilities)[kept],
            attributes={name: tuple(own[row] for row in kept) for name, own in cell.attributes.items()},
        )


def _refuse_unknown(named: Mapping[str, object], known: Sequence[str], setting: str, whose: str) -> None:
    if unknown := [name for name in named if name not in known]:
        refuse(
            f"{setting}: {unknown[0]!r} is no class of {whose}, which has {', '.join(known)}; correct it or "
            "leave it out"
        )
