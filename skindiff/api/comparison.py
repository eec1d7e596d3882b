"""The settings of every study that compares arms."""

from dataclasses import dataclass, field

from skindiff.classification.arm_names import refuse_tone_arms
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.ladder import LadderConfig
from skindiff.classification.recorded_cells import Recorded
from skindiff.report.measurements import MeasuredConfig


@dataclass
class ComparisonConfig(MeasuredConfig):
    """Settings of every study that compares arms."""

    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """Arms and classifiers."""
    ladder: LadderConfig | None = None
    """How the paper compares, to take its gain apart step by step, from its split to that of the study."""
    recorded: Recorded = "take"
    """take: cells that are kept beside the recipe count as done; only: report those alone, and train
    nothing; ignore: train everything."""

    def trained_together(self) -> dict[str, object]:
        """Return the settings of the networks, where all processes train each of them."""
        alone = self.experiment.one_process_each
        own = {} if alone else {"experiment.classifier": self.experiment.classifier}
        return super().trained_together() | own

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        super().validate(path)
        refuse_tone_arms(self.experiment.arms, self.corpus.attribute, f"{path}experiment.arms")
