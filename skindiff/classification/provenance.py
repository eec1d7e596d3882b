"""Which real images synthetic ones come from: sources, and images that taught the generator."""

import json
from dataclasses import replace
from pathlib import Path

from datasets import Dataset

from skindiff.corpora.splits import Split
from skindiff.errors import SynthesisError
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.products import RECORD

UNRECORDED = (
    "It is not recorded which images taught the generator: if tested ones did, the scores of arms with "
    "synthetic images are too good, and copies of them are not searched for."
)


TAUGHT = (
    "Images that are validated or tested on taught a generator, as asked for: the scores of arms with its "
    "images are too good."
)


def refuse_taught(drawn: Dataset, study: Study, record: Path, *, allow_taught: bool = False) -> bool:
    """Return whether validated or tested images taught the generator, where that is allowed.

    Args:
        drawn: rows with ``source_id``.
        study: whose images are validated and tested on.
        record: of the images that the generator has learnt from; absent where that is not known.
        allow_taught: do not refuse it.

    Raises:
        SynthesisError: such images were transferred, or taught the generator.
    """
    table = study.corpus.dataset.select_columns(["image_id", "group_id"])
    groups = dict(zip(table["image_id"][:], table["group_id"][:], strict=True))
    held = table.select([*study.split.validation, *study.split.tested])
    held_groups = set(held["group_id"][:])
    trained = set(study.train["image_id"][:])  # a split that cuts groups, as some papers do, says so itself

    def leaked(ids: set[str]) -> list[str]:
        return sorted(image_id for image_id in ids - trained if groups.get(image_id) in held_groups)

    sources, taught = leaked(set(drawn["source_id"][:]) - {None}), leaked(taught_by(record))
    refused = sources or ([] if allow_taught else taught)
    if refused:
        what = "were made from" if sources else "come from a generator that learnt from"
        raise SynthesisError(
            f"synthetic: the images {what} {len(refused)} that this split validates or tests on (such as "
            f"{refused[0]}): give the --split of the run that made them"
        )
    return bool(taught)


def taught_by(record: Path) -> set[str]:
    """Return the ids of the images that taught a generator; none where there is no such record."""
    return set(json.loads(record.read_text(encoding="utf-8"))["image_ids"]) if record.is_file() else set()


def images_shown(drawn: Dataset, corpus: Dataset, split: Split, record: Path) -> Dataset:
    """Return what may have been copied: training images, those that taught the generator, and sources.

    Args:
        drawn: rows with ``source_id``.
        corpus: the whole of it.
        split: of the corpus.
        record: of the images that the generator has learnt from; absent where that is not known.
    """
    shown = {*drawn["source_id"][:], *taught_by(record)}
    known = enumerate(corpus["image_id"][:])
    rows = {*split.train, *(row for row, image_id in known if image_id in shown)}
    return corpus.select(sorted(rows))


def with_sources_of(synthetic: Synthetic, corpus: Dataset) -> tuple[Synthetic, int]:
    """Return the data set with sources in the corpus alone, and how many rows lost one that is not in it.

    Args:
        synthetic: rows with ``source_id``.
        corpus: the whole of it.
    """
    known = set(corpus["image_id"][:])
    sources = synthetic.dataset["source_id"][:]
    kept = [source if source in known else None for source in sources]
    lost = sum(source is not None for source in sources) - sum(source is not None for source in kept)
    if lost:
        column = synthetic.dataset.features["source_id"]
        dataset = synthetic.dataset.remove_columns("source_id").add_column("source_id", kept)
        synthetic = replace(synthetic, dataset=dataset.cast_column("source_id", column))
    return synthetic, lost


def is_recorded(synthetic: Synthetic) -> bool:
    """Whether it is known which images taught the generator."""
    return (synthetic.folder / RECORD).is_file()
