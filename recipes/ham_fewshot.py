"""A few images per class: do from-scratch generators help a classifier that has no more?

    accelerate launch recipes/ham_fewshot.py     # smoke: phantom, minutes, no network
    accelerate launch recipes/ham_fewshot.py --config recipes/ham_fewshot/ham10000.yaml \
        --corpus.ham10000.data_dir DIR     # real images, 32 px, a CPU

Trains a CVAE, a conditional GAN and a conditional DDPM on the few images, generates the paper's budget of
each class, trains classifiers on real / syn / real+syn, and reports F1 by class, fidelity and intervals.
After Ravani, Agarwal and Jangir, "Generative Models for Few-Shot Medical Imaging".
"""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import skindiff
from skindiff.api.comparison import ComparisonConfig
from skindiff.api.promised import Promised
from skindiff.api.published_protocol import PublishedProtocol, cut_for_ladder
from skindiff.api.synthesis import SyntheticDataset
from skindiff.classification.ladder import check_ladder
from skindiff.classification.recorded_cells import RecordedCells, kept_beside
from skindiff.commands.recipe import run_recipe
from skindiff.config import check_seeds
from skindiff.corpora.few_shot import FewShotConfig, GeneratorRows, generator_rows
from skindiff.report.assembly import About
from skindiff.report.class_study import ClassStudyConfig
from skindiff.report.published.ham import FEW_SHOT_NOTES, published_few_shot
from skindiff.study import Study, all_studies, open_run, read_corpus

TITLE = "A few images per class: do generators trained from scratch help?"


@dataclass
class HamFewShotConfig(ClassStudyConfig, ComparisonConfig):
    """One few-shot study, from the corpus to the report."""

    output_dir: str = "runs/ham_fewshot"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    split: FewShotConfig = field(default_factory=FewShotConfig)
    """Shots per class and protocol."""
    split_seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Seeds of the splits; each generator is trained for each."""
    families: list[str] = field(default_factory=lambda: ["cvae_resnet", "dcgan", "ddpm"])
    """Families of generators to compare."""
    generator_images: GeneratorRows = "few-shot"
    """What generators learn from: the shots; pool adds images that share no lesion with validation or test;
    everything is the paper's, whose CVAE saw the tested images too."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        super().validate(path)
        check_seeds(self.split_seeds, f"{path}split_seeds")
        check_ladder(self.ladder, self.split_seeds, self.families, self.split.preset, path)

    @property
    def has_validation(self) -> bool:
        """Whether the splits have validation images."""
        return self.split.validation_fraction > 0


def generated(config: HamFewShotConfig, study: Study, family: str) -> SyntheticDataset:
    """Train a generator on a split, and generate the budget of each class."""
    shown = generator_rows(study.corpus.dataset, study.split, config.generator_images)
    generator = skindiff.train_generator(
        study.corpus, replace(study.split, train=shown), family, study.seed, study,
        **config.generator.settings_of(family),
    )  # fmt: skip
    drawing = vars(config.drawing)
    return skindiff.generate(generator, seed=study.seed, split=study.split, output_dir=study, **drawing)


def main(config: HamFewShotConfig) -> Path:
    """Run the study and return the path of its report."""
    # 1. The corpus, and the splits: a few images of each class to train on, the others to select and test on.
    run = open_run(config)
    cut = partial(cut_for_ladder, protocol="few_shot", config=config)
    corpus, (splits, cuts) = read_corpus(config.corpus, run, cut, kept=kept_beside(__file__, config.recorded))

    # 2. What trains a generator of each family on each split, and generates.
    def promised(study: Study, family: str) -> Promised:
        made_with = {**vars(config.drawing), "shown": config.generator_images}
        made_with["training"] = config.generator.settings_of(family)
        return Promised(family, made_with, partial(generated, config, study, family))

    studies, count = all_studies(run, corpus, [*splits, *cuts]), len(splits)
    synthetic = [[promised(study, family) for family in config.families] for study in studies]
    paper = PublishedProtocol(config.ladder, cuts, synthetic[count:]) if config.ladder else None

    # 3. Make what is needed, train classifiers on every arm and score them; measure copies; report.
    about = About("ham_fewshot", TITLE, f"{config.split.shots} shots", published_few_shot(), FEW_SHOT_NOTES)
    leaks = config.generator_images == "everything"  # as the paper's CVAE does
    report = skindiff.evaluate(
        corpus,
        splits,
        synthetic[:count],
        output_dir=run,
        about=about,
        allow_taught=leaks,
        published=paper,
        recorded=RecordedCells.beside(__file__, config.recorded),
        **vars(config.experiment),
        **config.measured,
    )
    return report.folder / "report.md"


if __name__ == "__main__":
    run_recipe(main, HamFewShotConfig, __file__)
