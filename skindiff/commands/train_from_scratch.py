"""``skindiff train ddpm`` and the other families: a generator that knows its corpus alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import Any

from skindiff.commands.data import (
    CorpusSettings,
    open_run,
    prepare_data,
    publish,
    record_rows,
    same_data,
)
from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import say, suggest
from skindiff.training.from_scratch import FromScratchConfig, train_from_scratch, validate_families

PIPELINE = "pipeline"


@dataclass
class TrainFromScratch(CorpusSettings):
    """Train a class-conditional generator on a corpus alone.

    The pipeline comes to output_dir/pipeline, which skindiff.load and its own class's from_pretrained load.
    """

    output_dir: str = "runs/from_scratch"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    seed: int = 0
    """Seed of initial weights, batches and noise."""

    @property
    def generator(self) -> FromScratchConfig:
        """The family and its settings, which stand under the family's name."""
        family = next(name for name in vars(FromScratchConfig()) if hasattr(self, name) and name != "family")
        own: Any = {"family": family, family: getattr(self, family)}
        return FromScratchConfig(**own)

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        generator = self.generator
        validate_families([generator.family], generator, self.corpus.channels, path, path)


def command_config(family: str) -> type[TrainFromScratch]:
    """Return the config of the command that trains one family, with that family's settings alone."""
    settings = type(getattr(FromScratchConfig(), family))
    made = make_dataclass(
        f"Train_{family}",
        [
            ("output_dir", str, field(default=f"runs/{family}")),
            (family, settings, field(default_factory=settings)),
        ],
        bases=(TrainFromScratch,),
    )
    made.__doc__ = TrainFromScratch.__doc__
    return made


def settings(method: str, words: Sequence[str]) -> TrainFromScratch:
    """Return what the words of a training say."""
    return parse_command(command_config(method.replace("-", "_")), words, f"train {method}")


def main(method: str, words: Sequence[str]) -> int:
    """Train a generator of one family."""
    config, family = settings(method, words), method.replace("-", "_")
    run, accelerator = open_run(config, PIPELINE, trackers=config.trackers)
    data = prepare_data(config, run, accelerator)
    train = data.part("train")
    stage_folder = train_from_scratch(
        run, accelerator, config.generator, train, seed=config.seed, data_key=data.corpus.fingerprint
    )
    folder = publish(stage_folder, run.path / PIPELINE, accelerator)
    record_rows(run, data, accelerator, train)
    accelerator.end_training()
    say(f"{len(train)} images of {len(data.corpus.class_names)} classes; pipeline: {folder}")
    sample = ["skindiff", "sample", "--generator", str(folder), *same_data(run.path)]
    suggest([*sample, "--output_dir", f"runs/sample_{family}"])
    return 0
