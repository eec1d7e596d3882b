"""The settings of a study of transfer: which generators are compared, and what each is taught and asked."""

from dataclasses import dataclass, field
from functools import partial

from skindiff.api.comparison import ComparisonConfig
from skindiff.classification.ladder import check_ladder
from skindiff.config import check_seeds
from skindiff.corpora.splits import SplitConfig
from skindiff.synthesis.asked import idle_of_attribute, refuse_other_targets
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.strategies import (
    FurtherGenerator,
    GeneratorConfig,
    check_strategies,
    idle_of_strategies,
    label_of,
    taught_by,
)
from skindiff.wrong_settings import judge, refuse


@dataclass
class TransferStudyConfig(ComparisonConfig):
    """Settings of a study that transfers images of the majority to the minority."""

    split: SplitConfig = field(default_factory=SplitConfig)
    """Scenario and protocol."""
    split_seeds: list[int] = field(default_factory=lambda: [0, 42, 123, 1111, 1234])
    """Seeds of the splits; a generator is trained for each. The default are the paper's."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """Base model, textual inversion, LoRA."""
    further_generators: dict[str, FurtherGenerator] = field(default_factory=dict)
    """More generators to compare with this one, by a name for the report, such as {rank32: {lora: ...}}."""
    strategies: list[str] = field(default_factory=lambda: ["img2img ti+lora"])
    """Generation strategies of the paper's Table 5 whose images classifiers are trained on."""
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    """How images are generated; strategies takes the place of its strategy and mode."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        super().validate(path)
        check_strategies(self.strategies, f"{path}strategies")
        check_seeds(self.split_seeds, f"{path}split_seeds")
        labels = [label_of(one, name) for name in (None, *self.further_generators) for one in self.strategies]
        check_ladder(self.ladder, self.split_seeds, labels, self.split.preset, path)
        drawings = {path: self.synthesis}
        for name, further in self.further_generators.items():
            own = f"{path}further_generators.{name}."
            further.validate(own)
            drawings |= {own: further.synthesis} if further.synthesis else {}
        for own, drawing in drawings.items():
            judge(partial(refuse_other_targets, drawing, self.corpus.attribute), own)
        scarce, primary = self.corpus.attribute, self.experiment.primary
        tested = [scarce.minority_group, *([scarce.majority_group] if self.split.scenario == "i" else [])]
        if primary and primary.test_group not in (None, *tested):
            refuse(
                f"{path}experiment.primary.test_group: {primary.test_group!r} is not tested in scenario "
                f"{self.split.scenario} of {scarce.name}; give {' or '.join(tested)}, or null"
            )

    def trained_together(self) -> dict[str, object]:
        """Return the settings of what the strategies teach the generators, and of a study's networks."""
        names = ["generator", *(f"further_generators.{name}" for name in self.further_generators)]
        return super().trained_together() | {
            f"{own}.{part}": getattr(trainings, part)
            for own, (_, trainings, _) in zip(names, self.generators(), strict=True)
            for part in taught_by(self.strategies)
        }

    def idle(self) -> dict[str, str]:
        """Return the settings that the strategies overrule, or have no use for."""
        return idle_of_strategies(self.strategies) | idle_of_attribute(self.corpus.attribute)

    def generators(self) -> list[tuple[str | None, GeneratorConfig, SynthesisConfig]]:
        """Return the name (None for the first), trainings and synthesis settings of every generator."""
        aimed, rest = partial(SynthesisConfig.aimed, attribute=self.corpus.attribute), self.further_generators
        return [
            (None, self.generator, aimed(self.synthesis)),
            *(
                (name, own.beside(self.generator), aimed(own.synthesis or self.synthesis))
                for name, own in rest.items()
            ),
        ]
