"""A folder of synthetic images as an experiment takes it: whole, of the corpus' classes and size, and no
leak."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

from datasets import ClassLabel, Dataset

from skindiff.commands.data import corpus_of_run
from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError, SynthesisError
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic
from skindiff.synthesis.writer import SUMMARY_FILE, load_summary, load_synthetic
from skindiff.training.products import RECORD

DATA = "data"


def keep_synthetic(study: Study, place: str) -> Synthetic:
    """Copy a synthetic data set into a stage of the run and return it with the corpus' classes and size.

    Args:
        study: what is trained and tested on; its cells are keyed by the content of the shards.
        place: output folder of ``skindiff sample``, or a folder of shards.

    Raises:
        ConfigError: it shows classes that the corpus has not.
        SynthesisError: there are no shards, or it was made from images that are validated or tested on.
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
    with accelerator.main_process_first():
        dataset = _fitting(load_synthetic(folder), study.corpus, run.path)
    refuse_leaks(dataset, study.corpus.dataset, study.split, folder / RECORD)
    generator = str(dataset[0]["generator"])
    has_summary = (folder / SUMMARY_FILE).is_file()
    summary = load_summary(folder) if has_summary else {"planned": len(dataset), "drawn": len(dataset)}
    return Synthetic(dataset, folder, "synthetic", generator, generator, summary)


def shards_folder(place: str) -> Path:
    """Return the folder of shards in a run of ``skindiff sample``, or ``place`` itself.

    Raises:
        SynthesisError: neither holds any.
    """
    for folder in (Path(place) / DATA, Path(place)):
        if any(folder.glob("synthetic-*.parquet")):
            return folder
    raise SynthesisError(
        f"synthetic: {place} holds no synthetic images; give the output_dir of skindiff sample"
    )


def refuse_leaks(drawn: Dataset, corpus: Dataset, split: Split, record: Path) -> None:
    """Raise a SynthesisError if images that are selected or tested on were re-drawn, or taught the generator.

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
    """Return what was drawn with sources in the corpus alone, and how many rows lost one that is not in it.

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


def _fitting(drawn: Dataset, corpus: Corpus, folder: Path) -> Dataset:
    """Return the rows with the corpus' class codes and image size."""
    own, names = list(drawn.features["label"].names), corpus.class_names
    shown = {own[code] for code in set(drawn["label"])}
    if unknown := sorted(shown - set(names)):
        raise ConfigError(
            f"synthetic: {unknown[0]!r} is no class of the corpus, which has {', '.join(names)}; draw its "
            "classes, or choose its corpus"
        )
    if own != names:
        codes = [names.index(own[code]) for code in drawn["label"]]
        drawn = drawn.remove_columns("label").add_column("label", codes)
        drawn = drawn.cast_column("label", ClassLabel(names=names))
    size = corpus.dataset[0]["image"].size
    if drawn[0]["image"].size != size:
        drawn = resize_to_cache(drawn, size[0], folder / "cache").dataset
    return drawn


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
