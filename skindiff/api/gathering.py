"""From splits and synthetic images to results: what :func:`skindiff.evaluate` trains and measures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from accelerate.logging import get_logger

from skindiff.api.promised import Promised, prepared
from skindiff.api.published_protocol import PublishedProtocol, fair_experiments, published_ladder
from skindiff.api.synthetic_input import Judged, OfSplit, notes_on
from skindiff.classification.experiment import Experiment
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.external_sets import ExternalSet
from skindiff.classification.recorded_cells import RecordedCells
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from skindiff.report.measurements import MeasuredConfig
from skindiff.report.results import Results
from skindiff.runs import RunFolder
from skindiff.study import Study, all_studies, each_study
from skindiff.synthesis.strategies import Synthetic, Unmade

logger = get_logger(__name__)


@dataclass(frozen=True)
class Question:
    """What is asked of the images.

    Attributes:
        experiment: arms and classifiers.
        measured: what is measured besides.
        scenario: what the splits are called; their protocol when None.
        own_seeds: classifiers have the experiment's seeds, and not those of their split.
        allow_taught: see :func:`skindiff.evaluate`.
        recorded: cells that count as done.
        published: the paper's protocol.
        external: other corpora that are tested on.
    """

    experiment: ExperimentConfig
    measured: MeasuredConfig
    scenario: str | None
    own_seeds: bool
    allow_taught: bool
    recorded: RecordedCells
    published: PublishedProtocol | None
    external: Sequence[ExternalSet] = ()

    def asked_of(self, study: Study) -> Experiment:
        """Return the experiment on a split."""
        config = self.experiment if self.own_seeds else replace(self.experiment, train_seeds=[study.seed])
        scenario = self.scenario or study.split.protocol
        return Experiment(study, config, scenario=scenario, recorded=self.recorded, external=self.external)

    def all_asked_of(self, study: Study, label: str) -> list[Experiment]:
        """Return the experiment on a split, and what the ladder asks of its images of a label."""
        return [self.asked_of(study), *fair_experiments(study, label, self.published, self.recorded)]


def gathered(
    run: RunFolder,
    corpus: Corpus,
    splits: Sequence[Split],
    seeds: Sequence[int] | None,
    sets: Sequence[Sequence[OfSplit | Promised]],
    question: Question,
) -> tuple[Results, list[str]]:
    """Make what is promised, train and score every arm, and return the results with notes on them.

    Raises:
        ConfigError, SplitError, SynthesisError: a set cannot be used; nothing is recorded where nothing may
            be trained.
    """
    results, ready = Results(), list[tuple[Study, list[Judged | Unmade]]]()
    unlike = _unlike_kept(corpus, all_studies(run, corpus, splits, seeds), question)
    doing = "generators, " if any(isinstance(one, Promised) for own in sets for one in own) else None
    studies = (
        each_study(run, corpus, splits, seeds, doing) if doing else all_studies(run, corpus, splits, seeds)
    )
    # All before any classifier is trained, as a set may be refused.
    for study, own in zip(studies, sets, strict=True):
        asked = partial(question.all_asked_of, study)
        found = prepared(study, own, asked, allow_taught=question.allow_taught)
        ready.append((study, found))
        for one in found:
            if isinstance(one, Judged):
                results.measured.add(study, question.measured, one.synthetic, external=question.external)
    missing = _train(results, run, corpus, splits, seeds, ready, question)
    notes = [*unlike, *notes_on([one for _, found in ready for one in found if isinstance(one, Judged)])]
    notes += _on_recorded(results, [one for _, found in ready for one in found], missing)
    if question.external and question.recorded.alone:
        notes.append(
            "No other corpus was tested on, as recorded: only trains nothing; set it to take, and "
            "what is asked of other corpora is trained again."
        )
    if question.published is not None:
        results.ladder, unfinished = published_ladder(
            question.published, ready, question.recorded,
            allow_taught=question.allow_taught, replicates=question.experiment.bootstrap_replicates,
        )  # fmt: skip
        if unfinished:
            notes.append(f"The published protocol is not run to its end: {'; '.join(unfinished)}.")
    return results, notes


def _train(
    results: Results,
    run: RunFolder,
    corpus: Corpus,
    splits: Sequence[Split],
    seeds: Sequence[int] | None,
    ready: Sequence[tuple[Study, Sequence[Judged | Unmade]]],
    question: Question,
) -> list[str]:
    """Train the classifiers, add what they say, and return what was not run."""
    missing = []
    for study, (_, sets) in zip(each_study(run, corpus, splits, seeds, "classifiers, "), ready, strict=True):
        experiment = question.asked_of(study)
        trained: list[Synthetic | Unmade | None] = [
            one if isinstance(one, Unmade) else one.synthetic for one in sets
        ]
        for images in trained or [None]:
            experiment.train_each(images)
        results.add_split(experiment)
        for one in sets:
            if isinstance(one, Unmade):
                results.add_recorded(one, experiment)
            else:
                results.add_generator(study, one.synthetic, experiment=experiment, pipeline=one.pipeline)
        missing += [f"{name}, seed {study.seed}" for name in experiment.not_run]
    if not results.cells:
        raise ConfigError(
            "recorded: only takes cells that are kept beside the recipe, and none is of these settings"
            f"{_others_kept(corpus, question.recorded)}; set it to take"
        )
    return missing


def _unlike_kept(corpus: Corpus, studies: Sequence[Study], question: Question) -> list[str]:
    """Say, before hours of training, that cells of the same images are kept and none of them fits."""
    recorded = question.recorded
    if recorded.alone or not recorded.files:
        return []
    if any(question.asked_of(study).holds_some() for study in studies):
        return []
    if not (kept := _others_kept(corpus, recorded)):
        return []
    said = f"No cell of these settings is kept beside the recipe{kept}: all is trained here."
    logger.warning("%s", said)
    return [said]


def _others_kept(corpus: Corpus, recorded: RecordedCells) -> str:
    """Return in words that cells of the same images are kept, and why none may fit; empty where none are."""
    count = recorded.of_corpus(corpus.dataset["image_id"][:])
    if not count:
        return ""
    return (
        f" ({count} trainings are kept whose test images are of this corpus: their settings, their split, "
        "the groups that the audit found or the version of skindiff differ)"
    )


def _on_recorded(results: Results, sets: Sequence[Judged | Unmade], missing: Sequence[str]) -> list[str]:
    """Return in words what was taken as done, and what was not run."""
    notes = []
    if results.taken:
        notes.append(
            f"{results.taken} of {len(results.cells)} cells were trained elsewhere, and taken from the files "
            "beside the recipe."
        )
    if unmade := list(dict.fromkeys(one.label for one in sets if isinstance(one, Unmade))):
        notes.append(
            f"Images of {', '.join(unmade)} were not made again where their cells were taken: near copies, "
            "fidelity and pictures are of the others alone."
        )
    if missing:
        notes.append(f"Not run: {'; '.join(dict.fromkeys(missing))}.")
    return notes
