"""Classifiers, from a notebook."""

from pathlib import Path
from typing import Any

from skindiff.api.calls import Folder, configured, run_of_call, study_of
from skindiff.api.generators import CLASSIFIER, owning
from skindiff.api.synthesis import SyntheticDataset
from skindiff.api.synthetic_input import judged
from skindiff.classification.arms import build_arm
from skindiff.classification.classifier_config import ClassifierConfig, settings_of
from skindiff.classification.fine_tuning import LOG_FILE
from skindiff.classification.fine_tuning import train_classifier as fine_tune
from skindiff.classification.networks import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    SkinClassifier,
    load_classifier,
)
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.runs import Stage
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.products import publish


def train_classifier(
    corpus: Corpus,
    split: Split,
    synthetic: SyntheticDataset | str | Path | None = None,
    arm: str | None = None,
    seed: int = 0,
    output_dir: Folder = None,
    resume: bool = False,
    **settings: Any,
) -> SkinClassifier:
    """Train one classifier; :func:`skindiff.evaluate` is what says whether synthetic images help.

    Example:
        >>> classifier = skindiff.train_classifier(corpus, split, architecture="resnet18", steps=400)
        >>> classifier.predict(corpus.dataset.select(split.test["all"]))

    Args:
        corpus: of :func:`skindiff.load_corpus`.
        split: whose training rows are learnt from, and whose validation rows choose the weights.
        synthetic: of :func:`skindiff.generate` or :func:`skindiff.transfer`, or the folder where they were
            saved, to train on too.
        arm: which images are trained on: ``real``, ``syn``, ``real+syn`` or ``real+duplicates``; ``real+syn``
            where there are synthetic images, and ``real`` otherwise.
        seed: of initial weights, batches and augmentations.
        output_dir: folder of the run; by default a temporary one, deleted with the classifier.
        resume: go on with the training in ``output_dir``.
        settings: of :class:`~skindiff.classification.classifier_config.ClassifierConfig` and its loop.

    Raises:
        ConfigError, TrainingError: a setting or the training rows cannot be used.
    """
    config = configured(ClassifierConfig(), {**settings, "keep_weights": True})
    arm = arm or ("real+syn" if synthetic is not None else "real")
    with run_of_call(output_dir, resume, config) as (run, home):
        study = study_of(run, corpus, split, seed)
        with run.withdrawn_on_error():
            drawn = None if synthetic is None else judged(study, synthetic).synthetic
            rows = build_arm(arm, study.train, drawn.dataset if drawn else None, seed=split.seed)
        stage = _classifier_stage(study, config, arm, drawn)
        if not stage.done:
            fine_tune(run.accelerator, config, rows, study.validation, corpus.class_names, stage.folder, seed)
            stage.finish()
        shown = (WEIGHTS_FILE, DESCRIPTION_FILE, LOG_FILE)
        classifier = load_classifier(publish(stage.folder, run.path / CLASSIFIER, run.accelerator, shown))
    return owning(classifier, home)


def _classifier_stage(study: Study, config: ClassifierConfig, arm: str, drawn: Synthetic | None) -> Stage:
    return study.stage(
        CLASSIFIER,
        arm=arm,
        classifier=settings_of(config),
        train=study.split.train,
        validation=study.split.validation,
        synthetic=drawn.folder.parent.name if drawn else None,
        seed=study.seed,
    )
