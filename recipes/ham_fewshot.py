"""A few images per class: do from-scratch generators help a classifier that has no more? (system S1)

    accelerate launch recipes/ham_fewshot.py     # smoke: phantom, minutes, no network
    accelerate launch recipes/ham_fewshot.py --config recipes/ham_fewshot/ham10000.yaml \
        --corpus.ham10000.data_dir DIR     # real images, 32 px, a CPU

Trains a CVAE, a conditional GAN and a conditional DDPM on the few images, draws the paper's budget of each
class, trains classifiers on real / syn / real+syn, and reports F1 of every class, fidelity and intervals.
After Ravani, Agarwal and Jangir, "Generative Models for Few-Shot Medical Imaging".
"""

import os
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from accelerate.logging import get_logger

from skindiff.classification.experiment import Experiment, ExperimentConfig
from skindiff.config import check_resume, check_seeds, parse_config
from skindiff.corpora.few_shot import FewShotConfig, GeneratorRows, generator_rows, make_few_shot_split
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.errors import SkindiffError
from skindiff.launch import start_accelerator
from skindiff.measures.copying.memorisation import CopyingConfig
from skindiff.measures.fidelity.scores import FidelityConfig
from skindiff.report.classes import ClassResults, report_classes
from skindiff.report.published.ham import FEW_SHOT_NOTES, published_few_shot
from skindiff.runs import RunFolder
from skindiff.synthesis.class_synthesis import ClassSynthesisConfig, draw_by_class
from skindiff.training.from_scratch import FromScratchConfig, train_from_scratch, validate_families

logger = get_logger(__name__)
TITLE = "A few images per class: do generators trained from scratch help?"


@dataclass
class HamFewShotConfig:
    """One few-shot study, from the corpus to the report."""

    output_dir: str = "runs/ham_fewshot"
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
    split: FewShotConfig = field(default_factory=FewShotConfig)
    """Shots per class and protocol."""
    split_seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Seeds of the splits; each generator is trained for each."""
    families: list[str] = field(default_factory=lambda: ["cvae_resnet", "dcgan", "ddpm"])
    """Families of generators to compare."""
    generator: FromScratchConfig = field(default_factory=FromScratchConfig)
    """The settings of each family; its own family is overruled by families."""
    generator_images: GeneratorRows = "few-shot"
    """What generators learn from: the shots; pool adds images that share no lesion with validation or test;
    everything is the paper's, whose CVAE saw the tested images too."""
    synthesis: ClassSynthesisConfig = field(default_factory=ClassSynthesisConfig)
    """How many images of each class are drawn, and how; they are saved at the size of the corpus."""
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """Arms and classifiers."""
    fidelity: FidelityConfig | None = None
    """Score drawn images against the test images in these features; null does not (needs torch-fidelity)."""
    copying: CopyingConfig = field(default_factory=CopyingConfig)
    """How copies of training images are looked for among the drawn ones."""
    include_images: bool | None = None
    """Put sample grids into the report; the run folder then holds pictures of the corpus, so null, for
    patients' sake, does so only if the corpus is phantom."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        self.corpus.validate(f"{path}corpus.")
        self.split.validate(f"{path}split.")
        validate_families(self.families, self.generator, self.corpus.channels, path, f"{path}generator.")
        self.synthesis.validate(f"{path}synthesis.")
        self.experiment.validate(f"{path}experiment.")
        self.copying.validate(f"{path}copying.")
        if self.fidelity:
            self.fidelity.validate(f"{path}fidelity.")
        check_seeds(self.split_seeds, f"{path}split_seeds")
        check_resume(self.resume, self.overwrite, path)


def main(config: HamFewShotConfig) -> Path:
    """Run the study and return the path of its report."""
    started = time.perf_counter()
    accelerator = start_accelerator(config.threads, config.trackers, config.output_dir)
    run = RunFolder(config.output_dir, config, accelerator, resume=config.resume, overwrite=config.overwrite)
    accelerator.init_trackers("skindiff")

    # 1. The corpus, and the splits: a few images of each class to train on, the others to select and test on.
    with run.withdrawn_on_error():
        with accelerator.main_process_first():
            corpus = prepare_corpus(config.corpus, run.path)
        splits = {
            seed: make_few_shot_split(corpus.dataset, config.split, seed) for seed in config.split_seeds
        }
    drawing = replace(config.synthesis, output_size=config.corpus.image_size)
    logger.info("corpus %s: %s", config.corpus.name, corpus.counts())
    results = ClassResults(corpus, config.experiment.bootstrap_replicates)
    key = {"corpus_fingerprint": corpus.fingerprint}

    for seed, split in splits.items():
        logger.info("split seed %d: %s", seed, split.sizes())
        arguments = {"scenario": f"{config.split.shots} shots", **key}
        experiment = Experiment(run, accelerator, config.experiment, corpus.dataset, split, **arguments)
        held_out = corpus.dataset.select(split.test["all"])
        results.add_split(experiment)
        shown = corpus.dataset.select(generator_rows(corpus.dataset, split, config.generator_images))

        for family in config.families:
            # 2. Train the generator.
            generator = config.generator.of(family)
            folder = train_from_scratch(run, accelerator, generator, shown, seed=seed, **key)
            # 3. Draw the budget of each class.
            synthetic = draw_by_class(run, accelerator, folder, experiment.train, drawing, seed=seed)
            # 4. Train classifiers on every arm and score them.
            results.add_generator(experiment, folder, synthetic, family, seed)
            images = {"real training": experiment.train, family: synthetic.dataset}
            results.fidelity.add(run, config.fidelity, held_out, images, seed, **key)
            results.copies.add(run, config.copying, shown, held_out, synthetic, family, seed, **key)

    # 5. Report.
    results.seconds = time.perf_counter() - started
    if accelerator.is_main_process:
        report_classes(
            results, "ham_fewshot", TITLE, asdict(config), run.path, accelerator,
            published=published_few_shot(), notes=FEW_SHOT_NOTES,
        )  # fmt: skip
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.path / "report.md"


if __name__ == "__main__":
    try:
        report = main(parse_config(HamFewShotConfig, default=Path(__file__).with_suffix("") / "smoke.yaml"))
    except SkindiffError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"report: {report}")
