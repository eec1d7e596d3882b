"""Synthetic images, from a notebook."""

import filecmp
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from PIL import Image

from skindiff.api.calls import Folder, Home, configured, run_of_call, study_of
from skindiff.api.generators import generator_of, place_of
from skindiff.corpora.attribute import SKIN_TYPE
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError, SynthesisError
from skindiff.files import at_home
from skindiff.generators.resolve import Generator, Place
from skindiff.manifest import record
from skindiff.runs import RunFolder
from skindiff.study import Study
from skindiff.synthesis.class_draw import redraw_class
from skindiff.synthesis.class_plan import ClassSynthesisConfig
from skindiff.synthesis.class_synthesis import draw_by_class
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.draw import redraw
from skindiff.synthesis.requests import (
    DATA,
    classes_to_draw,
    draw_classes,
    draw_transfer,
    draw_words,
    draws_by_class,
    needs_sources,
)
from skindiff.synthesis.strategies import Synthetic, draw_transfers
from skindiff.synthesis.tone import read_prototypes
from skindiff.synthesis.writer import load_prototypes, load_summary, load_synthetic
from skindiff.training.from_scratch import LOG_FILE
from skindiff.training.products import RECORD, trained_on


@dataclass(frozen=True)
class SyntheticDataset:
    """Synthetic images with all settings to generate each of them again.

    Attributes:
        drawn: the images as studies take them, with their names, counts and timings.
        generator: that made them; of a study its place alone, and it is loaded when it is needed.
        sources: the source images; None for images from text or class alone.
        home: what the folder belongs to.
    """

    drawn: Synthetic
    generator: Generator | Place
    sources: Dataset | None
    home: Home

    @property
    def dataset(self) -> Dataset:
        """The images, each with its prompt or class, seed, source and settings."""
        return self.drawn.dataset

    @property
    def folder(self) -> Path:
        """The folder of the Parquet shards."""
        return self.drawn.folder

    @property
    def plan(self) -> Dataset:
        """The rows without their images."""
        return self.dataset.remove_columns("image")

    @property
    def taught(self) -> Path | None:
        """The record of the images that taught the generator, where there is one."""
        return trained_on(str(self.folder))

    @property
    def trained(self) -> Path | None:
        """The folder of a generator that was trained from scratch in the study, beside its log."""
        place = self.generator
        folder = Path(place.model) if isinstance(place, Place) and place.adapter is None else None
        return folder if folder and (folder.parent / LOG_FILE).is_file() else None

    def named(self, name: str | None) -> "SyntheticDataset":
        """Return it under the name that its generator has in a report of several; None leaves it as it is."""
        return self if name is None else replace(self, drawn=replace(self.drawn, name=name, named=True))

    def redraw(self, rows: Iterable[int]) -> list[Image.Image]:
        """Generate some rows again: the same images, bit for bit on the same device.

        Args:
            rows: numbers of rows of ``dataset``.
        """
        wanted = [self.dataset[row] for row in rows]
        generator = generator_of(self.generator, self._dtype())
        pipeline = generator.pipeline
        if draws_by_class(generator):
            return [redraw_class(row, pipeline, self.sources) for row in wanted]
        prototypes = load_prototypes(self.folder)
        return [redraw(row, pipeline, self.sources, prototypes) for row in wanted]

    def _dtype(self) -> str:
        """Return the precision that the images were generated in."""
        return str(self.dataset[0]["dtype"]) if "dtype" in self.dataset.column_names else "float32"

    def save(self, folder: str | Path) -> Path:
        """Write the shards into a folder, where ``skindiff evaluate`` and ``push`` find them; return it.

        Raises:
            SynthesisError: the folder holds something already.
        """
        target = Path(at_home(folder))
        if target.exists() and any(target.iterdir()):
            raise SynthesisError(f"folder: {target} is not empty; name a new one")
        shutil.copytree(self.folder, target / DATA, dirs_exist_ok=True)
        if self.taught is not None:
            shutil.copyfile(self.taught, target / RECORD)
        return target

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
    same_noise: bool = False,
    **settings: Any,
) -> SyntheticDataset:
    """Generate images of classes, on every skin type (or other value) asked for that the generator knows.

    Example:
        >>> synthetic = skindiff.generate(pipeline, classes=["nodule"], groups=["V", "VI"], images=8)
        >>> synthetic.dataset[0]["image"]

    Args:
        generator: what :func:`skindiff.load` takes or returns.
        classes: to generate; all that the generator was trained on when left out.
        groups: skin types, I to VI, or values of what else the generator was trained to tell, such as sex;
            all of them when left out. Class-conditional generators know none.
        images: of each class and group.
        seed: the same seed gives the same images.
        corpus: whose counts a ``budget`` of class-conditional generators follows, and whose images those
            reconstruct that need some; not for others.
        split: whose training rows of the corpus are meant; all of them when left out.
        output_dir: folder of the run; by default a temporary one, deleted with the result. Of a study the
            synthesis becomes a stage.
        resume: go on with the run in ``output_dir``.
        same_noise: start every class and group from the same noises, as the demo does, so that images differ
            by what is asked alone; image n of seed s is then the first of seed s + n. Not for
            class-conditional generators and studies.
        settings: of :class:`~skindiff.synthesis.config.SynthesisConfig`, or of
            :class:`~skindiff.synthesis.class_plan.ClassSynthesisConfig` for class-conditional generators.

    Returns:
        The synthetic images, each of which can be generated again.

    Raises:
        ConfigError, SynthesisError: a setting, the generator or a class cannot be used.
    """
    if isinstance(output_dir, Study):
        _refuse_same_noise(same_noise, "a study")
        if groups is not None:
            raise ConfigError("groups: a study generates by class alone here; leave it out")
        study = study_of(output_dir.run, corpus or output_dir.corpus, split or output_dir.split, seed)
        settings = {"output_size": study.corpus.image_size, **settings}
        planned = _budget(classes or study.corpus.class_names, images, settings)
        place = place_of(generator)
        return _kept(study, place, draw_by_class(study, Path(place.model), planned), study.train)
    known = generator_of(generator, settings.get("dtype", "float32"), settings.get("offload", False))
    wanted = classes_to_draw(known, classes)
    if draws_by_class(known):
        _refuse_same_noise(same_noise, known.name)
        if groups is not None:
            raise ConfigError(f"groups: {known.name} generates by class alone; leave it out")
        by_class = _budget(wanted, images, settings)
        rows, attribute = None, SKIN_TYPE
        if needs_sources(known, by_class):
            if corpus is None:
                raise ConfigError(f"corpus: {known.name} needs one with budget {by_class.budget!r}; give it")
            rows, attribute = _rows(corpus, split), corpus.attribute
        with run_of_call(output_dir, resume, by_class) as (run, home):
            draw_classes(run.accelerator, known, by_class, run.path / DATA, seed, rows, attribute)
            return _drawn(known, run, home, rows if known.pipeline.needs_images else None)
    if corpus is not None:
        raise ConfigError(f"corpus: {known.name} generates from words; leave it out, or call transfer")
    _refuse_followed(settings, "mode", "strategy")
    words = SynthesisConfig(
        mode="txt2img", targets=list(groups) if groups else None, images_per_source=images
    )
    words = configured(words, settings)
    with run_of_call(output_dir, resume, words) as (run, home):
        draw_words(run.accelerator, known, wanted, words, run.path / DATA, seed, same_noise)
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
    same_noise: bool = False,
    tones: str | Path | None = None,
    **settings: Any,
) -> SyntheticDataset:
    """Transfer the training images of a corpus to other skin types, or other values of its attribute
    (img2img).

    Example:
        >>> synthetic = skindiff.transfer(pipeline, corpus, split, targets=["V", "VI"], strength=0.3)

    Args:
        generator: what :func:`skindiff.load` takes or returns.
        corpus: with the images to transfer.
        split: whose training images are transferred. If left out, every image is, tested ones too, and
            :func:`skindiff.evaluate` refuses the result.
        targets: values of the corpus' attribute to transfer to, such as skin types I to VI; its minority by
            default, of skin types V and VI.
        images: how many to generate from each source image.
        seed: the same seed gives the same images.
        output_dir: folder of the run; by default a temporary one, deleted with the result. Of a study the
            synthesis becomes a stage.
        resume: go on with the run in ``output_dir``.
        same_noise: start every image and target from the same noises, as the demo does.
        tones: ``tone_prototypes.safetensors`` of an earlier transfer by this generator, whose tones are moved
            to again; they are measured by default. Not for a study, nor for generators without words.
        settings: of :class:`~skindiff.synthesis.config.SynthesisConfig`, such as ``strength`` (0 to 1; higher
            departs more from the source), ``guidance_scale``, ``steps`` and ``tone``.

    Returns:
        The synthetic images, each of which can be generated again.

    Raises:
        ConfigError, SynthesisError: a setting or the generator cannot be used.
    """
    config = SynthesisConfig(images_per_source=images)
    config = replace(config, targets=list(targets)) if targets else config
    if isinstance(output_dir, Study):
        _refuse_same_noise(same_noise, "a study")
        _refuse_tones(tones, "a study")
        study = study_of(output_dir.run, corpus, split or output_dir.split, seed)
        place = place_of(generator)
        drawn = draw_transfers(study, place, configured(config, settings))
        return _kept(study, place, drawn, study.train)
    known = generator_of(generator, settings.get("dtype", "float32"), settings.get("offload", False))
    if draws_by_class(known):
        if targets is not None:
            raise ConfigError(f"targets: {known.name} knows no {corpus.attribute.name}; leave it out")
        _refuse_same_noise(same_noise, known.name)
        _refuse_tones(tones, known.name)
        settings = {"budget": "real", "redraws": "real", **settings}
        return generate(known.pipeline, None, None, 1, seed, corpus, split, output_dir, resume, **settings)
    _refuse_followed(settings, "mode", "strategy")
    rows, config = _rows(corpus, split), configured(config, settings)
    with run_of_call(output_dir, resume, config) as (run, home):
        folder = run.path / DATA
        draw_transfer(
            run.accelerator, known, rows, config, folder, seed, corpus.attribute, same_noise,
            None if tones is None else read_prototypes(Path(tones)),
        )  # fmt: skip
        return _drawn(known, run, home, rows)


def _budget(classes: Sequence[str], images: int, settings: Mapping[str, Any]) -> ClassSynthesisConfig:
    """Return settings with as many images of each class, unless they name another budget."""
    asked = dict.fromkeys(classes, images)
    return configured(ClassSynthesisConfig(budget="table", table=asked), settings)


def _refuse_same_noise(same_noise: bool, name: str) -> None:
    if same_noise:
        raise ConfigError(f"same_noise: {name} gives each image a noise of its own; leave it out")


def _refuse_tones(tones: str | Path | None, name: str) -> None:
    if tones is not None:
        raise ConfigError(f"tones: {name} measures its own, or has none; leave it out")


def _refuse_followed(settings: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name in settings:
            raise ConfigError(f"{name}: it follows from the function and the generator; leave it out")


def _drawn(generator: Generator, run: RunFolder, home: Home, sources: Dataset | None) -> SyntheticDataset:
    folder = run.path / DATA
    if run.accelerator.is_main_process:
        record(run.path, DATA)
    run.peers.meet("listing the images")
    _record(generator.place, run.path, run)
    drawn = Synthetic(
        load_synthetic(folder), folder, "synthetic", generator.name, generator.name, load_summary(folder)
    )
    return SyntheticDataset(drawn, generator, sources, home)


def _kept(study: Study, place: Place, drawn: Synthetic, sources: Dataset) -> SyntheticDataset:
    _record(place, drawn.folder, study.run)
    return SyntheticDataset(drawn, place, sources, Home(study.run.path))


def _record(place: Place, folder: Path, run: RunFolder) -> None:
    """Leave with the images what taught their generator, where that is known."""
    record = trained_on(str(place.adapter or place.model))
    target = folder / RECORD
    kept = target.is_file() and record and filecmp.cmp(record, target, shallow=False)
    if record and not kept and run.accelerator.is_main_process:
        shutil.copyfile(record, target)
    run.accelerator.wait_for_everyone()


def _rows(corpus: Corpus, split: Split | None) -> Dataset:
    return corpus.dataset if split is None else corpus.dataset.select(split.train)
