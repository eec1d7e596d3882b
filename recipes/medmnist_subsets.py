"""A small subset of a MedMNIST set: what do simple generators add to a ResNet-18 at 28 px?

    accelerate launch recipes/medmnist_subsets.py     # smoke: phantom, minutes, no network
    accelerate launch recipes/medmnist_subsets.py --config recipes/medmnist_subsets/breastmnist.yaml

Trains a fully connected autoencoder, cVAE and cGAN, generates 150 images of each label, and reports AUC and
accuracy without and with them: at the epoch that validation chose, and at the best test epoch as
Chaptoukaev does. After Chaptoukaev, "The Effectiveness of Generative Models for Data Augmentation in
Medical Applications".
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
from skindiff.report.published.medmnist import SUBSET_NOTES, published_subsets
from skindiff.study import Study, all_studies, open_run, read_corpus
from skindiff.wrong_settings import refuse

TITLE = "150 images per class: what do an autoencoder, a cVAE and a cGAN add?"


@dataclass
class MedMNISTSubsetsConfig(ClassStudyConfig, ComparisonConfig):
    """One study of a small subset, from the corpus to the report."""

    output_dir: str = "runs/medmnist_subsets"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    per_class: int = 150
    """Training images for each class, on average; the paper's BreastMNIST is whole whatever is said here."""
    fractions: FractionSplitConfig = field(default_factory=FractionSplitConfig)
    """Split of a corpus that is not MedMNIST, which has parts of its own."""
    subset_seed: int = 0
    """Seed of the subset (or split), which is one for all seeds."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    """Seeds of generators and classifiers together; experiment.train_seeds is overruled."""
    deduplicated: bool = True
    """Of MedMNIST report the test images that have no twin in training too, as a test set of its own, with
    weights chosen on validation images that have none."""
    families: list[str] = field(default_factory=lambda: ["fc_autoencoder", "fc_cvae", "fc_gan"])
    """Families of generators to compare."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        super().validate(path)
        if self.per_class < 1:
            refuse(f"{path}per_class: {self.per_class} is below 1; the paper has 150")
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


def generated(config: MedMNISTSubsetsConfig, study: Study, family: str) -> SyntheticDataset:
    """Train a generator, and generate 150 images of each class; the autoencoder reconstructs its own."""
    settings = config.generator.settings_of(family)
    generator = skindiff.train_generator(study.corpus, study.split, family, study.seed, study, **settings)
    return skindiff.generate(generator, seed=study.seed, output_dir=study, **vars(config.drawing))


def cut(config: MedMNISTSubsetsConfig, corpus: Corpus) -> list[Split]:
    """Return a small subset of a MedMNIST set, as published and deduplicated, or fractions of a corpus."""
    seed = config.subset_seed
    if config.corpus.name != "medmnist":
        return [skindiff.make_split(corpus, "fractions", seed, **vars(config.fractions))]
    kinds = [False, True] if config.deduplicated else [False]
    return [
        skindiff.make_split(corpus, "subset", seed, per_class=config.per_class, deduplicated=without_twins)
        for without_twins in kinds
    ]


def main(config: MedMNISTSubsetsConfig) -> Path:
    """Run the study and return the path of its report."""
    own = config.corpus.name == "medmnist"
    # 1. The corpus, and a small subset of it.
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
    about = About("medmnist_subsets", TITLE, name, published_subsets(name), SUBSET_NOTES)
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
    run_recipe(main, MedMNISTSubsetsConfig, __file__)
