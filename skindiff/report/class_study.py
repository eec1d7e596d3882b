"""The settings of every study of class-conditional generators."""

from dataclasses import dataclass, field, replace

from skindiff.report.measurements import MeasuredConfig
from skindiff.synthesis.class_synthesis import ClassSynthesisConfig
from skindiff.training.from_scratch import FromScratchConfig, validate_families


@dataclass
class ClassStudyConfig(MeasuredConfig):
    """Settings of every study of class-conditional generators."""

    families: list[str] = field(default_factory=list)
    """Families of generators to compare."""
    generator: FromScratchConfig = field(default_factory=FromScratchConfig)
    """The settings of each family; families takes the place of its own family."""
    synthesis: ClassSynthesisConfig = field(default_factory=ClassSynthesisConfig)
    """How many images of each class are generated, and how; they are saved at the size of the corpus."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        super().validate(path)
        validate_families(self.families, self.generator, self.corpus.channels, path, f"{path}generator.")

    @property
    def drawing(self) -> ClassSynthesisConfig:
        """How images are generated and saved."""
        return replace(self.synthesis, output_size=self.corpus.image_size)
