"""``skindiff train classifier`` and ``train probe``: one classifier, and its scores on test images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from skindiff.api.classifiers import train_classifier
from skindiff.api.generators import CLASSIFIER
from skindiff.classification.cells import PREFIX
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.metrics import classification_scores, recalls_by_column
from skindiff.classification.prediction import predict
from skindiff.classification.probe import ProbeConfig, check_probe
from skindiff.classification.probe_classifier import refuse_no_network
from skindiff.classification.rows import METRICS
from skindiff.commands.settings import parse_command
from skindiff.commands.studies import CorpusSettings, open_study, same_data
from skindiff.commands.terminal import say, suggest, table
from skindiff.corpora.image_table import ImageTable
from skindiff.files import write_atomically
from skindiff.measures.backbones import LITE0
from skindiff.wrong_settings import refuse

SCORES_FILE = "scores.json"
_SHOWN: tuple[Literal["accuracy", "balanced_accuracy", "f1", "auroc"], ...] = (
    "accuracy",
    "balanced_accuracy",
    "f1",
    "auroc",
)


@dataclass
class _Train(CorpusSettings):
    scores: ClassVar[bool] = True
    output_dir: str = "runs/classifier"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    synthetic: str | None = None
    """Run of skindiff sample (or a folder of its shards) to train on too."""
    arm: Literal["real", "syn", "real+syn", "real+duplicates"] | None = None
    """Which images are trained on; null is real+syn where synthetic is given, and real otherwise."""
    seed: int = 0
    """Seed of initial weights, batches and augmentations; of a probe the folds that choose its strength."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        if self.chosen_arm != "real" and self.synthetic is None:
            refuse(f"{path}synthetic is not given, and arm {self.arm!r} needs it: name a folder")

    @property
    def chosen_arm(self) -> str:
        """The arm that is trained."""
        return self.arm or ("real+syn" if self.synthetic else "real")

    def settings(self) -> dict[str, Any]:
        """Return what :func:`skindiff.train_classifier` takes besides data, arm and seed."""
        raise NotImplementedError


@dataclass
class TrainClassifier(_Train):
    """Fine-tune a classifier and score it on the test images of the split.

    Its weights and its description come to output_dir/classifier. One classifier cannot show whether
    synthetic images help: skindiff evaluate trains many, and gives intervals.
    """

    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Network, augmentation and training."""

    def trained_together(self) -> dict[str, object]:
        """Return the settings of the network."""
        return {"classifier": self.classifier}

    def settings(self) -> dict[str, Any]:
        """Return the settings of the network."""
        return vars(self.classifier)


@dataclass
class TrainProbe(_Train):
    """Fit a linear probe on a frozen backbone, and score it on the test images of the split.

    The backbone with the probe as its last layer comes to output_dir/classifier. One classifier cannot show
    whether synthetic images help: skindiff evaluate fits many, and gives intervals.
    """

    backbone: str = LITE0
    """Frozen network: lite0 (which is installed with skindiff), a name of timm, or timm/ID."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probe looks at images, and how its strength is chosen."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        refuse_no_network(f"{PREFIX}{self.backbone}", path)
        check_probe(f"{PREFIX}{self.backbone}", self.probe, path)

    def settings(self) -> dict[str, Any]:
        """Return the settings of the probe."""
        return {**vars(self.probe), "architecture": f"{PREFIX}{self.backbone}"}


CONFIGS: dict[str, type[TrainClassifier] | type[TrainProbe]] = {
    "classifier": TrainClassifier,
    "probe": TrainProbe,
}
"""By method."""


def settings(method: str, words: Sequence[str]) -> TrainClassifier | TrainProbe:
    """Return what the words say."""
    return parse_command(CONFIGS[method], words, f"train {method}")


def main(method: str, words: Sequence[str]) -> int:
    """Train a classifier."""
    config = settings(method, words)
    study = open_study(config, CLASSIFIER, SCORES_FILE)
    names, run, accelerator = study.corpus.class_names, study.run, study.accelerator
    model = train_classifier(
        study.corpus, study.split, config.synthetic, config.arm, config.seed, run, **config.settings()
    )
    scores: dict[str, dict[str, Any]] = {}
    for group, images in study.tests.items():
        test = ImageTable.from_dataset(images)
        found = predict(accelerator, model, test)
        own = classification_scores(test.labels, found, class_names=names, skin_types=images["skin_type"][:])
        columns = {name: images[name][:] for name in study.corpus.attribute.columns}
        by_column = recalls_by_column(test.labels, found.argmax(1), columns)
        scores[group] = {**own, **({"per_group_recall": by_column} if by_column else {})}
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
