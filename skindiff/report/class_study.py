"""The settings of every study of class-conditional generators."""

from dataclasses import dataclass, field, fields, replace

from skindiff.report.measurements import MeasuredConfig
from skindiff.synthesis.class_synthesis import ClassSynthesisConfig
from skindiff.training.from_scratch import FromScratchConfig, validate_families
from skindiff.wrong_settings import refuse


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
        for family in () if self.has_validation else self.families:
            if self.generator.settings_of(family).get("early_stopping"):
                refuse(
                    f"{path}generator.{family}.early_stopping is true, and the splits have no validation "
                    "images: set it to false"
                )

    @property
    def has_validation(self) -> bool:
        """Whether the splits have validation images."""
        return True

    def trained_together(self) -> dict[str, object]:
        """Return the settings of the families that are compared, and of what a study has besides."""
        own = {f"generator.{family}": self.generator.of(family).own for family in self.families}
        return super().trained_together() | own

    def idle(self) -> dict[str, str]:
        """Return the settings of families that are not compared, and those that the study decides."""
        others = [item.name for item in fields(self.generator) if item.name not in ("family", *self.families)]
        found = dict.fromkeys((f"generator.{name}" for name in others), f"families is {self.families}")
        found["generator.family"] = "families takes its place"
        found["synthesis.output_size"] = "images are saved at the size of the corpus"
        return found

    @property
    def drawing(self) -> ClassSynthesisConfig:
        """How images are generated and saved."""
        return replace(self.synthesis, output_size=self.corpus.image_size)
