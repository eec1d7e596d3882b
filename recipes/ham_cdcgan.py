"""Are the images of a conditional DCGAN recognised by a detector that learnt from real ones? (system S4)

    accelerate launch recipes/ham_cdcgan.py     # smoke: phantom, minutes, no network
    accelerate launch recipes/ham_cdcgan.py --config recipes/ham_cdcgan/ham10000.yaml \
        --corpus.ham10000.data_dir DIR     # real images, 32 px, a CPU

Trains the cDCGAN (spectral normalisation, gradient penalty) on one half of the lesions and a detector on the
other, draws 100 images of each class, and reports how many are recognised, beside the detector's recall on
real images. After Bingol et al., "Overcoming Medical Data Scarcity with GAN Generated Synthetic Images".
"""

import os
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from accelerate.logging import get_logger

from skindiff.config import check_resume, check_seeds, parse_config
from skindiff.corpora.few_shot import FractionSplitConfig, make_fraction_split
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.errors import ConfigError, SkindiffError
from skindiff.evaluation.detection import DetectionConfig, DetectorOfSplit
from skindiff.launch import start_accelerator
from skindiff.measures.copying.memorisation import CopyingConfig
from skindiff.measures.fidelity.scores import FidelityConfig
from skindiff.report.classes import ClassResults, report_classes
from skindiff.report.published.ham import DETECTION_NOTES, published_detection
from skindiff.runs import RunFolder
from skindiff.synthesis.class_synthesis import ClassSynthesisConfig, draw_by_class
from skindiff.training.from_scratch import FromScratchConfig, train_from_scratch, validate_families

logger = get_logger(__name__)
TITLE = "Does a detector of real lesions recognise generated ones?"


@dataclass
class HamCdcganConfig:
    """One study of detection, from the corpus to the report."""

    output_dir: str = "runs/ham_cdcgan"
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
    generator_share: float = 0.5
    """Share of each class's lesions that the generators learn from; the others are the detector's."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of the cut, of the generators and of the detector together."""
    families: list[str] = field(default_factory=lambda: ["sn_dcgan"])
    """Families of generators to judge; the paper's is sn_dcgan."""
    generator: FromScratchConfig = field(default_factory=FromScratchConfig)
    """The settings of each family; its own family is overruled by families."""
    synthesis: ClassSynthesisConfig = field(default_factory=ClassSynthesisConfig)
    """How many images of each class are drawn, and how; they are saved at the size of the corpus."""
    detection: DetectionConfig = field(default_factory=DetectionConfig)
    """The detector and its own test."""
    fidelity: FidelityConfig | None = None
    """Score drawn images against those that no generator saw, in these features; null does not."""
    copying: CopyingConfig = field(default_factory=CopyingConfig)
    """How copies of training images are looked for among the drawn ones."""
    include_images: bool | None = None
    """Put sample grids into the report; the run folder then holds pictures of the corpus, so null, for
    patients' sake, does so only if the corpus is phantom."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        self.corpus.validate(f"{path}corpus.")
        validate_families(self.families, self.generator, self.corpus.channels, path, f"{path}generator.")
        self.synthesis.validate(f"{path}synthesis.")
        self.detection.validate(f"{path}detection.")
        self.copying.validate(f"{path}copying.")
        if self.fidelity:
            self.fidelity.validate(f"{path}fidelity.")
        if not 0 < self.generator_share < 1:
            raise ConfigError(f"{path}generator_share: {self.generator_share} is outside above 0 to below 1")
        check_seeds(self.seeds, f"{path}seeds")
        check_resume(self.resume, self.overwrite, path)


def main(config: HamCdcganConfig) -> Path:
    """Run the study and return the path of its report."""
    started = time.perf_counter()
    accelerator = start_accelerator(config.threads, config.trackers, config.output_dir)
    run = RunFolder(config.output_dir, config, accelerator, resume=config.resume, overwrite=config.overwrite)
    accelerator.init_trackers("skindiff")

    # 1. The corpus, cut by lesion: what generators learn from, and what they never see.
    fractions = FractionSplitConfig(validation_fraction=0.0, test_fraction=1 - config.generator_share)
    with run.withdrawn_on_error():
        with accelerator.main_process_first():
            corpus = prepare_corpus(config.corpus, run.path)
        seen = {seed: make_fraction_split(corpus.dataset, fractions, seed).train for seed in config.seeds}
        key = {"corpus_fingerprint": corpus.fingerprint}
        detectors = {
            seed: DetectorOfSplit(run, accelerator, config.detection, corpus.dataset, rows, seed=seed, **key)
            for seed, rows in seen.items()
        }
    drawing = replace(config.synthesis, output_size=config.corpus.image_size)
    logger.info("corpus %s: %s", config.corpus.name, corpus.counts())
    results = ClassResults(corpus, config.detection.bootstrap_replicates)

    for seed, rows in seen.items():
        train = corpus.dataset.select(rows)
        for family in config.families:
            # 2. Train the generator.
            generator = config.generator.of(family)
            folder = train_from_scratch(run, accelerator, generator, train, seed=seed, **key)
            # 3. Draw 100 images of each class.
            synthetic = draw_by_class(run, accelerator, folder, train, drawing, seed=seed)
            results.add_drawn(train, folder, synthetic, family, seed)
            unseen = detectors[seed].unseen
            images = {"real training": train, family: synthetic.dataset}
            results.fidelity.add(run, config.fidelity, unseen, images, seed, **key)
            results.copies.add(run, config.copying, train, unseen, synthetic, family, seed, **key)
            # 4. Let the detector name them, and real images that neither has seen.
            judged = detectors[seed].judge(synthetic.dataset, family)
            results.add_detector(detectors[seed], judged, len(rows))

    # 5. Report.
    results.seconds = time.perf_counter() - started
    if accelerator.is_main_process:
        report_classes(
            results, "ham_cdcgan", TITLE, asdict(config), run.path, accelerator,
            published=published_detection(), notes=DETECTION_NOTES,
        )  # fmt: skip
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.path / "report.md"


if __name__ == "__main__":
    try:
        report = main(parse_config(HamCdcganConfig, default=Path(__file__).with_suffix("") / "smoke.yaml"))
    except SkindiffError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"report: {report}")
