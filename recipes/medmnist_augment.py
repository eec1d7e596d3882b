"""A whole MedMNIST set: geometric or generated augmentation, with and without weighted sampling?

    accelerate launch recipes/medmnist_augment.py     # smoke: phantom, minutes, no network
    accelerate launch recipes/medmnist_augment.py --config recipes/medmnist_augment/breastmnist.yaml

Trains a convolutional cVAE, a Joint VAE and a self-attention cGAN, generates images by inverse class
frequency (the Joint VAE reconstructs every training image), and trains the 28-px CNN on every combination.
After Le Roux, "Exploring the Impact of Deep Learning Data Augmentation on Medical Imagery Classification".
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from skindiff.classification.experiment import Experiment
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.commands.recipe import run_recipe
from skindiff.config import check_seeds
from skindiff.corpora.few_shot import FractionSplitConfig, make_fraction_split
from skindiff.corpora.medmnist import official_split
from skindiff.report.assembly import write_study
from skindiff.report.class_study import ClassStudyConfig
from skindiff.report.published.medmnist import AUGMENT_NOTES, published_augment
from skindiff.report.results import Results
from skindiff.study import each_study, opened
from skindiff.synthesis.class_synthesis import draw_by_class
from skindiff.training.from_scratch import train_from_scratch

TITLE = "Geometric or generated: what helps a small CNN, with and without weighted sampling?"


@dataclass
class MedMNISTAugmentConfig(ClassStudyConfig):
    """One study of a whole set, from the corpus to the report."""

    output_dir: str = "runs/medmnist_augment"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    fractions: FractionSplitConfig = field(default_factory=FractionSplitConfig)
    """Split of a corpus that is not MedMNIST, which has parts of its own."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    """Seeds of generators and classifiers together; experiment.train_seeds is overruled."""
    families: list[str] = field(default_factory=lambda: ["cvae_conv", "joint_vae", "attention_gan"])
    """Families of generators to compare."""
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """Arms and classifiers."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        super().validate(path)
        check_seeds(self.seeds, f"{path}seeds")


def main(config: MedMNISTAugmentConfig) -> Path:
    """Run the study and return the path of its report."""
    own = config.corpus.name == "medmnist"
    # 1. The corpus, and its own split.
    with opened(config) as (run, corpus):
        dataset = corpus.dataset
        split = official_split(dataset, 0) if own else make_fraction_split(dataset, config.fractions, 0)
    name = config.corpus.medmnist.dataset if own else config.corpus.name

    results = Results()
    for study in each_study(run, corpus, [split] * len(config.seeds), config.seeds):
        settings = replace(config.experiment, train_seeds=[study.seed])
        experiment = Experiment(study, settings, scenario=name)
        results.add_split(experiment)
        for family in config.families:
            # 2. Train the generator.
            folder = train_from_scratch(study, config.generator.of(family))
            # 3. Generate more of rare classes; the Joint VAE reconstructs every training image.
            synthetic = draw_by_class(study, folder, config.drawing)
            # 4. Train classifiers on every arm and score them; measure fidelity and copies.
            results.add_generator(study, synthetic, experiment=experiment, pipeline=folder)
            results.measured.add(study, config, synthetic)

    # 5. Report.
    notes, published = AUGMENT_NOTES, published_augment(name)
    replicates = config.experiment.bootstrap_replicates
    return write_study(
        results, config, "medmnist_augment", TITLE, replicates=replicates, published=published, notes=notes
    )


if __name__ == "__main__":
    run_recipe(main, MedMNISTAugmentConfig, __file__)
