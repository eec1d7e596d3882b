"""The trainings of an experiment: arm, architecture and seed, and what decides how each comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skindiff.classification.arm_names import Arm, parse_arm
from skindiff.classification.cells import REAL, CellKey, is_probe
from skindiff.classification.classifier_config import ClassifierConfig, settings_of
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.filter_stage import filter_scores
from skindiff.classification.probe import ProbeConfig
from skindiff.classification.probing import probe_inputs
from skindiff.measures.filters import kept_rows
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic, Unmade
from skindiff.training.balancing import BY_BOTH


@dataclass(frozen=True)
class Job:
    """One training: an arm at a ratio (None takes all synthetic rows), an architecture and a seed.

    Attributes:
        kept: the synthetic rows that a filter keeps; None where there is no filter.
        pass_rows: see :func:`~skindiff.classification.fine_tuning.train_classifier`.
        beside: the images that the number of steps goes by, where it is not the arm's own.
        kept_share: of the synthetic rows of every class, what a filter is asked to keep.
    """

    arm: Arm
    ratio: float | None
    architecture: str
    config: ClassifierConfig | ProbeConfig
    train_seed: int
    synthetic: Synthetic | Unmade | None
    kept: list[int] | None = None
    pass_rows: int | None = None
    beside: Synthetic | Unmade | None = None
    kept_share: float = 1.0

    @property
    def curve(self) -> str:
        """Name of its training curve."""
        ratio = "" if self.ratio is None else f" x {self.ratio:g}"
        return f"{self.architecture} {self.arm.name}{ratio}"

    def key(self, study: Study, scenario: str, group: str) -> CellKey:
        """Return the key of its cell on a test set; only seeds may tell those of splits apart: `summary` has
        their means."""
        ratio = self.ratio
        if ratio is None and isinstance(self.synthetic, Synthetic):
            # What a filter is asked to keep: what it keeps differs by a row or two between splits.
            ratio = round(self.kept_share * self.synthetic.summary["planned"] / len(study.train), 4)
        return CellKey(
            scenario=scenario,
            test_group=group,
            generator=self.synthetic.name if self.synthetic else None,
            strategy=self.synthetic.strategy if self.synthetic else None,
            arm=self.arm.name,
            ratio=ratio,
            architecture=self.architecture,
            preset=self.config.preset,
            split_seed=study.split.seed,
            train_seed=self.train_seed,
        )


def jobs_of(
    study: Study, config: ExperimentConfig, synthetic: Synthetic | Unmade | None, *, equal_steps: bool
) -> list[Job]:
    """Return the trainings of an experiment: without synthetic images those of real rows alone.

    Args:
        study: whose rows are trained on.
        config: arms, architectures, seeds.
        synthetic: the images of a generator; of those that are not made, trainings can be looked up alone.
        equal_steps: see :class:`~skindiff.classification.experiment.Experiment`.
    """
    jobs = []
    for name in config.arms:
        arm = parse_arm(name)
        if arm.needs_synthetic and synthetic is None:
            continue
        drawn = synthetic if arm.needs_synthetic else None
        kept = _kept(study, config, arm, synthetic) if synthetic is not None and arm.kept else None
        beside = synthetic if equal_steps and _is_smaller(arm) else None
        rows = None if beside is None else _all_rows(study, beside)
        jobs += [
            Job(
                arm, ratio, architecture,
                arm.settings(config.settings_of(architecture), config.geometric_augment),
                seed, drawn, kept, rows, beside, config.filters.share if arm.kept else 1.0,
            )
            for ratio in _ratios(config, arm)
            for architecture in config.architectures
            for seed in config.train_seeds[: 1 if is_probe(architecture) else None]
        ]  # fmt: skip
    return jobs


def inputs_of(study: Study, config: ExperimentConfig, job: Job) -> dict[str, Any]:
    """Return everything that decides what a training makes, but for the corpus, to key its stage by."""
    # What came later is named only where it is used, so that older stages keep their names.
    later: dict[str, Any] = {"watched": sorted(study.tests)} if config.test_curve else {}
    views = set(job.arm.views)
    if job.ratio is not None:
        later |= {"ratio": job.ratio}
    if job.kept is not None:
        later |= {"kept": job.kept}
    if "mixed" in views:
        later |= {"mixing_probability": config.mixing_probability}
    if "downweighted" in views:  # a name of its own: before, a balance of classes changed the share
        later |= {"share_of_loss": config.synthetic_share}
    if "pretrained" in views:
        later |= {"pretraining_share": config.pretraining_share}
    if {"mixup", "cutmix"} & views:
        later |= {"blending_alpha": config.blending_alpha}
    if job.pass_rows is not None:
        later |= {"pass_rows": job.pass_rows}
    if config.selected_on == "test":
        later |= {"selected_on": "test"}
    if isinstance(job.config, ProbeConfig):
        later |= {"probe": probe_inputs(study, job.architecture, job.config)}
    else:
        later |= {"classifier": settings_of(job.config)}
        if job.config.balance == BY_BOTH:
            later |= {"attribute": study.corpus.attribute.column}
        later |= {"trainings": config.trainings} if config.trainings > 1 else {}
    return {
        "arm": job.arm.name,
        "seed": job.train_seed,
        "train": study.train["image_id"][:],
        "validation": study.split.validation,
        "test": study.split.test,
        "synthetic": job.synthetic.folder.parent.name if isinstance(job.synthetic, Synthetic) else None,
        **later,
    }


def _all_rows(study: Study, synthetic: Synthetic | Unmade) -> int:
    """Return the number of real and synthetic images; 0 of those that are not made."""
    return len(study.train) + len(synthetic.dataset) if isinstance(synthetic, Synthetic) else 0


def _is_smaller(arm: Arm) -> bool:
    """Whether a pass over the images of an arm is shorter than over all real and synthetic ones."""
    return arm.rows in (REAL, "syn") or bool({"mixed", "equal_exposure"} & set(arm.views))


def _ratios(config: ExperimentConfig, arm: Arm) -> Sequence[float | None]:
    """Return the ratios of an arm: those of the settings where it adds all kinds of rows to real ones."""
    adds = arm.rows not in (REAL, "syn") and arm.kept is None and "mixed" not in arm.views
    return config.ratios if adds and config.ratios else [None]


def _kept(study: Study, config: ExperimentConfig, arm: Arm, synthetic: Synthetic | Unmade) -> list[int]:
    assert arm.kept is not None
    if isinstance(synthetic, Unmade):
        return []
    architecture = config.architectures[0]
    settings = config.settings_of(architecture)
    scores = filter_scores(study, arm.kept, config.filters, architecture, settings, synthetic)
    return kept_rows(scores, synthetic.dataset["label"][:], config.filters.share)
