"""The protocols of splits, by name."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from datasets import Dataset

from skindiff.corpora.attribute import Attribute
from skindiff.corpora.deduplicated import deduplicated
from skindiff.corpora.few_shot import (
    FewShotConfig,
    FractionSplitConfig,
    make_few_shot_split,
    make_fraction_split,
)
from skindiff.corpora.held_out import HeldOutConfig, make_held_out_split, parts_split
from skindiff.corpora.medmnist import OfficialConfig, SubsetConfig, official_split, random_subset
from skindiff.corpora.splits import Split, SplitConfig, make_split
from skindiff.errors import SplitError

Protocol = Literal["fractions", "scenario", "few_shot", "official", "held_out", "subset", "everything"]


@dataclass
class PartsConfig:
    """Which images are trained on, selected on and tested on; the same in every command of a study."""

    protocol: Protocol = "fractions"
    """fractions of each class; a scenario of corpus.attribute; few_shot; official, the parts that MedMNIST or
    a table comes in; held_out sites or times of a table; a subset of MedMNIST's parts; or everything to train
    on and nothing to test on."""
    seed: int = 0
    """Seed of the split."""
    fractions: FractionSplitConfig = field(default_factory=FractionSplitConfig)
    """Protocol fractions."""
    scenario: SplitConfig = field(default_factory=SplitConfig)
    """Protocol scenario: images of the majority to train on, and of the minority to test on."""
    few_shot: FewShotConfig = field(default_factory=FewShotConfig)
    """Protocol few_shot: a few images of each class to train on."""
    official: OfficialConfig = field(default_factory=OfficialConfig)
    """Protocol official: the parts that a data set comes in."""
    held_out: HeldOutConfig = field(default_factory=HeldOutConfig)
    """Protocol held_out: some sites to test on, or what came after a date."""
    subset: SubsetConfig = field(default_factory=SubsetConfig)
    """Protocol subset: a part of MedMNIST's training and validation images, and its whole test set."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if self.protocol in ("fractions", "scenario", "few_shot", "held_out", "subset"):
            getattr(self, self.protocol).validate(f"{path}{self.protocol}.")

    def idle(self) -> dict[str, str]:
        """Return the settings of other protocols, which change nothing."""
        others = {item.name for item in fields(self)} - {"protocol", "seed", self.protocol}
        return dict.fromkeys(others, f"the protocol is {self.protocol}")

    def split(self, corpus: Dataset, attribute: Attribute) -> Split:
        """Return the rows of each part.

        Args:
            corpus: the table that is cut.
            attribute: of the corpus, for a scenario.

        Raises:
            SplitError: the corpus cannot be cut like this, or no row is left to train on.
        """
        split = replace(self._split(corpus, attribute), protocol=self.protocol)
        if not split.train:
            raise SplitError("split: no image is left to train on; check the protocol and the corpus")
        return split

    def _split(self, corpus: Dataset, attribute: Attribute) -> Split:
        if self.protocol == "fractions":
            return make_fraction_split(corpus, self.fractions, self.seed)
        if self.protocol == "scenario":
            return make_split(corpus, self.scenario, self.seed, attribute)
        if self.protocol == "few_shot":
            return make_few_shot_split(corpus, self.few_shot, self.seed)
        if self.protocol == "official":
            read = parts_split if "split" in corpus.column_names else official_split
            whole = read(corpus, self.seed)
            return deduplicated(whole, corpus) if self.official.deduplicated else whole
        if self.protocol == "held_out":
            return make_held_out_split(corpus, self.held_out, self.seed)
        if self.protocol == "subset":
            whole = random_subset(corpus, self.subset.per_class, seed=self.seed)
            return deduplicated(whole, corpus) if self.subset.deduplicated else whole
        return Split(self.seed, list(range(len(corpus))), [], {}, {}, 0)
