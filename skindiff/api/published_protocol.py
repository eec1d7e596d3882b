"""A study under its paper's protocol, compared step by step with the same study under ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from skindiff.api.corpora import make_split
from skindiff.api.promised import Promised, prepared
from skindiff.api.synthesis import SyntheticDataset
from skindiff.api.synthetic_input import Judged
from skindiff.classification.cells import Cell
from skindiff.classification.experiment import Experiment
from skindiff.classification.ladder import Cut, LadderConfig, climb, experiments_of, rungs_of
from skindiff.classification.recorded_cells import RecordedCells
from skindiff.corpora.parts import Protocol as SplitProtocol
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from skindiff.evaluation.statistics.ladder import ladder_rows
from skindiff.evaluation.statistics.rows import RungRow
from skindiff.study import Study, each_study
from skindiff.synthesis.strategies import Unmade


@dataclass(frozen=True)
class PublishedProtocol:
    """The splits of a paper with the synthetic images made for them.

    Attributes:
        config: how the paper compares.
        splits: cut as in the paper; one that the study evaluates itself is no fair one.
        synthetic: of each split, those that are compared.
        seeds: of trainings and images, one for each split, where several share one; those of the splits when
            left out.
    """

    config: LadderConfig
    splits: Sequence[Split]
    synthetic: Sequence[Sequence[SyntheticDataset | Promised]]
    seeds: Sequence[int] | None = None

    def experiments(
        self, study: Study, label: str, cut: Cut, recorded: RecordedCells
    ) -> dict[str, Experiment]:
        """Return the experiment of every rung of a cut on one of its splits, for the images of a label."""
        seeds = self.config.train_seeds if self.seeds is None else [study.seed]
        return experiments_of(study, self.config.of(label), cut, seeds, recorded)

    def is_fair(self, study: Study) -> bool:
        """Whether the split of a study is none of the paper's, and compared with one."""
        return self.asks(study) and not any(study.split is own for own in self.splits)

    def asks(self, study: Study) -> bool:
        """Whether a study is of a seed that is compared."""
        return not self.config.seeds or study.seed in self.config.seeds

    def asked_of(self, study: Study, label: str, cut: Cut, recorded: RecordedCells) -> list[Experiment]:
        """Return the experiments on a split's images of a label; none where these are not compared."""
        compared = not self.config.strategies or label in self.config.strategies
        return list(self.experiments(study, label, cut, recorded).values()) if compared else []


class CutByPresets(Protocol):
    """The settings of a study whose split has the presets published and grouped."""

    split: Any
    split_seeds: list[int]
    ladder: LadderConfig | None


def cut_for_ladder(
    corpus: Corpus, *, protocol: SplitProtocol, config: CutByPresets
) -> tuple[list[Split], list[Split]]:
    """Return a split for each seed of a study, and, where there is a ladder, those of its paper's kind."""

    def splits(preset: str) -> list[Split]:
        settings = {**vars(config.split), "preset": preset}
        return [make_split(corpus, protocol, seed, **settings) for seed in config.split_seeds]

    return splits(config.split.preset), splits("published") if config.ladder else []


Ready = tuple[Study, Sequence[Judged | Unmade]]
"""A split with its synthetic images."""


def fair_experiments(
    study: Study, label: str, published: PublishedProtocol | None, recorded: RecordedCells
) -> list[Experiment]:
    """Return what the ladder asks of the images of a split; nothing where there is no ladder."""
    if published is None or not published.is_fair(study):
        return []
    return published.asked_of(study, label, "fair", recorded)


def published_ladder(
    published: PublishedProtocol,
    own: Sequence[Ready],
    recorded: RecordedCells,
    *,
    allow_taught: bool,
    replicates: int,
) -> tuple[list[RungRow], list[str]]:
    """Train the arms of every rung, and return what each step does to the gain, strategy by strategy.

    Args:
        published: the paper's protocol.
        own: the splits of the study, with their images.
        recorded: cells that count as done.
        allow_taught: go on with images of a generator that validated or tested images taught.
        replicates: of the bootstrap.

    Returns:
        The rows, of the seeds that are run; and, where nothing is trained, what is not run to its end.

    Raises:
        ConfigError: no split of the study is another than the paper's, or a strategy has no images.
    """
    fair = [one for one in own if published.is_fair(one[0])]
    if not fair:
        raise ConfigError("splits: all of them are the paper's; give the study's own too")
    theirs = _ready(published, own[0][0], recorded, allow_taught)
    strategies = published.config.strategies or [_label(one) for one in fair[0][1]]
    cuts: dict[Cut, Sequence[Ready]] = {"published": theirs, "fair": fair}
    rungs, rows, unfinished = rungs_of(published.config), list[RungRow](), list[str]()
    for strategy in strategies:
        cells: dict[str, list[Cell]] = {rung.name: [] for rung in rungs}
        for cut, ready in cuts.items():
            for study, sets in ready:
                images = [one for one in sets if _label(one) == strategy]
                if not images:
                    known = ", ".join(map(_label, sets))
                    raise ConfigError(f"ladder.strategies: {strategy!r} has no images; there are {known}")
                made = images[0] if isinstance(images[0], Unmade) else images[0].synthetic
                experiments = published.experiments(study, strategy, cut, recorded)
                for name, found in climb(experiments, made).items():
                    cells[name] += found
                if any(one.not_run for one in experiments.values()):
                    unfinished.append(f"{strategy}, seed {study.seed}")
        if all(_is_complete(found) for found in cells.values()):
            metric = published.config.metric
            rows += ladder_rows(rungs, cells, strategy=strategy, metric=metric, replicates=replicates)
    return rows, list(dict.fromkeys(unfinished))


def _is_complete(cells: Sequence[Cell]) -> bool:
    """Whether both arms of a rung have cells."""
    return len({cell.key.arm for cell in cells}) == 2


def _label(one: Judged | Unmade) -> str:
    return one.label if isinstance(one, Unmade) else one.synthetic.label


def _ready(
    published: PublishedProtocol, like: Study, recorded: RecordedCells, allow_taught: bool
) -> list[Ready]:
    """Return the splits of the paper, with images where they are needed."""
    studies = each_study(
        like.run, like.corpus, published.splits, published.seeds, "generators as published, "
    )
    found: list[Ready] = []
    for study, sets in zip(studies, published.synthetic, strict=True):
        if not published.asks(study):
            continue
        asked = partial(published.asked_of, study, cut="published", recorded=recorded)
        found.append((study, prepared(study, sets, asked, allow_taught=allow_taught)))
    return found
