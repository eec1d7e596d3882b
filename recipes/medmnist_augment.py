"""A whole MedMNIST set: geometric or generated augmentation, with and without weighted sampling?

    accelerate launch recipes/medmnist_augment.py     # smoke: phantom, minutes, no network
    accelerate launch recipes/medmnist_augment.py --config recipes/medmnist_augment/breastmnist.yaml

Trains a convolutional cVAE, a Joint VAE and a self-attention cGAN, generates images by inverse class
frequency (the Joint VAE reconstructs every training image), and trains the 28-px CNN on every combination.
After Le Roux, "Exploring the Impact of Deep Learning Data Augmentation on Medical Imagery Classification".
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import skindiff
from skindiff.api.comparison import ComparisonConfig
from skindiff.api.promised import Promised
from skindiff.api.published_protocol import PublishedProtocol
from skindiff.api.synthesis import SyntheticDataset
from skindiff.classification.ladder import check_ladder
from skindiff.classification.recorded_cells import RecordedCells, kept_beside
from skindiff.commands.recipe import run_recipe
from skindiff.config import check_seeds
from skindiff.corpora.few_shot import FractionSplitConfig
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.report.assembly import About
from skindiff.report.class_study import ClassStudyConfig
from skindiff.report.published.medmnist import AUGMENT_NOTES, published_augment
from skindiff.study import Study, all_studies, open_run, read_corpus
from skindiff.wrong_settings import refuse

TITLE = "Geometric or generated: what helps a small CNN, with and without weighted sampling?"


@dataclass
class MedMNISTAugmentConfig(ClassStudyConfig, ComparisonConfig):
    """One study of a whole set, from the corpus to the report."""

    output_dir: str = "runs/medmnist_augment"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    fractions: FractionSplitConfig = field(default_factory=FractionSplitConfig)
    """Split of a corpus that is not MedMNIST, which has parts of its own."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    """Seeds of generators and classifiers together; experiment.train_seeds is overruled."""
    deduplicated: bool = True
    """Of MedMNIST report the test images that have no twin in training too, as a test set of its own, with
    weights chosen on validation images that have none."""
    families: list[str] = field(default_factory=lambda: ["cvae_conv", "joint_vae", "attention_gan"])
    """Families of generators to compare."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        super().validate(path)
        check_seeds(self.seeds, f"{path}seeds")
        check_ladder(self.ladder, self.seeds, self.families, "official", path)
        if self.ladder and not (self.deduplicated and self.corpus.name == "medmnist"):
            refuse(
                f"{path}ladder: it leads to the deduplicated split of a MedMNIST set; set {path}deduplicated "
                "to true, or leave it out"
            )

    @property
    def has_validation(self) -> bool:
        """Whether the splits have validation images, as each MedMNIST set has."""
        return self.corpus.name == "medmnist" or self.fractions.validation_fraction > 0


def generated(config: MedMNISTAugmentConfig, study: Study, family: str) -> SyntheticDataset:
    """Train a generator; generate more of rare classes (the Joint VAE reconstructs every training image)."""
    settings = config.generator.settings_of(family)
    generator = skindiff.train_generator(study.corpus, study.split, family, study.seed, study, **settings)
    return skindiff.generate(generator, seed=study.seed, output_dir=study, **vars(config.drawing))


def cut(config: MedMNISTAugmentConfig, corpus: Corpus) -> list[Split]:
    """Return the official parts of a MedMNIST set, published and deduplicated, or fractions of a corpus."""
    if config.corpus.name != "medmnist":
        return [skindiff.make_split(corpus, "fractions", **vars(config.fractions))]
    kinds = [False, True] if config.deduplicated else [False]
    return [skindiff.make_split(corpus, "official", deduplicated=without_twins) for without_twins in kinds]


def main(config: MedMNISTAugmentConfig) -> Path:
    """Run the study and return the path of its report."""
    own = config.corpus.name == "medmnist"
    # 1. The corpus, and its own split.
    run = open_run(config)
    corpus, cuts = read_corpus(
        config.corpus, run, partial(cut, config), kept=kept_beside(__file__, config.recorded)
    )
    name = config.corpus.medmnist.dataset if own else config.corpus.name

    splits, seeds = [cut for cut in cuts for _ in config.seeds], config.seeds * len(cuts)

    # 2. What trains a generator of each family for each seed, and generates.
    def promised(study: Study, family: str) -> Promised:
        made_with = {**vars(config.drawing), "training": config.generator.settings_of(family)}
        return Promised(family, made_with, partial(generated, config, study, family))

    studies = all_studies(run, corpus, splits, seeds)
    synthetic = [[promised(study, family) for family in config.families] for study in studies]

    # 3. Make what is needed, train classifiers on every arm and score them; measure copies; report.
    about = About("medmnist_augment", TITLE, name, published_augment(name), AUGMENT_NOTES)
    count = len(config.seeds)
    theirs = (splits[:count], synthetic[:count], config.seeds)
    paper = PublishedProtocol(config.ladder, *theirs) if config.ladder else None
    report = skindiff.evaluate(
        corpus,
        splits,
        synthetic,
        output_dir=run,
        seeds=seeds,
        about=about,
        published=paper,
        recorded=RecordedCells.beside(__file__, config.recorded),
        **vars(config.experiment),
        **config.measured,
    )
    return report.folder / "report.md"


if __name__ == "__main__":
    run_recipe(main, MedMNISTAugmentConfig, __file__)
