"""Which real images synthetic ones come from: sources, and images that taught the generator."""

import json
from dataclasses import replace
from pathlib import Path

from datasets import Dataset

from skindiff.corpora.splits import Split
from skindiff.errors import SynthesisError
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.products import RECORD

UNRECORDED = (
    "It is not recorded which images taught the generator: if tested ones did, the scores of arms with "
    "synthetic images are too good, and copies of them are not searched for."
)


def refuse_taught(drawn: Dataset, corpus: Dataset, split: Split, record: Path) -> None:
    """Raise a SynthesisError if validated or tested images were transferred, or taught the generator.

    Args:
        drawn: rows with ``source_id``.
        corpus: the whole of it.
        split: of the corpus.
        record: of the images that the generator has learnt from; absent where that is not known.
    """
    table = corpus.select_columns(["image_id", "group_id"])
    held = [*split.validation, *split.tested]
    groups = dict(zip(table["image_id"], table["group_id"], strict=True))
    held_groups = set(table.select(held)["group_id"])
    sources = {source for source in drawn["source_id"] if source is not None}
    taught = ("come from a generator that learnt from", taught_by(record))
    for what, ids in (("were made from", sources), taught):
        leaked = sorted(image_id for image_id in ids if groups.get(image_id) in held_groups)
        if leaked:
            raise SynthesisError(
                f"synthetic: the images {what} {len(leaked)} that this split validates or tests on (such as "
                f"{leaked[0]}): give the --split of the run that made them"
            )


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
    shown = {*drawn["source_id"], *taught_by(record)}
    known = enumerate(corpus["image_id"])
    rows = {*split.train, *(row for row, image_id in known if image_id in shown)}
    return corpus.select(sorted(rows))


def with_sources_of(synthetic: Synthetic, corpus: Dataset) -> tuple[Synthetic, int]:
    """Return the data set with sources in the corpus alone, and how many rows lost one that is not in it.

    Args:
        synthetic: rows with ``source_id``.
        corpus: the whole of it.
    """
    known = set(corpus["image_id"])
    sources = list(synthetic.dataset["source_id"])
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
