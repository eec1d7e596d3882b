"""Are the images of a conditional DCGAN recognised by a detector that learnt from real ones?

    accelerate launch recipes/ham_cdcgan.py     # smoke: phantom, minutes, no network
    accelerate launch recipes/ham_cdcgan.py --config recipes/ham_cdcgan/ham10000.yaml \
        --corpus.ham10000.data_dir DIR     # real images, 32 px, a CPU

Trains the cDCGAN (spectral normalisation, gradient penalty) on one half of the lesions and a detector on the
other, generates 100 images of each class, and reports how many are recognised, beside the detector's recall
on real images. After Bingol et al., "Overcoming Medical Data Scarcity with GAN Generated Synthetic Images".
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import skindiff
from skindiff.classification.recorded_cells import Recorded, kept_beside
from skindiff.commands.recipe import run_recipe
from skindiff.config import check_seeds
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.evaluation.detection import DetectionConfig, DetectorOfSplit, make_detector_split
from skindiff.evaluation.recorded_detections import RecordedDetections, record_of
from skindiff.report.assembly import About, write_study
from skindiff.report.class_study import ClassStudyConfig
from skindiff.report.published.ham import DETECTION_NOTES, published_detection
from skindiff.report.results import Results
from skindiff.study import all_studies, open_run, read_corpus
from skindiff.wrong_settings import refuse

TITLE = "Does a detector of real lesions recognise generated ones?"


@dataclass
class HamCdcganConfig(ClassStudyConfig):
    """One study of detection, from the corpus to the report."""

    output_dir: str = "runs/ham_cdcgan"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    generator_share: float = 0.5
    """Share of each class's lesions that the generators learn from; the others are the detector's."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of the cut, of the generators and of the detector together."""
    families: list[str] = field(default_factory=lambda: ["sn_dcgan"])
    """Families of generators to judge; the paper's is sn_dcgan."""
    detection: DetectionConfig = field(default_factory=DetectionConfig)
    """The detector and its own test."""
    recorded: Recorded = "take"
    """take: detections that are kept beside the recipe count as done; only: report those alone, and train
    nothing; ignore: train everything."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        super().validate(path)
        if not 0 < self.generator_share < 1:
            refuse(f"{path}generator_share: {self.generator_share} is outside above 0 to below 1")
        check_seeds(self.seeds, f"{path}seeds")

    @property
    def has_validation(self) -> bool:
        """The lesions are cut in two, into a training and a test set."""
        return False

    def trained_together(self) -> dict[str, object]:
        """Return the settings of the generators, and of the detector."""
        return super().trained_together() | {"detection": self.detection}


def cut(config: HamCdcganConfig, corpus: Corpus) -> list[Split]:
    """Return a split for each seed, into what generators learn from and what is left for the detector."""
    shares = {"validation_fraction": 0.0, "test_fraction": 1 - config.generator_share}
    splits = [skindiff.make_split(corpus, "fractions", seed, **shares) for seed in config.seeds]
    for split in splits:
        make_detector_split(corpus.dataset, split.train, config.detection, split.seed)  # or it is said now
    return splits


def main(config: HamCdcganConfig) -> Path:
    """Run the study and return the path of its report."""
    # 1. The corpus, cut by lesion: what generators learn from, and what they never see.
    run = open_run(config)
    corpus, splits = read_corpus(
        config.corpus, run, partial(cut, config), kept=kept_beside(__file__, config.recorded)
    )
    studies = all_studies(run, corpus, splits)
    detectors = [DetectorOfSplit(study, config.detection) for study in studies]

    results, recorded = Results(), RecordedDetections.beside(__file__, config.recorded, run)
    for study, detector in zip(studies, detectors, strict=True):
        for family in config.families:
            settings = config.generator.settings_of(family)
            record = record_of(detector, family, {**vars(config.drawing), "training": settings})
            if recorded.lacks(detector, family, record):
                # 2. Train the generator, and generate 100 images of each class; measure fidelity and copies.
                generator = skindiff.train_generator(
                    corpus, study.split, family, study.seed, study, **settings
                )
                images = skindiff.generate(
                    generator, seed=study.seed, output_dir=study, **vars(config.drawing)
                )
                results.add_generator(study, images.drawn, pipeline=images.trained)
                results.measured.add(study, config, images.drawn, held_out=detector.unseen)
                # 3. Let the detector name them, and real images that neither has seen.
                said = detector.judge(images.dataset, family)
                recorded.keep(record, said, write=run.accelerator.is_main_process)
            if found := recorded.find(detector, family, record):
                results.add_detection(detector, found)

    # 4. Report.
    notes = [*DETECTION_NOTES, *recorded.notes()]
    about = About("ham_cdcgan", TITLE, published=published_detection(), notes=notes)
    return write_study(results, config, about, replicates=config.detection.bootstrap_replicates)


if __name__ == "__main__":
    run_recipe(main, HamCdcganConfig, __file__)
