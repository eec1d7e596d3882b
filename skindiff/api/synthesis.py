"""Synthetic images, from a notebook."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from PIL import Image

from skindiff.api.calls import Folder, Home, configured, run_of_call
from skindiff.api.generators import generator_of
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError, SynthesisError
from skindiff.generators.resolve import Generator
from skindiff.runs import RunFolder
from skindiff.synthesis.class_draw import redraw_class
from skindiff.synthesis.class_plan import ClassSynthesisConfig
from skindiff.synthesis.draw import redraw
from skindiff.synthesis.plan import SynthesisConfig
from skindiff.synthesis.requests import (
    ALL_TYPES,
    DATA,
    classes_to_draw,
    draw_classes,
    draw_transfer,
    draw_words,
    draws_by_class,
    needs_sources,
)
from skindiff.synthesis.strategies import Synthetic
from skindiff.synthesis.writer import load_prototypes, load_summary, load_synthetic
from skindiff.training.products import RECORD, trained_on


@dataclass(frozen=True)
class SyntheticDataset:
    """Synthetic images with all settings to generate each of them again.

    Attributes:
        dataset: the images, each with its prompt or class, seed, source and settings.
        generator: that made them.
        folder: of the Parquet shards.
        sources: the source images; None for images from text or class alone.
        home: what the folder belongs to.
    """

    dataset: Dataset
    generator: Generator
    folder: Path
    sources: Dataset | None
    home: Home

    @property
    def plan(self) -> Dataset:
        """The rows without their images."""
        return self.dataset.remove_columns("image")

    @property
    def taught(self) -> Path | None:
        """The record of the images that taught the generator, where there is one."""
        return trained_on(str(self.folder))

    def redraw(self, rows: Iterable[int]) -> list[Image.Image]:
        """Generate some rows again: the same images, bit for bit on the same device.

        Args:
            rows: numbers of rows of ``dataset``.
        """
        wanted = [self.dataset[row] for row in rows]
        pipeline = self.generator.pipeline
        if draws_by_class(self.generator):
            return [redraw_class(row, pipeline, self.sources) for row in wanted]
        prototypes = load_prototypes(self.folder)
        return [redraw(row, pipeline, self.sources, prototypes) for row in wanted]

    def save(self, folder: str | Path) -> Path:
        """Write the shards into a folder, where ``skindiff evaluate`` and ``push`` find them; return it.

        Raises:
            SynthesisError: the folder holds something already.
        """
        target = Path(folder)
        if target.exists() and any(target.iterdir()):
            raise SynthesisError(f"folder: {target} is not empty; name a new one")
        shutil.copytree(self.folder, target / DATA, dirs_exist_ok=True)
        for record in filter(None, [self.taught]):
            shutil.copyfile(record, target / RECORD)
        return target

    def as_synthetic(self) -> Synthetic:
        """Return it as studies take it."""
        name = self.generator.name
        return Synthetic(self.dataset, self.folder, "synthetic", name, name, load_summary(self.folder))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)


def generate(
    generator: Any,
    classes: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    images: int = 4,
    seed: int = 0,
    corpus: Corpus | None = None,
    split: Split | None = None,
    output_dir: Folder = None,
    resume: bool = False,
    **settings: Any,
) -> SyntheticDataset:
    """Generate images of classes, on every skin type that is asked for where the generator knows them.

    Example:
        >>> synthetic = skindiff.generate(pipeline, classes=["nodule"], groups=["V", "VI"], images=8)
        >>> synthetic.dataset[0]["image"]

    Args:
        generator: what :func:`skindiff.load` takes or returns.
        classes: to generate; all that the generator was trained on when left out.
        groups: skin types, I to VI; all of them when left out. Class-conditional generators know none.
        images: of each class and skin type.
        seed: the same seed gives the same images.
        corpus: whose counts a ``budget`` of class-conditional generators follows, and whose images those
            reconstruct that need some; not for others.
        split: whose training rows of the corpus are meant; all of them when left out.
        output_dir: folder of the run; by default a temporary one, deleted with the result.
        resume: go on with the run in ``output_dir``.
        settings: of :class:`~skindiff.synthesis.plan.SynthesisConfig`, or of
            :class:`~skindiff.synthesis.class_plan.ClassSynthesisConfig` for class-conditional generators.

    Returns:
        The synthetic images, each of which can be generated again.

    Raises:
        ConfigError, SynthesisError: a setting, the generator or a class cannot be used.
    """
    known = generator_of(generator)
    wanted = classes_to_draw(known, classes)
    if draws_by_class(known):
        if groups is not None:
            raise ConfigError(f"groups: {known.name} generates by class alone; leave it out")
        budget = ClassSynthesisConfig(budget="table", table=dict.fromkeys(wanted, images))
        by_class = configured(budget, settings)
        rows = None
        if needs_sources(known, by_class):
            if corpus is None:
                raise ConfigError(f"corpus: {known.name} needs one with budget {by_class.budget!r}; give it")
            rows = _rows(corpus, split)
        with run_of_call(output_dir, resume, by_class) as (run, home):
            draw_classes(run.accelerator, known, by_class, run.path / DATA, seed, rows)
            return _drawn(known, run, home, rows if known.pipeline.needs_images else None)
    if corpus is not None:
        raise ConfigError(f"corpus: {known.name} generates from words; leave it out, or call transfer")
    words = SynthesisConfig(mode="txt2img", targets=list(groups or ALL_TYPES), images_per_source=images)
    words = configured(words, settings)
    with run_of_call(output_dir, resume, words) as (run, home):
        draw_words(run.accelerator, known, wanted, words, run.path / DATA, seed)
        return _drawn(known, run, home, None)


def transfer(
    generator: Any,
    corpus: Corpus,
    split: Split | None = None,
    targets: Sequence[str] | None = None,
    images: int = 1,
    seed: int = 0,
    output_dir: Folder = None,
    resume: bool = False,
    **settings: Any,
) -> SyntheticDataset:
    """Transfer the training images of a corpus to other skin types (img2img).

    Example:
        >>> synthetic = skindiff.transfer(pipeline, corpus, split, targets=["V", "VI"], strength=0.3)

    Args:
        generator: what :func:`skindiff.load` takes or returns.
        corpus: with the images to transfer.
        split: whose training images are transferred. If left out, every image is, tested ones too, and
            :func:`skindiff.evaluate` refuses the result.
        targets: skin types to transfer to, I to VI; V and VI by default.
        images: how many to generate from each source image.
        seed: the same seed gives the same images.
        output_dir: folder of the run; by default a temporary one, deleted with the result.
        resume: go on with the run in ``output_dir``.
        settings: of :class:`~skindiff.synthesis.plan.SynthesisConfig`, such as ``strength`` (0 to 1; higher
            departs more from the source), ``guidance_scale``, ``steps`` and ``tone``.

    Returns:
        The synthetic images, each of which can be generated again.

    Raises:
        ConfigError, SynthesisError: a setting or the generator cannot be used.
    """
    known = generator_of(generator)
    if draws_by_class(known):
        if targets is not None:
            raise ConfigError(f"targets: {known.name} knows no skin type; leave it out")
        settings = {"budget": "real", "redraws": "real", **settings}
        return generate(known.pipeline, None, None, 1, seed, corpus, split, output_dir, resume, **settings)
    rows = _rows(corpus, split)
    config = SynthesisConfig(images_per_source=images)
    config = configured(replace(config, targets=list(targets)) if targets else config, settings)
    with run_of_call(output_dir, resume, config) as (run, home):
        draw_transfer(run.accelerator, known, rows, config, run.path / DATA, seed)
        return _drawn(known, run, home, rows)


def _drawn(generator: Generator, run: RunFolder, home: Home, sources: Dataset | None) -> SyntheticDataset:
    folder, place = run.path / DATA, generator.place
    record = trained_on(str(place.adapter or place.model))
    if record and run.accelerator.is_main_process:
        shutil.copyfile(record, run.path / RECORD)
    run.accelerator.wait_for_everyone()
    return SyntheticDataset(load_synthetic(folder), generator, folder, sources, home)


def _rows(corpus: Corpus, split: Split | None) -> Dataset:
    return corpus.dataset if split is None else corpus.dataset.select(split.train)
