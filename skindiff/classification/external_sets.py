"""Other corpora as they are tested on: read, with their classes mapped, without images that the study has.

Synthetic images are searched for copies of them too: a generator can have seen them elsewhere."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from accelerate.logging import get_logger
from datasets import ClassLabel, Dataset

from skindiff.classification.cells import Cell
from skindiff.classification.external import ClassTable, ExternalConfig
from skindiff.classification.rows import ExternalCounts
from skindiff.corpora.attribute import Attribute
from skindiff.corpora.registry import Corpus, patients_unknown, refuse_unstated
from skindiff.errors import ConfigError
from skindiff.measures.copying.near_copies import fingerprint
from skindiff.measures.copying.rows import CopiedElsewhere
from skindiff.measures.copying.twins import Twins, find_twins
from skindiff.runs import EXTERNAL, RunFolder
from skindiff.study import read_corpus
from skindiff.wrong_settings import refuse

logger = get_logger(__name__)


@dataclass(frozen=True)
class ExternalSet:
    """Images of another corpus that are tested on.

    Attributes:
        name: of the set.
        images: by the scored classes; no photograph of the study is among them.
        table: what the classes of both sides are.
        fingerprint: of all that decides them.
        counts: what was tested, and what was left out and why.
        reading: sentences on what was read of it; they may name files.
        attribute: by whose groups its images are told apart, as its own settings say.
    """

    name: str
    images: Dataset
    table: ClassTable
    fingerprint: str
    counts: ExternalCounts
    reading: list[str]
    attribute: Attribute

    def described(self, cell: Cell) -> Cell:
        """Return predictions on its images with what is known of each of them."""
        place = {image_id: row for row, image_id in enumerate(self.images["image_id"][:])}
        rows = [place[image_id] for image_id in cell.image_ids]
        known = {name: self.images[name][:] for name in ("skin_type", *self.attribute.columns)}
        ordered = {name: tuple(values[row] for row in rows) for name, values in known.items()}
        return replace(cell, skin_types=ordered.pop("skin_type"), attributes=ordered)


@dataclass(frozen=True)
class Learnt:
    """What classifiers were trained on, as far as it is known.

    Attributes:
        class_names: in the order of their codes.
        image_size: of the images, height and width.
        corpus: with the images themselves; None where they are not at hand.
    """

    class_names: Sequence[str]
    image_size: int
    corpus: Corpus | None

    @classmethod
    def of(cls, corpus: Corpus) -> "Learnt":
        """Return what is known of classifiers of a corpus."""
        return cls(corpus.class_names, corpus.image_size, corpus)


def open_external(
    run: RunFolder, learnt: Learnt, external: Mapping[str, ExternalConfig], setting: str = "external"
) -> list[ExternalSet]:
    """Read the other corpora of a study, leave out what cannot be tested on, and say so.

    Nothing of them is seen by a training, a generator or a choice: they are asked when all is settled.

    Args:
        run: its folder ``external`` has the lists of what is missing or unfit, by set.
        learnt: what the classifiers were trained on; those images are searched for among the others.
        external: the settings of each set.
        setting: that has them, for messages.

    Raises:
        ConfigError: the classes cannot be mapped as asked, or fewer than two of them have images.
        CorpusError: a corpus cannot be read.
    """
    return [_open(run, learnt, name, config, f"{setting}.{name}.") for name, config in external.items()]


def _open(run: RunFolder, learnt: Learnt, name: str, config: ExternalConfig, path: str) -> ExternalSet:
    size, usual = learnt.image_size, type(config.corpus)().image_size
    if config.corpus.image_size not in (size, usual):
        raise ConfigError(
            f"{path}corpus.image_size: {config.corpus.image_size}, and the study's images have {size}; leave "
            "it out, as both are kept at one size"
        )

    def mapped_classes(other: Corpus) -> ClassTable:
        refuse_unstated(other)  # as of every corpus that is tested on
        return ClassTable.of(config, learnt.class_names, other.class_names, path)

    settings = replace(config.corpus, image_size=size)
    read, table = read_corpus(settings, run, mapped_classes, run.path / EXTERNAL / name)
    meant = [table.theirs[read.class_names[code]] for code in read.dataset["label"][:]]
    mapped = [row for row, code in enumerate(meant) if code is not None]
    _refuse_few(table, Counter(meant), path)
    images = _labelled(read.dataset.select(mapped), [meant[row] for row in mapped], table.names)
    twins = None if learnt.corpus is None else _twins(run, name, images, learnt.corpus, read, config)
    same = twins.over(config.twins_from) if twins else set()
    kept = [row for row, image_id in enumerate(images["image_id"][:]) if image_id not in same]
    images = images.select(kept)
    _refuse_few(table, Counter(images["label"][:]), path)
    unmapped = Counter(read.class_names[code] for code in read.dataset["label"][:])
    counts: ExternalCounts = {
        "name": name,
        "corpus": {"name": config.corpus.name, **read.counts()},
        "classes": {
            theirs: None if code is None else table.names[code] for theirs, code in table.theirs.items()
        },
        "ours": {ours: table.names[code] for ours, code in zip(learnt.class_names, table.ours, strict=True)},
        "tested": {table.names[code]: count for code, count in sorted(Counter(images["label"][:]).items())},
        "images": len(images),
        "groups": len(set(images["group_id"][:])),
        "unmapped": {
            one: unmapped[one] for one, code in table.theirs.items() if code is None and unmapped[one]
        },
        "attribute": config.corpus.attribute.column,
        "twins": len(same) if twins else None,
        "twins_from": config.twins_from,
        "planted_found": {kind: share["share"] for kind, share in twins.found.items()} if twins else {},
        "trained_again": 0,
        "asked_before": 0,
    }
    _say(counts)
    reading = [f"{name}: {said}" for said in (*read.warnings, *patients_unknown(read.counts()))]
    digest = [read.fingerprint, sorted(images["image_id"][:]), table.names, table.ours.tolist(), table.theirs]
    return ExternalSet(name, images, table, str(digest), counts, reading, config.corpus.attribute)


def _twins(
    run: RunFolder, name: str, images: Dataset, corpus: Corpus, read: Corpus, config: ExternalConfig
) -> Twins:
    """Search for images that the study has too; a stage of the run."""
    stage = run.stage(
        f"twins-{name}",
        says=f"images of {name} that the study has too",
        study=corpus.fingerprint,
        external=read.fingerprint,
        images=images["image_id"][:],
        threshold=config.twins_from,
    )
    return find_twins(stage, images, corpus.dataset, config.twins_from, run.accelerator.device)


def find_copied(
    run: RunFolder, one: ExternalSet, drawn: Dataset, *, name: str, seed: int | None
) -> CopiedElsewhere:
    """Look for copies of the images that are tested on among synthetic ones; a stage of the run.

    An image counts as a copy from the similarity on from which an image of the study is taken for the same
    photograph (``twins_from``).

    Args:
        run: keeps the search, which names photographs; the main process computes.
        one: the other corpus.
        drawn: synthetic images: ``image``, ``image_id``.
        name: of them, for the report.
        seed: of them, None where it is not known.
    """
    threshold = one.counts["twins_from"]
    stage = run.stage(
        re.sub(r"[^\w.-]", "-", f"copied-{one.name}-{name}"),
        says=f"copies of {one.name} among {name}",
        external=one.fingerprint,
        images=fingerprint(drawn),
        threshold=threshold,
        seed=seed,
    )
    found = find_twins(stage, drawn, one.images, threshold, run.accelerator.device)
    near = [row for row in found.nearest if row.similarity >= threshold]
    return {
        "images": name,
        "seed": seed,
        "test_corpus": one.name,
        "generated": len(drawn),
        "threshold": threshold,
        "near_copies": len(near),
        "copied": len({row.other for row in near}),
        "nearest": max(row.similarity for row in found.nearest),
        "planted_found": {kind: share["share"] for kind, share in found.found.items()},
    }


def _labelled(images: Dataset, codes: list[int | None], names: tuple[str, ...]) -> Dataset:
    """Return images with the scored classes for labels."""
    columns = images.column_names
    labelled = images.remove_columns("label").add_column("label", np.array(codes, dtype=np.int64))
    return labelled.cast_column("label", ClassLabel(names=list(names))).select_columns(columns)


def _refuse_few(table: ClassTable, tested: Mapping[int | None, int], path: str) -> None:
    present = [table.names[code] for code in tested if code is not None]
    if len(present) < 2:
        left = f"all images to test on are {present[0]!r}" if present else "no image is left to test on"
        refuse(
            f"{path}classes: {left}, so nothing is told apart; map another class too, such as by "
            f"{path}others rest"
        )


def _say(counts: ExternalCounts) -> None:
    """Log what is tested, and what is left out."""
    parts = [f"{counts['images']} images of {counts['groups']} groups"]
    parts += [f"{count} {name}" for name, count in counts["tested"].items()]
    logger.info("%s: %s", counts["name"], ", ".join(parts))
    if counts["unmapped"]:
        every = ", ".join(f"{name} ({count})" for name, count in counts["unmapped"].items())
        logger.warning(
            "%s: %d images are of classes that are none of the study's, and left out: %s",
            counts["name"], sum(counts["unmapped"].values()), every,
        )  # fmt: skip
    if counts["twins"]:
        logger.warning(
            "%s: %d images are in the study's corpus too, and left out", counts["name"], counts["twins"]
        )
