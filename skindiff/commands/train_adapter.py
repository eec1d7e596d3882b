"""``skindiff train textual-inversion`` and ``lora``: an adapter of a text-to-image pipeline."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skindiff.api.generators import train_lora, train_textual_inversion
from skindiff.commands.settings import parse_command
from skindiff.commands.studies import CorpusSettings, open_study, same_data
from skindiff.commands.terminal import say, suggest
from skindiff.errors import ConfigError
from skindiff.generators.adapter import TOKENS_FILE
from skindiff.generators.models import DEFAULT_MODEL
from skindiff.generators.resolve import Place
from skindiff.generators.text_to_image.loading import check_text_to_image
from skindiff.study import look_first
from skindiff.training.adapters import ADAPTER
from skindiff.training.lora import LoRAConfig
from skindiff.training.textual_inversion import TextualInversionConfig


@dataclass
class TrainAdapter(CorpusSettings):
    """Settings that both trainings share."""

    model: str = DEFAULT_MODEL
    """Base model to start from: a folder, a .safetensors file that holds all of it, a Hub id, or bundled for
    the pipeline in this package."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model; null is its newest. What was used is recorded."""
    model_config: str | None = None
    """Settings of a model in one file: the folder of a saved pipeline, or sd15, sd21-base, sd21 or sdxl; null
    takes what fits the file."""


@dataclass
class TrainTextualInversion(TrainAdapter):
    """Learn a new word for each class of a corpus.

    The words come to output_dir/adapter, which plain diffusers loads.
    """

    output_dir: str = "runs/textual_inversion"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    textual_inversion: TextualInversionConfig = field(default_factory=TextualInversionConfig)
    """How the words are learnt."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        self.textual_inversion.validate(f"{path}textual_inversion.")

    def trained_together(self) -> dict[str, object]:
        """Return the settings of the training."""
        return {"textual_inversion": self.textual_inversion}


@dataclass
class TrainLoRA(TrainAdapter):
    """Train low-rank updates on the images of a corpus.

    They come to output_dir/adapter, with the words they were trained with; plain diffusers loads it.
    """

    output_dir: str = "runs/lora"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    words: str | None = None
    """Run of skindiff train textual-inversion (or its adapter folder) whose words the prompts hold; without
    it they call each class by its name."""
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    """How the updates are trained."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        self.lora.validate(f"{path}lora.")

    def trained_together(self) -> dict[str, object]:
        """Return the settings of the training."""
        return {"lora": self.lora}


def settings(method: str, words: Sequence[str]) -> TrainAdapter:
    """Return what the words of a training by textual inversion or LoRA say."""
    kind: type[TrainAdapter] = TrainLoRA if method == "lora" else TrainTextualInversion
    return parse_command(kind, words, f"train {method}")


def main(method: str, words: Sequence[str]) -> int:
    """Train an adapter by textual inversion or LoRA."""
    config = settings(method, words)
    own = config.words if isinstance(config, TrainLoRA) else None
    look_first(config, lambda _: _check_base(config), lambda _: _learnt(own))
    learnt = _learnt(own)
    place = Place(config.model, config.revision, learnt, config.model_config)
    study = open_study(config, ADAPTER)
    if isinstance(config, TrainLoRA):
        train_lora(study.corpus, study.split, place, output_dir=study.run, **vars(config.lora))
    elif isinstance(config, TrainTextualInversion):
        learning = vars(config.textual_inversion)
        train_textual_inversion(study.corpus, study.split, place, output_dir=study.run, **learning)
    folder = study.run.path / ADAPTER
    study.run.end()
    names = study.corpus.class_names
    say(f"{len(study.train)} images of {len(names)} classes; adapter: {folder}")
    sample = ["skindiff", "sample", "--generator", str(folder)]
    transfer = [*sample, "--mode", "transfer", *same_data(study.run.path), "--output_dir", "runs/transfer"]
    named = isinstance(config, TrainTextualInversion) or learnt  # other adapters do not know their classes
    classes = [] if named else ["--classes", json.dumps(names)]
    suggest([*sample, *classes, "--output_dir", "runs/sample"], transfer)
    return 0


def _check_base(config: TrainAdapter) -> None:
    """Raise an error for a base model of none of the architectures, or of one that learns no words."""
    architecture = check_text_to_image(config.model, config.revision, config.model_config)
    if isinstance(config, TrainTextualInversion) and not architecture.token_homes:
        raise ConfigError(
            f"model: {config.model!r} is a model of {architecture.name}, for which diffusers has no loader "
            "of learned words: train lora, or take another model"
        )


def _learnt(words: str | None) -> Path | None:
    """Return the folder of an adapter, which a run holds under its name; None of none."""
    if words is None:
        return None
    for path in (Path(words), Path(words) / ADAPTER):
        if (path / TOKENS_FILE).is_file():
            return path
    raise ConfigError(f"words: {words} holds no adapter; give a run of skindiff train textual-inversion")
