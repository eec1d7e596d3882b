"""A small subset of a MedMNIST set: what do simple generators add to a ResNet-18 at 28 px? (system S2)

    accelerate launch recipes/medmnist_subsets.py     # smoke: phantom, minutes, no network
    accelerate launch recipes/medmnist_subsets.py --config recipes/medmnist_subsets/breastmnist.yaml

Trains a fully connected autoencoder, cVAE and cGAN, draws 150 images of each label, and reports AUC and
accuracy without and with them: at the epoch that validation chose, and at the best test epoch as S2 does.
After Chaptoukaev, "The Effectiveness of Generative Models for Data Augmentation in Medical Applications".
"""

import os
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from accelerate.logging import get_logger

from skindiff.classification.experiment import Experiment, ExperimentConfig
from skindiff.config import check_resume, check_seeds, parse_config
from skindiff.corpora.few_shot import FractionSplitConfig, make_fraction_split
from skindiff.corpora.medmnist import random_subset
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.errors import ConfigError, SkindiffError
from skindiff.launch import start_accelerator
from skindiff.measures.copying.memorisation import CopyingConfig
from skindiff.report.classes import ClassResults, report_classes
from skindiff.report.published.medmnist import SUBSET_NOTES, published_subsets
from skindiff.runs import RunFolder
from skindiff.synthesis.class_synthesis import ClassSynthesisConfig, draw_by_class
from skindiff.training.from_scratch import FromScratchConfig, train_from_scratch, validate_families

logger = get_logger(__name__)
TITLE = "150 images per class: what do an autoencoder, a cVAE and a cGAN add?"


@dataclass
class MedMNISTSubsetsConfig:
    """One study of a small subset, from the corpus to the report."""

    output_dir: str = "runs/medmnist_subsets"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    resume: bool = False
    """Go on with the run in output_dir; what is finished and unchanged is kept."""
    overwrite: bool = False
    """Delete the run in output_dir first."""
    threads: int | None = None
    """CPU threads per process; null shares the cores among the local processes."""
    trackers: list[str] = field(default_factory=list)
    """Experiment trackers of Accelerate, such as tensorboard or wandb."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """The images."""
    per_class: int = 150
    """Training images for each class, on average; S2's BreastMNIST is whole whatever is said here."""
    fractions: FractionSplitConfig = field(default_factory=FractionSplitConfig)
    """Split of a corpus that is not MedMNIST, which has parts of its own."""
    subset_seed: int = 0
    """Seed of the subset (or split), which is one for all seeds."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    """Seeds of generators and classifiers together; experiment.train_seeds is overruled."""
    families: list[str] = field(default_factory=lambda: ["fc_autoencoder", "fc_cvae", "fc_gan"])
    """Families of generators to compare."""
    generator: FromScratchConfig = field(default_factory=FromScratchConfig)
    """The settings of each family; its own family is overruled by families."""
    synthesis: ClassSynthesisConfig = field(default_factory=ClassSynthesisConfig)
    """How many images of each class are drawn, and how; they are saved at the size of the corpus."""
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """Arms and classifiers."""
    copying: CopyingConfig = field(default_factory=CopyingConfig)
    """How copies of training images are looked for among the drawn ones."""
    include_images: bool | None = None
    """Put sample grids into the report; the run folder then holds pictures of the corpus, so null, for
    patients' sake, does so only if the corpus is phantom."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        self.corpus.validate(f"{path}corpus.")
        self.fractions.validate(f"{path}fractions.")
        validate_families(self.families, self.generator, self.corpus.channels, path, f"{path}generator.")
        self.synthesis.validate(f"{path}synthesis.")
        self.experiment.validate(f"{path}experiment.")
        self.copying.validate(f"{path}copying.")
        if self.per_class < 1:
            raise ConfigError(f"{path}per_class: {self.per_class} is below 1; the paper has 150")
        check_seeds(self.seeds, f"{path}seeds")
        check_resume(self.resume, self.overwrite, path)


def main(config: MedMNISTSubsetsConfig) -> Path:
    """Run the study and return the path of its report."""
    started = time.perf_counter()
    accelerator = start_accelerator(config.threads, config.trackers, config.output_dir)
    run = RunFolder(config.output_dir, config, accelerator, resume=config.resume, overwrite=config.overwrite)
    accelerator.init_trackers("skindiff")

    # 1. The corpus, and a small subset of it.
    with run.withdrawn_on_error():
        with accelerator.main_process_first():
            corpus = prepare_corpus(config.corpus, run.path)
        if config.corpus.name == "medmnist":
            split = random_subset(corpus.dataset, config.per_class, seed=config.subset_seed)
        else:
            split = make_fraction_split(corpus.dataset, config.fractions, config.subset_seed)
    name = config.corpus.medmnist.dataset if config.corpus.name == "medmnist" else config.corpus.name
    drawing = replace(config.synthesis, output_size=config.corpus.image_size)
    logger.info("%s: %s, %s", name, corpus.counts(), split.sizes())
    results = ClassResults(corpus, config.experiment.bootstrap_replicates)
    key, held_out = {"corpus_fingerprint": corpus.fingerprint}, corpus.dataset.select(split.test["all"])

    for seed in config.seeds:
        settings = replace(config.experiment, train_seeds=[seed])
        arguments = {"scenario": name, **key}
        experiment = Experiment(run, accelerator, settings, corpus.dataset, split, **arguments)
        results.add_split(experiment)

        for family in config.families:
            # 2. Train the generator.
            generator = config.generator.of(family)
            folder = train_from_scratch(run, accelerator, generator, experiment.train, seed=seed, **key)
            # 3. Draw 150 images of each class (the autoencoder re-draws what it learnt from).
            synthetic = draw_by_class(run, accelerator, folder, experiment.train, drawing, seed=seed)
            # 4. Train classifiers on every arm and score them.
            results.add_generator(experiment, folder, synthetic, family, seed)
            results.copies.add(
                run, config.copying, experiment.train, held_out, synthetic, family, seed, **key
            )

    # 5. Report.
    results.seconds = time.perf_counter() - started
    if accelerator.is_main_process:
        report_classes(
            results, "medmnist_subsets", TITLE, asdict(config), run.path, accelerator,
            published=published_subsets(name), notes=SUBSET_NOTES,
        )  # fmt: skip
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.path / "report.md"


if __name__ == "__main__":
    try:
        report = main(
            parse_config(MedMNISTSubsetsConfig, default=Path(__file__).with_suffix("") / "smoke.yaml")
        )
    except SkindiffError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"report: {report}")
