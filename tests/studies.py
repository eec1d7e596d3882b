"""A study around a table that a test has made."""

from pathlib import Path
from typing import Any

from accelerate import Accelerator
from datasets import Dataset

from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.runs import RunFolder
from skindiff.study import RunConfig, Study


def make_study(
    folder: Path,
    table: Dataset,
    split: Split | None = None,
    *,
    seed: int | None = None,
    config: Any = None,
    accelerator: Accelerator | None = None,
) -> Study:
    """Return a study in a run of its own, or in the one that is there.

    Args:
        folder: of the run.
        table: the corpus.
        split: of the table; all of it is trained on when left out.
        seed: that of the split when left out.
        config: of the run.
        accelerator: one on the CPU when left out.
    """
    split = split or Split(0, list(range(len(table))), [], {}, {}, 0)
    run = RunFolder(
        str(folder), config or RunConfig(), accelerator or Accelerator(cpu=True), resume=True, overwrite=False
    )
    return Study(run, Corpus(table, [], [], "0"), split, split.seed if seed is None else seed)
