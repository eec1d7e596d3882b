"""The settings of an experiment: arms, networks and probes, and the question of the study."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from skindiff.classification.arm_names import ARM_NAMES, ARMS, FILTERED, is_arm, parse_arm
from skindiff.classification.cells import PREFIX, is_probe
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.contrasts import ChoiceConfig, PrimaryContrast, default_primary
from skindiff.classification.external import ExternalConfig, validate_external
from skindiff.classification.probe import ProbeConfig, check_probe
from skindiff.measures.backbones import LITE0
from skindiff.measures.filters import FilterConfig
from skindiff.recorded_settings import LATER
from skindiff.training.augmentation import Augment
from skindiff.wrong_settings import refuse

_SETTING_OF_USE = {
    "mixed": "mixing_probability",
    "downweighted": "synthetic_share",
    "pretrained": "pretraining_share",
    "mixup": "blending_alpha",
    "cutmix": "blending_alpha",
}


@dataclass
class ExperimentConfig:
    """Which classifiers are trained on which arms."""

    arms: list[str] = field(default_factory=lambda: list(ARMS))
    """Arms to compare: real, syn, real+syn, real+duplicates, real+colour. syn and real+syn may keep some of
    the synthetic images: real+syn:random, :agreement, :typicality, :novelty, :tone. Each may be followed by
    +geometric or +randaugment (augmented on the fly), +weighted (classes sampled equally often), and by one
    use of the added images. For networks and probes: +mixed (in place of real ones, now and then; DA-Fusion),
    +downweighted (they have a share of the loss; DISEF, DataDream), +mixup or +cutmix (images are part real,
    part synthetic; arXiv 1710.09412, 1905.04899), +equal_exposure (real images are shown as often as in
    real, and as many synthetic ones beside them; in a probe the real ones weigh as much as in real). For
    networks alone: +pretrained (they are learnt from first, and then real ones; arXiv 2210.07574). For
    networks with batch norm alone: +own_statistics (it has statistics of its own for them; arXiv
    2312.02253)."""
    ratios: list[float] = field(default_factory=list)
    """Synthetic images per real one, such as [0.25, 0.5, 1, 5, 10]: real+syn and its controls are trained at
    each of them, networks and probes; none takes all."""
    mixing_probability: float = 0.5
    """How often +mixed shows a synthetic image in place of a real one, above 0 and at most 1; that of
    DA-Fusion (arXiv 2302.07944), of networks and probes."""
    synthetic_share: float = 0.2
    """Share of the loss that is of synthetic rows in +downweighted arms, however many there are and however
    often they are drawn, from 0 to below 1; that of DISEF and DataDream (arXiv 2407.10910), of networks and
    probes."""
    pretraining_share: float = 0.5
    """Share of the steps of a network in which +pretrained arms show the added rows alone, before the real
    ones, above 0 and below 1; synthetic images first is He et al.'s (arXiv 2210.07574), the share is ours. A
    probe has no steps."""
    blending_alpha: float = 1.0
    """Shares of the two images of +mixup and +cutmix arms are drawn from Beta(alpha, alpha), alpha above 0: 1
    draws all shares alike often, as cutmix does (arXiv 1905.04899); less, as mixup does (0.2 to 0.4; arXiv
    1710.09412), draws images that are mostly one. Of networks and probes."""
    filters: FilterConfig = field(default_factory=FilterConfig)
    """What arms such as real+syn:agreement keep."""
    architectures: list[str] = field(default_factory=lambda: [f"{PREFIX}{LITE0}"])
    """probe:BACKBONE is a linear probe on a frozen backbone, fitted in about a second: probe:lite0 (which is
    installed with skindiff), probe:bundled, probe:resnet18.a1_in1k or another timm name, probe:timm/ID. A
    plain timm name is a network that is fine-tuned; the paper's are vgg16, resnet18, vit_base_patch16_224."""
    train_seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of initial weights, batches and augmentations, each shared by all arms. A probe has no such luck,
    and is fitted for the first of them alone."""
    trainings: int = 1
    """Trainings of a network in each cell, whose predicted probabilities are averaged: less luck, at its
    price."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """Everything else about the probes."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Everything else about the networks that are fine-tuned; its architecture is overruled by
    architectures."""
    geometric_augment: Augment = "geometric"
    """What +geometric arms do instead of classifier.augment or probe.augment; medmnist is Le Roux's."""
    primary: PrimaryContrast | None = None
    """The study's one question; null is real+syn against real in balanced accuracy, where both are arms. All
    other differences are exploratory and corrected together."""
    choice: ChoiceConfig | None = field(default=None, metadata=LATER)
    """Choose the best of all arms and generators on some groups of the test images, and confirm it once on
    the others; null chooses none."""
    test_curve: bool = False
    """Score the test images too at every validation, and report the best of these scores beside the selected
    one, as Chaptoukaev does. Nothing is selected by them."""
    selected_on: Literal["validation", "test"] = "validation"
    """Where the weights of networks are chosen by classifier.selection. test is the first test set, as in
    some papers, so that its scores are too good: for repeating them."""
    external: dict[str, ExternalConfig] = field(default_factory=dict)
    """Other corpora that every classifier is tested on too, by a name for the report. Nothing is chosen by
    them; the primary contrast is asked of the first one again."""
    bootstrap_replicates: int = 2000
    """Replicates of the bootstrap over groups and seeds."""
    one_process_each: bool = True
    """Where several processes run, each trains whole classifiers of its own, which come out as with one;
    false trains every classifier on all of them, for networks too large for one."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        unknown = [arm for arm in self.arms if not is_arm(arm)]
        if unknown or not self.arms:
            refuse(f"{path}arms: {unknown[0] if unknown else 'the list'!r} is not one of {ARM_NAMES}")
        for name in ("architectures", "train_seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                refuse(f"{path}{name}: {values} must name at least one, and each once")
        if len(set(self.ratios)) < len(self.ratios) or not all(0 < ratio <= 100 for ratio in self.ratios):
            refuse(f"{path}ratios: {self.ratios} must be above 0 and at most 100, and each once")
        if not 0 < self.mixing_probability <= 1:
            refuse(
                f"{path}mixing_probability: {self.mixing_probability} is outside above 0 to 1; 0.5 is usual"
            )
        if not 0 <= self.synthetic_share < 1:
            refuse(f"{path}synthetic_share: {self.synthetic_share} is outside 0 to below 1; 0.2 is usual")
        if not 0 < self.pretraining_share < 1:
            refuse(
                f"{path}pretraining_share: {self.pretraining_share} is outside above 0 to below 1; take 0.5"
            )
        if not 0 < self.blending_alpha < float("inf"):
            refuse(f"{path}blending_alpha: {self.blending_alpha} is not above 0; 1 is usual")
        self._refuse_unused_uses(path)
        if self.bootstrap_replicates < 100:
            refuse(f"{path}bootstrap_replicates: {self.bootstrap_replicates} is too few; use 100 or more")
        self.filters.validate(f"{path}filters.")
        validate_external(self.external, f"{path}external")
        if self.primary is not None:
            self.primary.validate(f"{path}primary.")
            self.primary.check_arms(self.arms, f"{path}primary.")
        if self.choice is not None:
            self.choice.validate(f"{path}choice.")
            if (self.primary or default_primary(self.arms)) is None:
                refuse(f"{path}choice: {path}primary says in which score, and there is none: state one")
            if not any(parse_arm(arm).rows in FILTERED for arm in self.arms):
                refuse(f"{path}choice: no arm has synthetic images, so there is nothing to choose from")
        for architecture in self.architectures:
            if is_probe(architecture):
                check_probe(architecture, self.probe, path)
            else:
                replace(self.classifier, architecture=architecture).validate(f"{path}classifier.")
        for architecture in self.architectures:
            for arm in self.arms:
                parse_arm(arm).settings(self.settings_of(architecture), self.geometric_augment, path)
        self._refuse_without_effect(path)

    def _refuse_unused_uses(self, path: str) -> None:
        """Refuse a setting of a use of synthetic rows that no arm has."""
        usual = {item.name: item.default for item in fields(self)}
        used = {view for arm in self.arms for view in parse_arm(arm).views}
        for name in dict.fromkeys(_SETTING_OF_USE.values()):
            uses = [use for use, setting in _SETTING_OF_USE.items() if setting == name]
            if getattr(self, name) != usual[name] and not used & set(uses):
                refuse(
                    f"{path}{name}: {getattr(self, name)} changes nothing, as no arm ends in "
                    f"{' or '.join('+' + use for use in uses)}; add one "
                    "to arms, or leave it out"
                )

    def settings_of(self, architecture: str) -> ClassifierConfig | ProbeConfig:
        """Return what a classifier of arms that name no view is made with."""
        if is_probe(architecture):
            return self.probe
        return replace(self.classifier, architecture=architecture)

    def _refuse_without_effect(self, path: str) -> None:
        probes = [one for one in self.architectures if is_probe(one)]
        if self.trainings < 1:
            refuse(f"{path}trainings: {self.trainings} is below 1; 3 is usual, 1 is one training")
        if self.trainings > 1 and (self.test_curve or len(probes) == len(self.architectures)):
            refuse(
                f"{path}trainings: {self.trainings} are averaged for networks that are fine-tuned alone, and "
                f"without {path}test_curve; set it to 1"
            )
        if self.selected_on == "test" and (probes or self.classifier.selection == "none"):
            what = f"{probes[0]} has none" if probes else f"{path}classifier.selection none chooses none"
            refuse(
                f"{path}selected_on: test says which weights of a training are kept, and {what}; set it to "
                "validation"
            )
        if probes and self.test_curve:
            refuse(
                f"{path}test_curve: true watches a training, and {probes[0]} has none; set it to false, or "
                f"name networks that are fine-tuned, such as {path}architectures [resnet18]"
            )
        if len(probes) == len(self.architectures) and len(self.train_seeds) > 1:
            refuse(
                f"{path}train_seeds: {self.train_seeds} would be the same probe each time; give one, and "
                "several splits for a spread"
            )
        if len(probes) == len(self.architectures) and self.classifier != ClassifierConfig():
            refuse(
                f"{path}classifier: its settings are those of networks that are fine-tuned, and {path}"
                f"architectures {self.architectures} names none; leave them out, set {path}probe instead, or "
                f"name a network, such as {path}architectures [{self.classifier.architecture}]"
            )
        if not probes and self.probe != ProbeConfig():
            refuse(
                f"{path}probe: its settings are those of linear probes, and {path}architectures "
                f"{self.architectures} names none; leave them out, or name one, such as {PREFIX}{LITE0}"
            )
