"""The scores of a filter, as a stage of a run."""

import io
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from datasets import Dataset

from skindiff.classification.classifier_config import ClassifierConfig, settings_of
from skindiff.classification.fine_tuning import train_classifier
from skindiff.classification.prediction import predict
from skindiff.classification.probe import ProbeConfig
from skindiff.classification.probing import predict_probe, probe_inputs, train_probe
from skindiff.files import write_atomically
from skindiff.measures.filters import (
    FilterConfig,
    FloatArray,
    agreement_scores,
    novelty_scores,
    random_scores,
    tone_scores,
    typicality_scores,
)
from skindiff.runs import Stage
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.single_process import SingleProcess

SCORES_FILE = "scores.npy"


def filter_scores(
    study: Study,
    name: str,
    config: FilterConfig,
    architecture: str,
    classifier: ClassifierConfig | ProbeConfig,
    synthetic: Synthetic,
) -> FloatArray:
    """Return the scores of a filter for the synthetic images of a split, computed by the main process.

    Args:
        study: the scores are a stage of it; its training rows are the sources, and its split's seed
            is that of the random order and of the classifier.
        name: one of :data:`~skindiff.classification.arm_names.FILTERS`.
        config: see :class:`FilterConfig`.
        architecture: of the classifier.
        classifier: what ``agreement`` asks; it is trained on the real rows alone, and weights are chosen by
            nothing, so neither validation nor test images have a say in what is kept.
        synthetic: the images.

    Returns:
        One score for each synthetic row, higher is kept first, shape (n,).
    """
    inputs: dict[str, Any] = {}
    if name == "agreement":
        if isinstance(classifier, ProbeConfig):
            inputs["probe"] = probe_inputs(study, architecture, classifier)
        else:
            inputs["classifier"] = settings_of(classifier)
    if name == "typicality":
        inputs["config"] = {**asdict(config), "share": None}
    stage = study.stage(
        f"filter-{name}",
        real=study.train["image_id"][:],
        synthetic=synthetic.folder.parent.name,
        seed=study.split.seed,
        **inputs,
    )
    if not stage.done:
        if study.accelerator.is_main_process:
            drawn = synthetic.dataset
            if name == "agreement":
                probabilities = _judged(study, stage, architecture, classifier, drawn)
                scores = agreement_scores(probabilities, drawn["label"][:])
            else:
                scores = _scores(study, name, config, drawn)
            written = io.BytesIO()
            np.save(written, scores)
            write_atomically(stage.folder / SCORES_FILE, written.getvalue())
        stage.finish()
    found: FloatArray = np.load(stage.folder / SCORES_FILE, allow_pickle=False)
    return found


def _scores(study: Study, name: str, config: FilterConfig, drawn: Dataset) -> FloatArray:
    if name == "typicality":
        return typicality_scores(drawn, study.train, config, study.accelerator)
    if name == "novelty":
        return novelty_scores(drawn, study.train)
    return tone_scores(drawn) if name == "tone" else random_scores(drawn, study.split.seed)


def _judged(
    study: Study, stage: Stage, architecture: str, classifier: ClassifierConfig | ProbeConfig, drawn: Dataset
) -> FloatArray:
    """Return what a classifier of the real rows thinks of the drawn ones."""
    real, seed = study.train, study.split.seed
    if isinstance(classifier, ProbeConfig):
        probe = train_probe(study, architecture, classifier, real, seed, real=len(real))
        return predict_probe(study, architecture, classifier, probe, drawn)
    worker, names = SingleProcess(study.accelerator), study.corpus.class_names
    settings = replace(classifier, keep_weights=False)
    model = train_classifier(worker, settings, real, None, names, stage.folder, seed)
    return predict(worker, model, drawn).astype(np.float64)
