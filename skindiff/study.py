"""A study: the folder of a run, a corpus, its split and a seed, which travel through the rooms as one object.

Here are the settings that every recipe and every command on a corpus begins with, too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import Dataset

from skindiff.config import check_resume, refuse_unshared, validate_parts
from skindiff.corpora.registry import Corpus, CorpusConfig, prepare_corpus
from skindiff.corpora.splits import Split
from skindiff.corpora.tally import in_words, tallies
from skindiff.idle_settings import without_effect
from skindiff.launch import start_accelerator
from skindiff.progress import duration
from skindiff.runs import RunFolder, Stage
from skindiff.wrong_settings import judge_all

logger = get_logger(__name__)
Parts = TypeVar("Parts")
"""What a corpus is cut into."""


@dataclass
class RunConfig:
    """Settings of everything that works for long."""

    output_dir: str = "runs/command"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    resume: bool = False
    """Go on with the run in output_dir; what is finished and unchanged is kept."""
    overwrite: bool = False
    """Delete the run in output_dir first."""
    threads: int | None = None
    """CPU threads per process; null shares the cores among the local processes."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        validate_parts(self, path)
        check_resume(self.resume, self.overwrite, path)

    def trained_together(self) -> dict[str, object]:
        """Return the settings of what all processes train together, by their path."""
        return {}


@dataclass
class StudyConfig(RunConfig):
    """Settings of everything that works on a corpus."""

    trackers: list[str] = field(default_factory=list)
    """Experiment trackers of Accelerate, such as tensorboard or wandb."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """The images; a corpus.yaml that another command wrote is taken too."""


@dataclass(frozen=True)
class Study:
    """A corpus that was cut once, in the folder of a run.

    Attributes:
        run: every training, generation and measurement is a stage of it.
        corpus: in the cache.
        split: of its rows.
        seed: of trainings and synthetic images; that of the split, unless several trainings share one split.
    """

    run: RunFolder
    corpus: Corpus
    split: Split
    seed: int

    @property
    def accelerator(self) -> Accelerator:
        """Device, precision and processes."""
        return self.run.accelerator

    @cached_property
    def train(self) -> Dataset:
        """The rows to train on."""
        return self.corpus.dataset.select(self.split.train)

    @cached_property
    def validation(self) -> Dataset | None:
        """The rows to select on; None where there are none."""
        return self.corpus.dataset.select(self.split.validation) if self.split.validation else None

    @cached_property
    def tests(self) -> dict[str, Dataset]:
        """The rows to test on, by group."""
        return {group: self.corpus.dataset.select(rows) for group, rows in self.split.test.items()}

    @cached_property
    def held_out(self) -> Dataset:
        """The rows to test on, of all groups together, each once."""
        return self.corpus.dataset.select(self.split.tested)

    def stage(self, name: str, says: str = "", **inputs: Any) -> Stage:
        """Return a stage of the run that depends on this corpus (:meth:`skindiff.runs.RunFolder.stage`)."""
        return self.run.stage(name, says, data=self.corpus.fingerprint, **inputs)


def look_first(config: StudyConfig, *others: Callable[[str], object]) -> None:
    """Look whether the corpus and what else a study begins with is there, and say in one answer what is not.

    Args:
        config: with the corpus.
        others: further looks; each is called with the path of the settings and raises what is wrong.

    Raises:
        ConfigError: something is not there.
    """
    judge_all(lambda path: config.corpus.look(f"{path}corpus."), *others)


def open_run(config: RunConfig, *products: str, settings: Any = None) -> RunFolder:
    """Start the accelerator and claim the output folder.

    Args:
        config: output folder, resume, overwrite, threads, trackers where there are any.
        products: names in the folder besides those of a run, which ``overwrite`` deletes with it.
        settings: what is kept as ``config.yaml``; ``config`` itself when left out.

    Raises:
        ConfigError, RunFolderError: a setting cannot work, or the folder is in use.
    """
    accelerator = start_accelerator(config.threads, getattr(config, "trackers", ()), config.output_dir)
    if getattr(config, "recorded", None) != "only":
        refuse_unshared(config.trained_together(), accelerator.num_processes)
    kept = config if settings is None else settings
    run = RunFolder(
        config.output_dir, kept, accelerator,
        resume=config.resume, overwrite=config.overwrite, products=products,
    )  # fmt: skip
    for said in without_effect(config):
        run.note(said)
    accelerator.init_trackers("skindiff")
    return run


def read_corpus(
    config: CorpusConfig,
    run: RunFolder,
    cut: Callable[[Corpus], Parts],
    folder: Path | None = None,
    kept: Path | None = None,
) -> tuple[Corpus, Parts]:
    """Read, audit, cache and cut a corpus, the main process first, and say how many images there are of what.

    Where an audit looks at every image the table is cut before it, so that what the table alone decides,
    such as too few groups of a class, is said at once. An error of the user's gives a new folder back.

    Args:
        config: which corpus.
        run: in whose folder it is prepared.
        cut: returns its parts; may be called twice.
        folder: for the lists of what is missing or unfit; that of the run when left out.
        kept: folder of near-duplicates that an audit takes as found, such as ``results`` beside a recipe.

    Raises:
        ConfigError, CorpusError, SplitError: a setting cannot be used, or the corpus cannot be read or cut.
    """
    with run.withdrawn_on_error():
        with run.peers.main_first("reading the corpus"):
            corpus = prepare_corpus(config, folder or run.path, cut, kept)
        counts = corpus.counts()
        left_out = [f"{counts[name]} {name}" for name in ("missing", "quarantined") if counts[name]]
        said = ", ".join([f"{counts['images']} images of {counts['groups']} groups", *left_out])
        logger.info("corpus %s: %s", config.name, said)
        for name, values in tallies(corpus.dataset).items():
            logger.info("images by %s: %s", name, in_words(values))
        return corpus, cut(corpus)


def all_studies(
    run: RunFolder, corpus: Corpus, splits: Sequence[Split], seeds: Sequence[int] | None = None
) -> list[Study]:
    """Return a study for each split.

    Args:
        run: of all of them.
        corpus: of all of them.
        splits: one for each study.
        seeds: of trainings and synthetic images, one for each; those of the splits when left out.
    """
    own = [split.seed for split in splits] if seeds is None else seeds
    return [Study(run, corpus, split, seed) for split, seed in zip(splits, own, strict=True)]


def each_study(
    run: RunFolder,
    corpus: Corpus,
    splits: Sequence[Split],
    seeds: Sequence[int] | None = None,
    doing: str = "",
) -> Iterator[Study]:
    """Yield :func:`all_studies`, and say which of how many it is and how long the rest will take.

    Args:
        run: of all of them.
        corpus: of all of them.
        splits: one for each study.
        seeds: of trainings and synthetic images, one for each; those of the splits when left out.
        doing: goes before what is said.
    """
    started, count = run.seconds, len(splits)
    for number, study in enumerate(all_studies(run, corpus, splits, seeds)):
        gone = run.seconds - started
        rest = f"; about {duration(gone / number * (count - number))} to go" if number else ""
        sizes = sizes_in_words(study.split)
        logger.info("%s%d of %d (seed %d): %s%s", doing, number + 1, count, study.seed, sizes, rest)
        yield study


def sizes_in_words(split: Split) -> str:
    """Return how many images a split trains, validates and tests on."""
    tests = [f"{len(rows)} test images ({group})" for group, rows in split.test.items()]
    parts = [f"{len(split.train)} training", f"{len(split.validation)} validation", *tests]
    return ", ".join(parts)
