"""Does a detector of real lesions recognise generated ones? (Bingol et al., section III, Table III)

A detector is trained on real images that the generator never saw, to the group (patient, lesion, duplicate
cluster), and names the class of generated images. *Detection* is the share of a class's images that it gets
right, *confidence* its mean probability of the class over those. A detection rate means little without the
detector's recall on real images that neither it nor the generator saw, so that is given with it, and their
ratio with an interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from skindiff.classification.classifier_config import ClassifierConfig, settings_of
from skindiff.classification.fine_tuning import train_classifier
from skindiff.classification.networks import SkinClassifier, load_classifier
from skindiff.classification.prediction import predict
from skindiff.errors import ConfigError, SplitError
from skindiff.seeding import derive_seed
from skindiff.study import Study
from skindiff.training.loop_config import LoopConfig
from skindiff.wrong_settings import refuse

FloatArray = NDArray[np.float64]


def _detector_defaults() -> ClassifierConfig:
    loop = LoopConfig(
        steps=600, batch_size=64, learning_rate=1e-3, lr_schedule="cosine", warmup_steps=30, validate_every=60
    )
    return ClassifierConfig(architecture="lesion_detector", balance="oversample", loop=loop)


@dataclass
class DetectionConfig:
    """The detector that judges generated images, and which real images it keeps for itself."""

    classifier: ClassifierConfig = field(default_factory=_detector_defaults)
    """Its network and training; Bingol et al.'s has three convolutional blocks and oversampled classes."""
    held_out_fraction: float = 0.3
    """Share of each class's groups that the detector is tested on, of those the generator never saw."""
    validation_fraction: float = 0.15
    """Share of each class's groups that its weights are chosen on."""
    bootstrap_replicates: int = 2000
    """Replicates of the bootstrap over images and groups."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        self.classifier.validate(f"{path}classifier.")
        for name in ("held_out_fraction", "validation_fraction"):
            if not 0 < getattr(self, name) <= 0.5:
                refuse(f"{path}{name}: {getattr(self, name)} is not above 0 and at most 0.5")
        if self.bootstrap_replicates < 100:
            refuse(f"{path}bootstrap_replicates: {self.bootstrap_replicates} is too few; use 100 or more")


@dataclass(frozen=True)
class DetectorSplit:
    """Row numbers (ascending) for the detector; no group is in two parts, or was seen by a generator."""

    train: list[int]
    validation: list[int]
    held_out: list[int]


def make_detector_split(
    corpus: Dataset, generator_rows: Sequence[int], config: DetectionConfig, seed: int
) -> DetectorSplit:
    """Cut what the generator never saw into training, validation and held-out rows, class by class.

    Args:
        corpus: the whole table.
        generator_rows: every row that the generator was trained, or its weights chosen, on.
        config: shares of each class's groups; at least one group goes to each part.
        seed: decides who goes where, together with the group ids alone.

    Raises:
        SplitError: a class has fewer than three groups that the generator never saw.
    """
    groups, labels = corpus["group_id"][:], corpus["label"][:]
    seen = {groups[row] for row in generator_rows}
    class_of: dict[str, int] = {}
    for group, label in zip(groups, labels, strict=True):
        if group not in seen:
            class_of.setdefault(group, label)
    part_of: dict[str, str] = {}
    for code, name in enumerate(corpus.features["label"].names):
        own = [group for group, label in class_of.items() if label == code]
        own.sort(key=lambda group: derive_seed("detector split", seed, group))
        if len(own) < 3:
            raise SplitError(
                f"detector: {len(own)} groups of {name} were not seen by the generator, and training, "
                "validation and held-out images need one each; train the generator on fewer"
            )
        held_out = max(1, round(config.held_out_fraction * len(own)))
        chosen_on = max(1, round(config.validation_fraction * len(own)))
        parts = ["held_out"] * held_out + ["validation"] * chosen_on
        part_of |= dict(zip(own, parts + ["train"] * (len(own) - len(parts)), strict=False))
        if "train" not in {part_of[group] for group in own}:
            part_of[own[0]] = "train"  # one of the two that rounding gave to the held-out rows
    rows: dict[str, list[int]] = {"train": [], "validation": [], "held_out": []}
    for row, group in enumerate(groups):
        if group in part_of:
            rows[part_of[group]].append(row)
    return DetectorSplit(**rows)


@dataclass(frozen=True)
class Judged:
    """What a detector says of n images: ``labels`` (n,), ``probabilities`` (n, classes), one group each."""

    labels: NDArray[np.int64]
    probabilities: FloatArray
    groups: tuple[str, ...]

    @property
    def right(self) -> FloatArray:
        """1 where the most probable class is the image's, 0 elsewhere, shape (n,)."""
        return (self.probabilities.argmax(1) == self.labels).astype(np.float64)

    @property
    def own(self) -> FloatArray:
        """The probability of the image's class, shape (n,)."""
        return np.asarray(self.probabilities[np.arange(len(self.labels)), self.labels])

    def called(self, code: int) -> FloatArray:
        """Return 1 where an image of another class is called this class, for each such image."""
        rows = self.labels != code
        return (self.probabilities[rows].argmax(1) == code).astype(np.float64)

    def of_class(self, code: int) -> "Judged":
        """Return the images of one class."""
        rows = np.flatnonzero(self.labels == code)
        return Judged(self.labels[rows], self.probabilities[rows], tuple(self.groups[row] for row in rows))


@dataclass(frozen=True)
class Detection:
    """One detector's judgement of one generator's images and of the real images held out from both."""

    generator: str
    seed: int
    class_names: tuple[str, ...]
    generated: Judged
    held_out: Judged


class DetectorOfSplit:
    """The detector for the generators of one split: trained once, a stage of the run.

    Args:
        study: the detector is a stage of it; its training rows are those that a judged generator was trained,
            or its weights chosen, on, and its seed is that of the detector's split and training.
        config: see :class:`DetectionConfig`.

    Attributes:
        split: of what no judged generator saw.
        unseen: all of that, in the order of the corpus.
    """

    def __init__(self, study: Study, config: DetectionConfig) -> None:
        self.study, self.corpus = study, study.corpus.dataset
        self.classifier = replace(config.classifier, keep_weights=True)
        self.names: tuple[str, ...] = tuple(study.corpus.class_names)
        self.split = make_detector_split(self.corpus, study.split.train, config, study.seed)
        rows = [*self.split.train, *self.split.validation, *self.split.held_out]
        self.unseen = self.corpus.select(sorted(rows))

    def model(self) -> SkinClassifier:
        """Return the detector, trained now if it has not been."""
        parts = {name: getattr(self.split, name) for name in ("train", "validation")}
        stage = self.study.stage(
            "detector",
            classifier=settings_of(self.classifier),
            seed=self.study.seed,
            **parts,
        )
        if not stage.done:
            train, validation = (self.corpus.select(rows) for rows in parts.values())
            train_classifier(
                self.study.accelerator,
                self.classifier,
                train,
                validation,
                self.names,
                stage.folder,
                self.study.seed,
            )
            stage.finish()
        return load_classifier(stage.folder)

    def judge(self, synthetic: Dataset, generator: str) -> Detection:
        """Return what the detector says of generated images, and of the held-out real ones.

        Args:
            synthetic: rows with ``image``, ``label`` and ``image_id``.
            generator: name for the report.

        Raises:
            ConfigError: there is no image, or the classes are not the detector's.
        """
        if len(synthetic) == 0 or tuple(synthetic.features["label"].names) != self.names:
            raise ConfigError(
                f"detection: {len(synthetic)} images of {synthetic.features['label'].names} cannot be judged "
                f"by a detector of {list(self.names)}; generate some, of the same classes"
            )
        model = self.model()
        real = self.corpus.select(self.split.held_out)
        return Detection(
            generator,
            self.study.seed,
            self.names,
            self._judged(model, synthetic, "image_id"),
            self._judged(model, real, "group_id"),
        )

    def _judged(self, model: SkinClassifier, images: Dataset, group: str) -> Judged:
        labels = np.asarray(images["label"][:], dtype=np.int64)
        probabilities = predict(self.study.accelerator, model, images).astype(np.float64)
        return Judged(labels, probabilities, tuple(images[group][:]))
