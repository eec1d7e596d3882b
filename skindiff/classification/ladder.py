"""From a paper's protocol to a fair one, a step at a time: how much of a published gain is the generator's.

The order is that of :func:`rungs_of`. It is one of several: what a step changes depends on those before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from skindiff.classification.arm_names import SYNTHETIC_USE, Arm, parse_arm
from skindiff.classification.cells import Cell
from skindiff.classification.classifier_config import ClassifierConfig, counts_passes
from skindiff.classification.experiment import Experiment
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.recorded_cells import RecordedCells
from skindiff.classification.rows import JUDGED
from skindiff.config import check_seeds
from skindiff.recorded_settings import LATER
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic, Unmade
from skindiff.training.augmentation import Augment
from skindiff.wrong_settings import refuse

Cut = Literal["published", "fair"]
"""The split of the paper, leaks and all, or that of the study."""


@dataclass
class LadderConfig:
    """How a paper compares its arms, to be brought step by step to a fair comparison."""

    arm: str = "real+syn"
    """The arm whose gain the paper prints."""
    reference: str = "real"
    """The arm without synthetic images and with everything else alike."""
    published_reference: str | None = None
    """What the paper compares with, where that differs in more than the synthetic images; null is
    reference."""
    metric: str = "accuracy"
    """The score of the printed gain."""
    selected_on_test: bool = False
    """Whether the paper selects weights, or reports the best epoch, by its test images."""
    classifier: ClassifierConfig = field(default_factory=lambda: ClassifierConfig(epochs=10))
    """The network and its training as published; the length in epochs."""
    geometric_augment: Augment = "geometric"
    """What +geometric arms do instead of classifier.augment."""
    train_seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of the networks; where a study has one split they are its own."""
    seeds: list[int] = field(default_factory=list)
    """Seeds of the study that are compared, as networks take longer than probes; none takes all."""
    strategies: list[str] = field(default_factory=list)
    """Whose images are compared, such as ddpm or img2img ti+lora; none takes all of the study."""
    epochs: dict[str, int] = field(default_factory=dict, metadata=LATER)
    """Epochs of the classifiers of a strategy to which the paper gives others than classifier.epochs, such as
    {ddpm: 5}."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        for name in ("arm", "reference", "published_reference"):
            if (value := getattr(self, name)) is not None:
                parse_arm(value)
        arm, reference = parse_arm(self.arm), parse_arm(self.reference)
        if arm.rows == "real" or set(arm.views) & set(SYNTHETIC_USE) or reference.rows != "real":
            refuse(
                f"{path}arm: {self.arm!r} against {self.reference!r} is no gain of added images: give an arm "
                "such as real+syn, without a use of synthetic images, and one of real images alone"
            )
        if self.metric not in JUDGED:
            refuse(f"{path}metric: {self.metric!r} is not one of {', '.join(JUDGED)}")
        if not counts_passes(self.classifier):
            refuse(
                f"{path}classifier.epochs: null gives all arms the same steps from the start, as papers do "
                "not; set the epochs of the paper"
            )
        check_seeds(self.train_seeds, f"{path}train_seeds")
        if self.seeds:
            check_seeds(self.seeds, f"{path}seeds")
        for strategy, count in self.epochs.items():
            if self.strategies and strategy not in self.strategies:
                refuse(
                    f"{path}epochs: {strategy!r} is not compared; {path}strategies are "
                    f"{', '.join(self.strategies)}"
                )
            if count < 1:
                refuse(f"{path}epochs: {count} of {strategy} is below 1")
            if count == self.classifier.epochs or self.classifier.preset == "published":
                refuse(
                    f"{path}epochs: {count} of {strategy} changes nothing, as {path}classifier has as many, "
                    "or its preset published says how many; leave it out"
                )
        for rung in rungs_of(self):
            rung.experiment(self, self.train_seeds).validate(path)

    def idle(self) -> dict[str, str]:
        """Return what changes nothing where every strategy has epochs of its own."""
        own = self.strategies and all(name in self.epochs for name in self.strategies)
        return {"classifier.epochs": "epochs has those of every strategy"} if own else {}

    def of(self, strategy: str) -> "LadderConfig":
        """Return these settings for the classifiers of a strategy."""
        epochs = self.epochs.get(strategy, self.classifier.epochs)
        return replace(self, classifier=replace(self.classifier, epochs=epochs))


def check_ladder(
    config: LadderConfig | None, seeds: Sequence[int], strategies: Sequence[str], preset: str, path: str = ""
) -> None:
    """Raise a ConfigError if the ladder of a study has other seeds or strategies, or leads nowhere."""
    if config is None:
        return
    if unknown := [seed for seed in config.seeds if seed not in seeds]:
        refuse(
            f"{path}ladder.seeds: {unknown[0]} is not among those of the study, "
            f"{', '.join(map(str, seeds))}; leave them out for all"
        )
    named = {"strategies": config.strategies, "epochs": list(config.epochs)}
    for setting, names in named.items():
        others = [name for name in names if name not in strategies]
        if not others:
            continue
        refuse(
            f"{path}ladder.{setting}: {others[0]!r} is not among those of the study, "
            f"{', '.join(strategies)}; leave it out"
        )
    if preset == "published":
        refuse(
            f"{path}ladder: it leads from the published split to that of the study; set {path}split.preset "
            "to grouped"
        )


@dataclass(frozen=True)
class Rung:
    """A comparison on the way.

    Attributes:
        name: what changed since the one before, as the report calls it.
        cut: whose split it is on.
        arm: with synthetic images.
        reference: without.
        equal_steps: both arms take as many optimiser steps; as many passes over their images otherwise.
        on_test: weights are selected on the test images.
    """

    name: str
    cut: Cut
    arm: str
    reference: str
    equal_steps: bool
    on_test: bool

    def experiment(self, config: LadderConfig, train_seeds: list[int]) -> ExperimentConfig:
        """Return the settings of its two arms."""
        return ExperimentConfig(
            arms=[self.reference, self.arm],
            architectures=[config.classifier.architecture],
            train_seeds=train_seeds,
            classifier=config.classifier,
            geometric_augment=config.geometric_augment,
            selected_on="test" if self.on_test else "validation",
        )


def rungs_of(config: LadderConfig) -> list[Rung]:
    """Return the rungs in their order; what the paper does not do wrong has none."""
    arm = parse_arm(config.arm)
    exposed = Arm(arm.rows, arm.kept, (*arm.views, "equal_exposure")).name
    first = config.published_reference or config.reference
    rungs = [Rung("as published", "published", config.arm, first, False, config.selected_on_test)]
    if first != config.reference:
        rungs.append(replace(rungs[-1], name=f"against {config.reference}", reference=config.reference))
    rungs.append(replace(rungs[-1], name="the same number of optimiser steps", equal_steps=True))
    rungs.append(replace(rungs[-1], name="equal exposure of real images", arm=exposed))
    rungs.append(replace(rungs[-1], name="no group across the split", cut="fair"))
    if config.selected_on_test:
        rungs.append(replace(rungs[-1], name="nothing selected on the test set", on_test=False))
    return rungs


def experiments_of(
    study: Study, config: LadderConfig, cut: Cut, train_seeds: list[int], recorded: RecordedCells
) -> dict[str, Experiment]:
    """Return the experiment of every rung of a cut, by the rung's name.

    Args:
        study: of that cut.
        config: how the paper compares.
        cut: whose split the study has.
        train_seeds: of the networks.
        recorded: cells that count as done.
    """
    return {
        rung.name: Experiment(
            study,
            rung.experiment(config, train_seeds),
            scenario=rung.name,
            recorded=recorded,
            equal_steps=rung.equal_steps,
        )
        for rung in rungs_of(config)
        if rung.cut == cut
    }


def climb(experiments: Mapping[str, Experiment], synthetic: Synthetic | Unmade) -> dict[str, list[Cell]]:
    """Train and score the two arms of every rung of a cut on the first test set, and return their cells.

    Trainings that rungs share are done once.

    Args:
        experiments: of :func:`experiments_of`.
        synthetic: the images of its split.
    """
    found = {name: experiment.cells(synthetic) for name, experiment in experiments.items()}
    return {
        name: [cell for cell in cells if cell.key.test_group == cells[0].key.test_group]
        for name, cells in found.items()
    }
