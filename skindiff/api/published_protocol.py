"""A study under its paper's protocol, compared step by step with the same study under ours."""

from collections.abc import Sequence
from dataclasses import dataclass

from skindiff.api.synthesis import SyntheticDataset
from skindiff.api.synthetic_input import Judged, all_judged
from skindiff.classification.cells import Cell
from skindiff.classification.ladder import Cut, LadderConfig, climb, rungs_of
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from skindiff.evaluation.statistics.ladder import ladder_rows
from skindiff.evaluation.statistics.rows import RungRow
from skindiff.runs import RunFolder
from skindiff.study import Study, each_study


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
    synthetic: Sequence[Sequence[SyntheticDataset]]
    seeds: Sequence[int] | None = None


Prepared = tuple[Study, Sequence[Judged]]
"""A split with its synthetic images."""


def published_ladder(
    published: PublishedProtocol, fair: Sequence[Prepared], *, allow_taught: bool, replicates: int
) -> list[RungRow]:
    """Train the arms of every rung, and return what each step does to the gain, strategy by strategy.

    Args:
        published: the paper's protocol.
        fair: the splits of the study, with their images.
        allow_taught: go on with images of a generator that validated or tested images taught.
        replicates: of the bootstrap.

    Raises:
        ConfigError: no split of the study is another than the paper's, or a strategy has no images.
    """
    run, corpus = fair[0][0].run, fair[0][0].corpus
    others = [one for one in fair if not any(one[0].split is theirs for theirs in published.splits)]
    if not others:
        raise ConfigError("splits: all of them are the paper's; give the study's own too")
    theirs = _prepared(run, corpus, published, allow_taught)
    strategies = published.config.strategies or [one.synthetic.label for one in others[0][1]]
    cuts: dict[Cut, Sequence[Prepared]] = {"published": theirs, "fair": others}
    rungs, rows = rungs_of(published.config), list[RungRow]()
    for strategy in strategies:
        cells: dict[str, list[Cell]] = {rung.name: [] for rung in rungs}
        for cut, prepared in cuts.items():
            for study, sets in prepared:
                own = [one.synthetic for one in sets if one.synthetic.label == strategy]
                if not own:
                    known = ", ".join(one.synthetic.label for one in sets)
                    raise ConfigError(f"ladder.strategies: {strategy!r} has no images; there are {known}")
                seeds = published.config.train_seeds if published.seeds is None else [study.seed]
                for name, found in climb(study, published.config, cut, own[0], seeds).items():
                    cells[name] += found
        metric = published.config.metric
        rows += ladder_rows(rungs, cells, strategy=strategy, metric=metric, replicates=replicates)
    return rows


def _prepared(
    run: RunFolder, corpus: Corpus, published: PublishedProtocol, allow_taught: bool
) -> list[Prepared]:
    studies = each_study(run, corpus, published.splits, published.seeds, "classifiers as published, ")
    return [
        (study, all_judged(study, sets, allow_taught=allow_taught))
        for study, sets in zip(studies, published.synthetic, strict=True)
    ]
