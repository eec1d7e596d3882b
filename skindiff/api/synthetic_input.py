"""A folder of synthetic images as an experiment takes it: whole, of the corpus' classes and size, and no
leak."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset

from skindiff.api.same_data import corpus_of_run
from skindiff.api.synthesis import SyntheticDataset
from skindiff.classification.provenance import (
    TAUGHT,
    UNRECORDED,
    images_shown,
    is_recorded,
    refuse_taught,
)
from skindiff.corpora.buckets import BUCKET, SHOWN, bucket_place, shares
from skindiff.corpora.cache import resize_to_cache, without_bars
from skindiff.corpora.crops import CropKind, as_square, laid, picture_of, shown_of
from skindiff.corpora.registry import Corpus
from skindiff.errors import ConfigError, SynthesisError
from skindiff.files import at_home
from skindiff.study import Study
from skindiff.synthesis.requests import DATA
from skindiff.synthesis.rows import SynthesisSummary
from skindiff.synthesis.strategies import Synthetic
from skindiff.synthesis.writer import SUMMARY_FILE, load_summary, load_synthetic
from skindiff.training.products import RECORD

OfSplit = SyntheticDataset | str | Path
"""The synthetic images of a split: what ``generate`` or ``transfer`` returns, or the folder they lie in."""


@dataclass(frozen=True)
class Judged:
    """A synthetic data set that is evaluated.

    Attributes:
        synthetic: the images.
        recorded: whether it is known which images taught the generator.
        taught: whether validated or tested ones did.
        pipeline: folder of a generator that was trained from scratch in the study, beside its log.
    """

    synthetic: Synthetic
    recorded: bool
    taught: bool = False
    pipeline: Path | None = None


def judged(study: Study, one: OfSplit, *, several: bool = False, allow_taught: bool = False) -> Judged:
    """Take in a synthetic data set of a split; one that was generated in the study stays where it is.

    Args:
        study: what is trained and tested on.
        one: the data set.
        several: name its generator, as the split has others.
        allow_taught: do not refuse images of a generator that validated or tested images taught.

    Raises:
        ConfigError: it shows classes that the corpus has not.
        SynthesisError: there are no images, or validated or tested ones were transferred or taught the
            generator.
    """
    if isinstance(one, SyntheticDataset) and one.folder.is_relative_to(study.run.path):
        taught = refuse_taught(one.drawn.dataset, study, one.drawn.folder / RECORD, allow_taught=allow_taught)
        with study.run.peers.main_first("resizing synthetic images"):  # synthesis.output_size may be another
            fitting = _fitting(one.drawn.dataset, study.corpus, study.run.path)
        known = replace(one.drawn, dataset=fitting)
        return Judged(known, recorded=True, taught=taught, pipeline=one.trained)
    with study.run.withdrawn_on_error():  # before any classifier is trained
        known = keep_synthetic(study, one.folder if isinstance(one, SyntheticDataset) else one)
        taught = refuse_taught(known.dataset, study, known.folder / RECORD, allow_taught=allow_taught)
    if isinstance(one, SyntheticDataset) and one.drawn.named:
        known = replace(known, name=one.drawn.name)
    named = several or (isinstance(one, SyntheticDataset) and one.drawn.named)
    return Judged(replace(known, named=named), recorded=is_recorded(known), taught=taught)


def all_judged(study: Study, sets: Sequence[OfSplit], *, several: bool, allow_taught: bool) -> list[Judged]:
    """Take in the synthetic data sets of a split (:func:`judged`), each under a name of its own.

    Raises:
        ConfigError: two go by one name, as they are of the same generator.
    """
    found = [judged(study, one, several=several, allow_taught=allow_taught) for one in sets]
    labels = [one.synthetic.label for one in found]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise ConfigError(
            f"synthetic: two data sets of a split are called {twice[0]!r}; give them names by .named()"
        )
    return found


def notes_on(sets: Sequence[Judged]) -> list[str]:
    """Return in words what is not known, or known to be wrong, of what taught the generators."""
    unrecorded = [UNRECORDED] * any(not one.recorded for one in sets)
    return [*unrecorded, *[TAUGHT] * any(one.taught for one in sets)]


def keep_synthetic(study: Study, place: str | Path) -> Synthetic:
    """Copy a synthetic data set into a stage of the run and return it with the corpus' classes and size.

    Args:
        study: what is trained and tested on; its cells are keyed by the content of the shards.
        place: output folder of ``skindiff sample``, or a folder of shards.

    Raises:
        ConfigError: it shows classes that the corpus has not.
        SynthesisError: there are no shards.
    """
    source = shards_folder(place)
    shards = sorted(source.glob("synthetic-*.parquet"))
    digest = hashlib.sha256()
    for path in shards:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    run, accelerator = study.run, study.accelerator
    stage = run.stage("drawn", shards=digest.hexdigest())
    folder = stage.folder / DATA
    if not stage.done:
        if accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for path in [*shards, source / SUMMARY_FILE, *source.parent.glob(RECORD)]:
                if path.is_file():
                    shutil.copyfile(path, folder / path.name)
        stage.finish()
    with run.peers.main_first("resizing synthetic images"):
        dataset = _fitting(load_synthetic(folder), study.corpus, run.path)
    generator = str(dataset[0]["generator"])
    summary: SynthesisSummary = {"planned": len(dataset), "drawn": len(dataset)}
    if (folder / SUMMARY_FILE).is_file():
        summary = load_summary(folder)
    return Synthetic(dataset, folder, "synthetic", generator, generator, summary)


def shards_folder(place: str | Path) -> Path:
    """Return the folder of shards in a run of ``skindiff sample``, or ``place`` itself.

    Raises:
        SynthesisError: neither holds any.
    """
    place = at_home(place)
    for folder in (Path(place) / DATA, Path(place)):
        if any(folder.glob("synthetic-*.parquet")):
            return folder
    raise SynthesisError(
        f"synthetic: {place} holds no synthetic images; give the output_dir of skindiff sample"
    )


def _fitting(drawn: Dataset, corpus: Corpus, folder: Path) -> Dataset:
    """Return the rows with the corpus' class codes and image size."""
    own, names = list(drawn.features["label"].names), corpus.class_names
    shown = {own[code] for code in set(drawn["label"][:])}
    if unknown := sorted(shown - set(names)):
        raise ConfigError(
            f"synthetic: {unknown[0]!r} is no class of the corpus, which has {', '.join(names)}; generate "
            "its classes, or choose its corpus"
        )
    if own != names:
        codes = [names.index(own[code]) for code in drawn["label"][:]]
        drawn = drawn.remove_columns("label").add_column("label", codes)
        drawn = drawn.cast_column("label", ClassLabel(names=names))
    size = corpus.image_size
    if BUCKET in drawn.column_names:
        fits = corpus.crop == "longest" and drawn[0]["output_size"] == size
        return drawn if fits else _squares(drawn, size, corpus.crop)
    if drawn[0]["image"].size != (size, size):
        drawn = resize_to_cache(drawn, size, folder / "cache").dataset
    return drawn


def _squares(drawn: Dataset, size: int, crop: CropKind) -> Dataset:
    """Return images of several shapes as squares, made by the crop of the corpus: no border tells them from
    the real ones."""

    def square(row: dict[str, Any]) -> dict[str, Any]:
        picture, bucket = picture_of(row), row[BUCKET]
        if crop == "longest":
            return {"image": laid(picture, bucket, size), SHOWN: shares(bucket_place(bucket, size), size)}
        return {"image": as_square(picture, size, crop), SHOWN: shown_of(picture, size, crop)}

    with without_bars():
        return drawn.map(square, features=drawn.features)


def real_images(folder: Path) -> dict[str, Dataset | None]:
    """Return what a synthetic data set is compared with, if the run that read the corpus lies around its
    folder.

    Where it is not recorded what taught the generator, none of the corpus is known to be unseen.
    """
    run = folder.parent
    found = corpus_of_run(run)
    if found is None:
        return {"sources": None, "held_out": None}
    corpus, split = found[0].dataset, found[1]
    if not (run / RECORD).is_file():
        return {"sources": corpus, "held_out": None}
    shown = images_shown(load_synthetic(folder), corpus, split, run / RECORD)
    return {"sources": shown, "held_out": corpus.select(split.tested)}
