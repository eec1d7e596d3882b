"""How fast are probes? Cells per minute against a ResNet-18 that is fine-tuned, in one run on like images.

    python scripts/bench_probe.py [--images DIR] [--steps 26] [--output bench.json]

A cell is one classifier, trained and asked about the test images. Its training images are half of the corpus,
without synthetic ones and with two for each (here: turned by a quarter and a half). ResNet-18 has the
settings that ``recipes/fitz_lora/fitzpatrick17k_tiny.yaml`` had before it had probes; of its steps only some
are timed, after a warm-up.
Features are timed when they are first computed, probes once features exist. All on one thread.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets, disable_progress_bars
from jsonargparse import auto_cli, set_parsing_settings

import skindiff
from skindiff.api.calls import run_of_call, study_of
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.fine_tuning import train_classifier
from skindiff.classification.prediction import predict
from skindiff.classification.probe import ProbeConfig
from skindiff.classification.probing import feature_store, predict_probe, train_probe
from skindiff.config import with_changes
from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError
from skindiff.study import Study

_NETWORK = {
    "image_size": 64,
    "keep_weights": False,
    "loop": {
        "steps": 260,
        "batch_size": 32,
        "learning_rate": 0.001,
        "lr_schedule": "cosine",
        "warmup_steps": 15,
        "validate_every": 52,
        "checkpoint_every": 130,
    },
}
"""Of ``recipes/fitz_lora/fitzpatrick17k_tiny.yaml`` at ecc61d4, before it had probes."""


@dataclass
class Bench:
    """What is timed, and on what."""

    images: str | None = None
    """Folder of images, one folder for each class; drawings when left out."""
    architecture: str = "probe:lite0"
    """The probe."""
    fits: int = 4
    """Probes that are fitted, for each number of training images."""
    steps: int = 26
    """Steps of ResNet-18 that are timed."""
    output: str | None = None
    """File for the figures, JSON."""


def main(config: Bench) -> dict[str, Any]:
    """Time both, print the figures and return them."""
    if min(config.fits, config.steps) < 1:
        raise ConfigError(f"fits and steps are {config.fits} and {config.steps}: set them to at least 1")
    disable_progress_bars()
    drawings = {"images_per_class": {"I": 24, "II": 24, "V": 24, "VI": 24}} if config.images is None else {}
    corpus = skindiff.load_corpus(config.images or "phantom", image_size=64, **drawings)
    split = skindiff.make_split(corpus, "fractions", test_fraction=0.4, validation_fraction=0.1)
    with run_of_call(None, False, ProbeConfig()) as (run, _):
        torch.set_num_threads(1)
        study = study_of(run, corpus, split)
        real, test = study.train, study.tests["all"]
        turned = [real.map(_turned, fn_kwargs={"degrees": degrees}) for degrees in (90, 180)]
        rows = {"real": real, "real+syn": concatenate_datasets([real, *turned])}
        found = {**_probes(config, study, rows, test), **_network(config, study, rows["real+syn"], test)}
    for name in rows:
        found[f"ratio, {name}"] = found[f"probe cells/min, {name}"] / found["resnet18 cells/min"]
    print(f"{len(real)} training, {len(test)} test images of {len(corpus.class_names)} classes, one thread")
    print(*(f"{name:28} {value:10.2f}" for name, value in found.items()), sep="\n")
    if config.output:
        Path(config.output).write_text(json.dumps(found, indent=1) + "\n")
    return found


def _turned(row: dict[str, Any], degrees: int) -> dict[str, Any]:
    return {"image": row["image"].rotate(degrees), "image_id": f"{row['image_id']}-{degrees}"}


def _probes(config: Bench, study: Study, rows: dict[str, Dataset], test: Dataset) -> dict[str, float]:
    settings, known = ProbeConfig(), (study, config.architecture, ProbeConfig())
    store = feature_store(study, config.architecture, settings)
    table = ImageTable.from_dataset(concatenate_datasets([rows["real+syn"], test]))
    began = time.perf_counter()
    store(table)
    found = {"features/s": len(table) / (time.perf_counter() - began)}
    for name, images in rows.items():
        began = time.perf_counter()
        probes = [train_probe(*known, images, seed, real=len(rows["real"])) for seed in range(config.fits)]
        fitted = time.perf_counter()
        for probe in probes:
            predict_probe(*known, probe, test)
        done = time.perf_counter()
        found[f"fits/s, {name}"] = config.fits / (fitted - began)
        found[f"probe cells/min, {name}"] = 60 * config.fits / (done - began)
    return found


def _network(config: Bench, study: Study, rows: Dataset, test: Dataset) -> dict[str, float]:
    settings = with_changes(ClassifierConfig(), _NETWORK)
    table = ImageTable.from_dataset(rows)
    validation = ImageTable.from_dataset(study.validation)

    def seconds(steps: int) -> float:
        loop = replace(settings.loop, steps=steps, warmup_steps=0, validate_every=0, checkpoint_every=0)
        began = time.perf_counter()
        timed(replace(settings, loop=loop))
        return time.perf_counter() - began

    def timed(own: ClassifierConfig) -> Any:
        folder = study.run.path / f"steps-{own.loop.steps}"
        return train_classifier(study.accelerator, own, table, None, study.corpus.class_names, folder, seed=0)

    start = seconds(1)  # with what is compiled and allocated once
    start = min(start, seconds(1))
    step = (seconds(1 + config.steps) - start) / config.steps
    model = timed(replace(settings, loop=replace(settings.loop, steps=1, warmup_steps=0, validate_every=0)))
    began = time.perf_counter()
    predict(study.accelerator, model, validation)
    judged = time.perf_counter()
    predict(study.accelerator, model, test)
    asked = time.perf_counter() - judged
    judgements = settings.loop.steps // settings.loop.validate_every * (judged - began)
    whole = start + (settings.loop.steps - 1) * step + judgements + asked
    return {"resnet18 images/s": settings.loop.batch_size / step, "resnet18 cells/min": 60 / whole}


if __name__ == "__main__":
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    main(auto_cli(Bench, as_positional=False))
