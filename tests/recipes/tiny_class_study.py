"""What the tests of the four recipes of class-conditional generators share."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipes.ham_fewshot import HamFewShotConfig
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.corpora.few_shot import FewShotConfig
from skindiff.corpora.phantom import PhantomConfig
from skindiff.corpora.registry import CorpusConfig
from skindiff.measures.features import FeatureConfig
from skindiff.measures.fidelity.scores import FidelityConfig
from skindiff.synthesis.class_plan import ClassSynthesisConfig
from skindiff.training.from_scratch import FromScratchConfig
from skindiff.training.gan_config import DCGANConfig
from skindiff.training.loop_config import LoopConfig

CLASSES = ["nodule", "ring"]


def tiny_corpus(side: int) -> CorpusConfig:
    phantom = PhantomConfig(seed=3, classes=CLASSES, images_per_class={"I": 8, "V": 8}, repeat_share=0.0)
    return CorpusConfig(image_size=side, phantom=phantom)


def tiny_loop(**settings: Any) -> LoopConfig:
    return LoopConfig(
        **{"steps": 2, "batch_size": 4, "learning_rate": 0.001, "optimiser": "adam", **settings}
    )


def tiny_synthesis(**settings: Any) -> ClassSynthesisConfig:
    return ClassSynthesisConfig(**{"per_class": 2, "steps": 2, "batch_size": 4, **settings})


def tiny_experiment(side: int, arms: Sequence[str], **settings: Any) -> ExperimentConfig:
    classifier = ClassifierConfig(
        image_size=side, augment="none", balance="none", keep_weights=False, loop=tiny_loop(validate_every=1)
    )
    return ExperimentConfig(
        arms=list(arms),
        architectures=["test_resnet"],
        classifier=classifier,
        bootstrap_replicates=100,
        **settings,
    )


def tiny_fewshot(folder: Path) -> HamFewShotConfig:
    """One split, one GAN, two arms."""
    return HamFewShotConfig(
        output_dir=str(folder),
        threads=1,
        corpus=tiny_corpus(32),
        split=FewShotConfig(shots=4, validation_fraction=0.3, test_fraction=0.7),
        split_seeds=[0],
        families=["dcgan"],
        generator=FromScratchConfig(
            dcgan=DCGANConfig(image_size=32, width=8, diversity_images=2, loop=tiny_loop())
        ),
        synthesis=tiny_synthesis(budget="table", table={"nodule": 3}),
        experiment=tiny_experiment(32, ["real", "real+syn"]),
    )


def tiny_fidelity() -> FidelityConfig:
    features = FeatureConfig("test_resnet", weights="random", image_size=32)
    return FidelityConfig(features, kid_subset_size=4, kid_subsets=2, neighbours=1, replicates=100)


def report_of(folder: Path | str) -> dict[str, Any]:
    """What ``report.json`` says."""
    report: dict[str, Any] = json.loads((Path(folder) / "report.json").read_text())
    return report


def stage_names(folder: Path | str) -> list[str]:
    """The stages of a run without their fingerprints, one for each folder."""
    return sorted(path.name.rsplit("-", 1)[0] for path in (Path(folder) / "stages").iterdir())


def stage_times(folder: Path | str) -> dict[str, int]:
    """When each file of the stages was last written."""
    files = sorted((Path(folder) / "stages").rglob("*.*"))
    return {str(path): path.stat().st_mtime_ns for path in files if path.is_file()}
