"""The scores of a filter, as a stage of a run."""

import io
import os
from dataclasses import asdict, replace

import numpy as np
from accelerate import Accelerator
from datasets import Dataset

from skindiff.classification.classifier_config import ClassifierConfig, settings_of
from skindiff.classification.fine_tuning import predict, train_classifier
from skindiff.measures.filters import (
    FilterConfig,
    FloatArray,
    agreement_scores,
    novelty_scores,
    random_scores,
    tone_scores,
    typicality_scores,
)
from skindiff.runs import RunFolder, Stage
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.single_process import SingleProcess

SCORES_FILE = "scores.npy"


def filter_scores(
    run: RunFolder,
    accelerator: Accelerator,
    name: str,
    config: FilterConfig,
    classifier: ClassifierConfig,
    real: Dataset,
    synthetic: Synthetic,
    *,
    seed: int,
    corpus_fingerprint: str,
) -> FloatArray:
    """Return the scores of a filter for what was drawn in a split, computed by the main process.

    Args:
        run: the scores are kept there.
        accelerator: its device.
        name: one of :data:`~skindiff.classification.arm_names.FILTERS`.
        config: see :class:`FilterConfig`.
        classifier: what ``agreement`` asks; it is trained on ``real`` alone and chosen by nothing, so neither
            validation nor test images have a say in what is kept.
        real: training rows of the split.
        synthetic: what was drawn from them.
        seed: of the random order and of the classifier.
        corpus_fingerprint: fingerprint of the corpus.

    Returns:
        One score for each drawn row, higher is kept first, shape (n,).
    """
    inputs: dict[str, object] = {}
    if name == "agreement":
        inputs["classifier"] = settings_of(classifier)
    if name == "typicality":
        inputs["config"] = {**asdict(config), "share": None}
    stage = run.stage(
        f"filter-{name}",
        data=corpus_fingerprint,
        real=list(real["image_id"]),
        synthetic=synthetic.folder.parent.name,
        seed=seed,
        **inputs,
    )
    if not stage.done:
        if accelerator.is_main_process:
            scores = _scores(accelerator, stage, name, config, classifier, real, synthetic.dataset, seed)
            written = io.BytesIO()
            np.save(written, scores)
            partial = stage.folder / f".{SCORES_FILE}.partial"
            partial.write_bytes(written.getvalue())
            os.replace(partial, stage.folder / SCORES_FILE)
        stage.finish()
    found: FloatArray = np.load(stage.folder / SCORES_FILE)
    return found


def _scores(
    accelerator: Accelerator,
    stage: Stage,
    name: str,
    config: FilterConfig,
    classifier: ClassifierConfig,
    real: Dataset,
    drawn: Dataset,
    seed: int,
) -> FloatArray:
    if name == "typicality":
        return typicality_scores(drawn, real, config, accelerator)
    if name == "novelty":
        return novelty_scores(drawn, real)
    if name == "tone":
        return tone_scores(drawn)
    if name == "random":
        return random_scores(drawn, seed)
    alone = SingleProcess(accelerator)
    settings, names = replace(classifier, keep_weights=False), real.features["label"].names
    model = train_classifier(alone, settings, real, None, names, stage.folder, seed)
    return agreement_scores(predict(alone, model, drawn).astype(np.float64), drawn["label"])
