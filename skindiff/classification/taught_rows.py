"""The rows that a classifier of a study is trained on."""

from dataclasses import dataclass

from datasets import Dataset

from skindiff.classification.arms import build_arm
from skindiff.classification.colour_copies import colour_copies
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.jobs import Job
from skindiff.classification.synthetic_use import SyntheticUse, use_of
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic


@dataclass(frozen=True)
class Taught:
    """What a classifier is trained on.

    Attributes:
        rows: real ones first.
        use: what is done with the synthetic ones that follow.
    """

    rows: Dataset
    use: SyntheticUse


def taught_by(study: Study, config: ExperimentConfig, job: Job) -> Taught:
    """Return what a job of a study is trained on, and what is done with its synthetic rows."""
    drawn = job.synthetic.dataset if isinstance(job.synthetic, Synthetic) else None
    if drawn is not None and job.kept is not None:
        drawn = drawn.select(job.kept)
    by_colour = job.arm.rows == "real+colour" and drawn is not None
    rows = build_arm(
        job.arm.name,
        study.train,
        drawn,
        colour=colour_copies(study.train, drawn) if by_colour else None,
        ratio=job.ratio,
        seed=study.split.seed,
        column=study.corpus.attribute.column,
    )
    return Taught(rows, use_of(job.arm, config, study.train, drawn, len(rows)))
