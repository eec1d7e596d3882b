"""``skindiff train ddpm`` and the other families: a generator that knows its corpus alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any, ClassVar

from skindiff.api.generators import train_generator
from skindiff.commands.settings import DEFAULTS, parse_command
from skindiff.commands.studies import CorpusSettings, open_study, same_data
from skindiff.commands.terminal import say, suggest
from skindiff.errors import ConfigError
from skindiff.generators.families import find_family, imported
from skindiff.training.from_scratch import PIPELINE, FromScratchConfig, validate_families


@dataclass
class TrainFromScratch(CorpusSettings):
    """Train a class-conditional generator on a corpus alone.

    The pipeline comes to output_dir/pipeline, which skindiff.load and its own class's from_pretrained load.
    """

    family: ClassVar[str]
    output_dir: str = "runs/from_scratch"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    seed: int = 0
    """Seed of initial weights, batches and noise."""

    @property
    def generator(self) -> FromScratchConfig:
        """The family and its settings, which stand under the family's name."""
        own: Any = {"family": self.family, self.family: getattr(self, self.family)}
        return FromScratchConfig(**own)

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        generator = self.generator
        validate_families([generator.family], generator, self.corpus.channels, path, path)

    def trained_together(self) -> dict[str, object]:
        """Return the settings of the family."""
        return {self.family: getattr(self, self.family)}


def command_config(family: str) -> type[TrainFromScratch]:
    """Return the config of the command that trains one family, with that family's settings alone.

    Raises:
        ConfigError: there is no such family, or its name is that of another setting.
    """
    settings = imported(find_family(family).settings)
    if family in {item.name for item in fields(TrainFromScratch)}:
        raise ConfigError(f"family: {family!r} is the name of another setting; rename the family")
    made = make_dataclass(
        f"Train_{family}",
        [
            ("output_dir", str, field(default=f"runs/{family}")),
            (family, settings, field(default_factory=settings)),
        ],
        bases=(TrainFromScratch,),
        namespace={"family": family},
    )
    made.__doc__ = TrainFromScratch.__doc__
    return made


def settings(method: str, words: Sequence[str]) -> TrainFromScratch:
    """Return what the words of a training say."""
    own = f"train-{method}.yaml"
    default = own if (DEFAULTS / own).is_file() else "train-family.yaml"  # a plugin's brings no file
    return parse_command(
        command_config(method.replace("-", "_")), words, f"train {method}", default=DEFAULTS / default
    )


def main(method: str, words: Sequence[str]) -> int:
    """Train a generator of one family."""
    config, family = settings(method, words), method.replace("-", "_")
    study = open_study(config, PIPELINE)
    own = {name: value for name, value in vars(getattr(config, family)).items() if name != "family"}
    train_generator(study.corpus, study.split, family, config.seed, study.run, **own)
    folder = study.run.path / PIPELINE
    study.run.end()
    say(f"{len(study.train)} images of {len(study.corpus.class_names)} classes; pipeline: {folder}")
    sample = ["skindiff", "sample", "--generator", str(folder), *same_data(study.run.path)]
    suggest([*sample, "--output_dir", f"runs/sample_{family}"])
    return 0
