"""``skindiff train classifier``: one classifier, on real or synthetic images or both, and its test scores."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from skindiff.api.classifiers import train_classifier
from skindiff.api.generators import CLASSIFIER
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.fine_tuning import predict
from skindiff.classification.metrics import classification_scores
from skindiff.classification.rows import METRICS
from skindiff.commands.data import CorpusSettings, open_study, same_data
from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import say, suggest, table
from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError
from skindiff.files import write_atomically

SCORES_FILE = "scores.json"
_SHOWN: tuple[Literal["accuracy", "balanced_accuracy", "f1", "auroc"], ...] = (
    "accuracy",
    "balanced_accuracy",
    "f1",
    "auroc",
)


@dataclass
class TrainClassifier(CorpusSettings):
    """Train a classifier and score it on the test images of the split.

    Its weights and its description come to output_dir/classifier. One classifier cannot show whether
    synthetic images help: skindiff evaluate trains many, and gives intervals.
    """

    output_dir: str = "runs/classifier"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    synthetic: str | None = None
    """Run of skindiff sample (or a folder of its shards) to train on too."""
    arm: Literal["real", "syn", "real+syn", "real+duplicates"] | None = None
    """Which images are trained on; null is real+syn where synthetic is given, and real otherwise."""
    seed: int = 0
    """Seed of initial weights, batches and augmentations."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Network, augmentation and training."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        self.classifier.validate(f"{path}classifier.")
        if self.chosen_arm != "real" and self.synthetic is None:
            raise ConfigError(f"{path}synthetic is not given, and arm {self.arm!r} needs it: name a folder")

    @property
    def chosen_arm(self) -> str:
        """The arm that is trained."""
        return self.arm or ("real+syn" if self.synthetic else "real")


def settings(method: str, words: Sequence[str]) -> TrainClassifier:
    """Return what the words say."""
    return parse_command(TrainClassifier, words, f"train {method}")


def main(method: str, words: Sequence[str]) -> int:
    """Train a classifier."""
    config = settings(method, words)
    study = open_study(config, CLASSIFIER, SCORES_FILE)
    names, run, accelerator = study.corpus.class_names, study.run, study.accelerator
    model = train_classifier(
        study.corpus, study.split, config.synthetic, config.arm, config.seed, run, **vars(config.classifier)
    )
    scores = {}
    for group, images in study.tests.items():
        test = ImageTable.from_dataset(images)
        found = predict(accelerator, model, test)
        scores[group] = classification_scores(
            test.labels, found, class_names=names, skin_types=test.skin_types
        )
    if accelerator.is_main_process:
        write_atomically(run.path / SCORES_FILE, json.dumps(scores, indent=1) + "\n")
    run.end()
    say(f"{len(names)} classes ({config.chosen_arm}); classifier: {run.path / CLASSIFIER}")
    lines = [[group, *(_percent(found[name]) for name in _SHOWN)] for group, found in scores.items()]
    if lines:
        say("\n".join(table(["test images, %", *(METRICS[name] for name in _SHOWN)], lines)))
    synthetic = ["--synthetic", config.synthetic] if config.synthetic else []
    suggest(["skindiff", "evaluate", *same_data(run.path), *synthetic, "--output_dir", "runs/evaluate"])
    return 0


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"
