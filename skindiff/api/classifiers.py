"""Classifiers, from a notebook."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from skindiff.api.calls import Folder, configured, run_of_call, study_of
from skindiff.api.generators import CLASSIFIER, owning
from skindiff.api.synthesis import SyntheticDataset
from skindiff.api.synthetic_input import judged
from skindiff.classification.arms import build_arm
from skindiff.classification.cells import is_probe
from skindiff.classification.classifier_config import ClassifierConfig, settings_of
from skindiff.classification.fine_tuning import LOG_FILE
from skindiff.classification.fine_tuning import train_classifier as fine_tune
from skindiff.classification.networks import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    SkinClassifier,
    load_classifier,
    save_classifier,
)
from skindiff.classification.probe import ProbeConfig, check_probe
from skindiff.classification.probe_classifier import probe_classifier, refuse_no_network
from skindiff.classification.probing import feature_store, probe_inputs, train_probe
from skindiff.corpora.image_table import ImageTable
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.runs import Stage
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.balancing import BY_BOTH, refuse_unrecorded
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
        >>> probe = skindiff.train_classifier(corpus, split, architecture="probe:lite0")

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
        settings: of :class:`~skindiff.classification.classifier_config.ClassifierConfig` and its loop; where
            ``architecture`` is ``probe:BACKBONE``, of :class:`~skindiff.classification.probe.ProbeConfig`.

    Raises:
        ConfigError, TrainingError: a setting or the training rows cannot be used.
    """
    name = str(settings.get("architecture", ""))
    config: ClassifierConfig | ProbeConfig
    if is_probe(name):
        rest = {setting: value for setting, value in settings.items() if setting != "architecture"}
        config = configured(ProbeConfig(), rest)
        check_probe(name, config)
        refuse_no_network(name)
    else:
        config = configured(ClassifierConfig(), {**settings, "keep_weights": True})
    arm = arm or ("real+syn" if synthetic is not None else "real")
    with run_of_call(output_dir, resume, config) as (run, home):
        study = study_of(run, corpus, split, seed)
        with run.withdrawn_on_error():
            drawn = None if synthetic is None else judged(study, synthetic).synthetic
            column = corpus.attribute.column
            if isinstance(config, ClassifierConfig):
                refuse_unrecorded(config.balance, study.train[column][:], column, "balance")
            images = drawn.dataset if drawn else None
            rows = build_arm(arm, study.train, images, seed=split.seed, column=column)
        stage = _classifier_stage(study, name, config, arm, drawn)
        if not stage.done:
            if isinstance(config, ProbeConfig):
                _fit(study, name, config, rows, arm, stage.folder)
            else:
                to = (study.validation, corpus.class_names, stage.folder, seed)
                table = ImageTable.from_dataset(rows, column)
                fine_tune(run.accelerator, config, table, *to, crop=corpus.crop)
            stage.finish()
        shown = (WEIGHTS_FILE, DESCRIPTION_FILE, *(() if is_probe(name) else (LOG_FILE,)))
        classifier = load_classifier(publish(stage.folder, run.path / CLASSIFIER, run.accelerator, shown))
    return owning(classifier, home)


def _fit(study: Study, name: str, config: ProbeConfig, rows: Dataset, arm: str, folder: Path) -> None:
    real = 0 if arm == "syn" else len(study.train)
    probe = train_probe(study, name, config, rows, study.seed, real=real)
    backbone = feature_store(study, name, config).backbone
    size = int(ImageTable.from_dataset(rows).pixels.shape[1])
    model = probe_classifier(name, backbone, probe, study.corpus.class_names, size)
    model.architecture = replace(model.architecture, crop=study.corpus.crop)
    if study.accelerator.is_main_process:
        save_classifier(folder, model)


def _classifier_stage(
    study: Study, name: str, config: ClassifierConfig | ProbeConfig, arm: str, drawn: Synthetic | None
) -> Stage:
    known = probe_inputs(study, name, config) if isinstance(config, ProbeConfig) else settings_of(config)
    by_both = config.balance == BY_BOTH
    return study.stage(
        CLASSIFIER,
        arm=arm,
        classifier=known,
        train=study.split.train,
        validation=study.split.validation,
        synthetic=drawn.folder.parent.name if drawn else None,
        seed=study.seed,
        **({"attribute": study.corpus.attribute.column} if by_both else {}),
    )
