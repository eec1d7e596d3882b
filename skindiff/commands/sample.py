"""``skindiff sample``: draw images with any generator, by class and skin type, or re-draw a corpus."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from datasets import Dataset, Features

from skindiff.commands.data import (
    CORPUS_FILE,
    RECORD,
    CorpusSettings,
    prepare_study,
    same_data,
    trained_on,
)
from skindiff.commands.grid import GRID, draw_drawn
from skindiff.commands.launching import launched
from skindiff.commands.settings import parse_command
from skindiff.commands.synthetic_input import DATA
from skindiff.commands.terminal import say, suggest
from skindiff.corpora.schema import SKIN_TYPES, corpus_features
from skindiff.errors import ConfigError
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.models import BUNDLED_NAMES
from skindiff.generators.resolve import Generator, find_generator, load_generator
from skindiff.runs import RunFolder
from skindiff.study import Study, open_run
from skindiff.synthesis.class_draw import ClassDrawer
from skindiff.synthesis.class_plan import ClassSynthesisConfig, drawn_features, make_class_plan
from skindiff.synthesis.plan import Mode, SynthesisConfig, make_plan
from skindiff.synthesis.writer import load_synthetic, write_rows, write_synthetic

BUNDLED_SUBJECT = "smooth skin"
"""What the bundled pipeline knows, before it is taught a class."""


@dataclass
class SampleCommand(CorpusSettings):
    """Draw images into Parquet shards with all that is needed to draw each again, and a picture of some.

    skindiff sample --generator runs/lora --classes "[nodule, ring]" --skin_types "[I, VI]" --images 8

    skindiff sample --generator runs/lora --mode transfer --corpus runs/lora/corpus.yaml --split
    runs/lora/split.yaml
    """

    output_dir: str = "runs/sample"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    generator: str = "bundled"
    """bundled; a folder of a pipeline, an adapter or a run of skindiff train; or the Hub id of a pipeline or
    an adapter, with @revision or without."""
    revision: str | None = None
    """Branch, tag or commit of a Hub id."""
    base_model: str | None = None
    """Model that an adapter is put on, where its own record of it is no Hub id."""
    mode: Literal["classes", "transfer"] = "classes"
    """classes: images of each class (and skin type); transfer: images of the corpus re-drawn (img2img) as
    other skin types, which only Stable Diffusion can."""
    classes: list[str] | None = None
    """What to draw, in mode classes; null is all that the generator was taught. Pipelines of Stable Diffusion
    that were taught nothing here take any words."""
    skin_types: list[str] | None = None
    """Fitzpatrick types to draw, I to VI; null is all six in mode classes, and synthesis.targets in mode
    transfer. From-scratch generators know no skin type."""
    images: int | None = None
    """Images of each class and skin type, or of each source; null is synthesis.images_per_source, or what
    class_synthesis.budget says."""
    part: Literal["train", "validation", "test", "all"] = "train"
    """Images of the corpus that are re-drawn, or that budgets count; only train may be trained on again."""
    seed: int = 0
    """Seed of the data set."""
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    """How Stable Diffusion draws; its strategy and mode follow the generator and mode above."""
    class_synthesis: ClassSynthesisConfig = field(default_factory=ClassSynthesisConfig)
    """How from-scratch generators draw."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        mode: Mode = "img2img" if self.mode == "transfer" else "txt2img"
        super(SampleCommand, replace(self, synthesis=replace(self.synthesis, mode=mode))).validate(path)
        types = self.skin_types
        if types is not None and (not types or not set(types) <= set(SKIN_TYPES)):
            raise ConfigError(f"{path}skin_types: {types} is not a list of {', '.join(SKIN_TYPES)}")
        if self.images is not None and self.images < 1:
            raise ConfigError(f"{path}images: {self.images} is below 1; give a whole number from 1")
        if self.classes is not None and (not self.classes or len(set(self.classes)) < len(self.classes)):
            raise ConfigError(f"{path}classes: {self.classes} must name at least one, and each once")
        if self.mode == "transfer" and self.classes is not None:
            raise ConfigError(f"{path}classes: mode transfer re-draws the corpus' own; leave the setting out")


def main(words: Sequence[str]) -> int:
    """Draw images, in as many processes as asked for."""
    return launched("sample", words, _sample, _settings)


def _settings(words: list[str]) -> SampleCommand:
    return parse_command(SampleCommand, words, "sample")


def _sample(words: list[str]) -> int:
    config = _settings(words)
    run = open_run(config, DATA, GRID, RECORD)
    accelerator = run.accelerator
    with run.withdrawn_on_error():
        place = find_generator(config.generator, config.revision, config.base_model)
        if config.base_model and not place.adapter:
            raise ConfigError(f"base_model: {config.generator!r} is no adapter and needs none; leave it out")
        generator = load_generator(place, accelerator.device, fuse=True)
        by_class = isinstance(generator.pipeline, ClassConditionalPipeline)
        draw = _draw_from_scratch if by_class else _draw_stable_diffusion
        sources = draw(config, generator, run)
    folder = run.path / DATA
    drawn = load_synthetic(folder)
    record = trained_on(config.generator)
    if accelerator.is_main_process:
        draw_drawn(drawn, sources, run.path / GRID)
        if record:
            shutil.copyfile(record, run.path / RECORD)
    accelerator.wait_for_everyone()
    say(f"{len(drawn)} images by {generator.name}: {folder}; a look at them: {run.path / GRID}")
    home = run.path if (run.path / CORPUS_FILE).is_file() else record.parent if record else None
    evaluate = ["skindiff", "evaluate", "--synthetic", str(run.path), *(same_data(home) if home else [])]
    push = ["skindiff", "push", str(run.path), "OWNER/NAME", "--licence", "LICENCE"]
    suggest(*([evaluate] if home and config.part == "train" else []), push)
    return 0


def _draw_stable_diffusion(config: SampleCommand, generator: Generator, run: RunFolder) -> Dataset | None:
    """Draw a plan of Stable Diffusion; return the images that were re-drawn, if any were."""
    transfer = config.mode == "transfer"
    settings: dict[str, Any] = {"mode": "img2img" if transfer else "txt2img", "strategy": generator.strategy}
    types = config.skin_types or (None if transfer else list(SKIN_TYPES))
    settings |= {"targets": types} if types else {}
    settings |= {"images_per_source": config.images} if config.images else {}
    synthesis = replace(config.synthesis, **settings)
    if transfer:
        sources = _rows(prepare_study(config, run), config.part)
    else:
        sources = _asked_for(_classes(config, generator), synthesis.targets)
    plan = make_plan(
        sources, synthesis, seed=config.seed, generator=generator.name, tokens=generator.subjects
    )
    write_synthetic(
        run.accelerator,
        plan,
        generator.pipeline,
        sources if transfer else None,
        run.path / DATA,
        rows_per_shard=synthesis.rows_per_shard,
        load_base=generator.load_base if generator.adapter else None,
    )
    return sources if transfer else None


def _draw_from_scratch(config: SampleCommand, generator: Generator, run: RunFolder) -> Dataset | None:
    """Draw a plan of a class-conditional generator; return the images that were re-drawn, if any were."""
    pipeline = generator.pipeline
    assert isinstance(pipeline, ClassConditionalPipeline)
    for name, given in (("skin_types", config.skin_types), ("mode", config.mode == "transfer")):
        if given:
            raise ConfigError(
                f"{name}: {config.generator} is a {pipeline.family}, which draws by class alone; leave it out"
            )
    synthesis, own = config.class_synthesis, list(pipeline.config.class_names)
    classes = _classes(config, generator)
    if config.images is not None or config.classes is not None:
        count = config.images or synthesis.per_class
        synthesis = replace(synthesis, budget="table", table=dict.fromkeys(classes, count))
    counted = pipeline.needs_images or synthesis.budget in ("real", "inverse_frequency")
    sources = _rows(prepare_study(config, run), config.part) if counted else _no_rows(own)
    if list(sources.features["label"].names) != own:
        raise ConfigError(
            f"corpus: its classes are {', '.join(sources.features['label'].names)}, but the generator draws "
            f"{', '.join(own)}; choose the corpus that it was trained on"
        )
    plan = make_class_plan(
        sources, synthesis, seed=config.seed, family=pipeline.family, generator=generator.name,
        redraws=pipeline.needs_images,
    )  # fmt: skip
    redrawn = sources if pipeline.needs_images else None
    write_rows(
        run.accelerator,
        plan,
        drawn_features(own),
        run.path / DATA,
        lambda: ClassDrawer(pipeline, redrawn),
        rows_per_shard=synthesis.rows_per_shard,
    )
    return redrawn


def _classes(config: SampleCommand, generator: Generator) -> list[str]:
    """Return the classes to draw.

    Raises:
        ConfigError: none is named, or one that the generator was not taught.
    """
    known = generator.class_names
    if config.classes is None and config.generator in BUNDLED_NAMES:
        return [BUNDLED_SUBJECT]
    if config.classes is None and known is None:
        raise ConfigError(
            f"classes: {config.generator} was taught none of its own; name what to draw, such as "
            '--classes "[smooth skin]"'
        )
    classes = config.classes or known or []
    unknown = [name for name in classes if known is not None and name not in known]
    if unknown:
        raise ConfigError(
            f"classes: {unknown[0]!r} is none of those that {config.generator} was taught: "
            f"{', '.join(known or [])}"
        )
    return classes


def _rows(study: Study, part: str) -> Dataset:
    parts = {"train": study.train, "validation": study.validation, "test": study.held_out}
    rows = parts.get(part, study.corpus.dataset)
    if not rows:
        raise ConfigError(f"part: {part} is empty under this split; choose another part or another split")
    return rows


def _asked_for(classes: Sequence[str], skin_types: Sequence[str]) -> Dataset:
    """Return a table with a row for each class and skin type, as text-to-image plans are made from."""
    pairs = [(code, kind) for code in range(len(classes)) for kind in skin_types]
    ids = [f"{classes[code]}-{kind}" for code, kind in pairs]
    columns = {
        "label": [code for code, _ in pairs],
        "skin_type": [kind for _, kind in pairs],
        "image_id": ids,
        "group_id": ids,
    }
    features = {name: kind for name, kind in corpus_features(classes).items() if name in columns}
    return Dataset.from_dict(columns, features=Features(features))


def _no_rows(classes: Sequence[str]) -> Dataset:
    features = corpus_features(classes)
    return Dataset.from_dict({name: [] for name in features}, features=features)
