"""A small experiment on phantom, to be run by ``python -m tests.classification.engine``."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from datasets import Dataset

from skindiff.classification.cells import Cell
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.experiment import Experiment
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.probe import ProbeConfig
from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.corpora.splits import Split
from skindiff.launch import start_accelerator
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.loop_config import LoopConfig
from tests.studies import make_study

PLAIN = ClassifierConfig(
    architecture="lesion_detector",
    image_size=32,
    augment="none",
    balance="none",
    keep_weights=False,
    loop=LoopConfig(steps=2, batch_size=4, learning_rate=1e-3, validate_every=1),
)
SMALL = ExperimentConfig(arms=["real"], architectures=["lesion_detector"], classifier=PLAIN)
PROBES = ExperimentConfig(arms=["real"], probe=ProbeConfig(image_size=32))
SPREAD = replace(SMALL, arms=["real", "real+syn", "real+syn:tone"], train_seeds=[0, 1])


def make_corpus() -> Dataset:
    """Six images of each of two classes and two skin types."""
    return load_phantom(PhantomConfig(3, 32, ["nodule", "ring"], {"I": 6, "V": 6}, repeat_share=0.0))


def make_split(corpus: Dataset) -> Split:
    """Half of them to train on."""
    rows = np.arange(len(corpus)).reshape(-1, 6)
    return Split(
        seed=5,
        train=sorted(rows[:, :3].ravel().tolist()),
        validation=sorted(rows[:, 3].tolist()),
        test={"all": sorted(rows[:, 4:].ravel().tolist())},
        dropped={},
        groups_crossing=0,
    )


def drawn_from(
    corpus: Dataset, rows: list[int], folder: Path, times: int = 1, strategy: str = "img2img"
) -> Synthetic:
    """Each of these images some more times, upside down, as if drawn as type VI."""
    made = [
        {**row, "image": row["image"].rotate(180), "skin_type": "VI"}
        | {"image_id": f"{row['image_id']}-{turn}", "source_id": row["image_id"]}
        for turn in range(times)
        for row in corpus.select(rows)
    ]
    table = Dataset.from_list(made)
    table = table.cast_column("label", corpus.features["label"])
    table = table.cast_column("image", corpus.features["image"])
    return Synthetic(
        table, folder / "synthesis-0" / "data", strategy, "tiny@0", "tiny@0", {"planned": len(made)}
    )


def make_experiment(
    folder: Path, accelerator: Accelerator, config: ExperimentConfig, corpus: Dataset, split: Split
) -> Experiment:
    """The experiment in a run of its own, or in the one that is there."""
    config.validate()
    study = make_study(folder, corpus, split, config=config, accelerator=accelerator)
    return Experiment(study, config, scenario="few-shot")


def run_spread(folder: Path, accelerator: Accelerator, config: ExperimentConfig = SPREAD) -> list[Cell]:
    """The cells of :data:`SPREAD`, or of another experiment."""
    corpus = make_corpus()
    split = make_split(corpus)
    experiment = make_experiment(folder, accelerator, config, corpus, split)
    return experiment.cells(drawn_from(corpus, split.train, folder, strategy="upside down"))


if __name__ == "__main__":
    accelerator = start_accelerator(1)
    chosen = replace(PROBES, arms=["real", "real+syn", "syn"]) if sys.argv[2:] == ["probe"] else SPREAD
    run_spread(Path(sys.argv[1]), accelerator, chosen)
    accelerator.end_training()
