"""``skindiff sample``: generate images by class and skin type with any generator, or transfer a corpus."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from skindiff.api.same_data import CORPUS_FILE, SPLIT_FILE
from skindiff.api.synthesis import SyntheticDataset, generate, transfer
from skindiff.commands.grid import GRID, draw_samples_of
from skindiff.commands.launching import launched
from skindiff.commands.settings import parse_command
from skindiff.commands.studies import CorpusSettings, prepare_study, same_data
from skindiff.commands.terminal import say, suggest
from skindiff.corpora.registry import Corpus
from skindiff.errors import ConfigError
from skindiff.generators.resolve import Generator, Place, class_name_of, find_generator, load_generator
from skindiff.generators.text_to_image.loading import architecture_named
from skindiff.idle_settings import without_effect
from skindiff.runs import RunFolder
from skindiff.study import look_first, open_run
from skindiff.synthesis.asked import idle_of_attribute
from skindiff.synthesis.class_plan import ClassSynthesisConfig
from skindiff.synthesis.config import DTYPES, Mode, SynthesisConfig
from skindiff.synthesis.requests import DATA, draws_by_class, needs_sources
from skindiff.training.products import RECORD, trained_on
from skindiff.wrong_settings import refuse


@dataclass
class SampleCommand(CorpusSettings):
    """Generate images into Parquet shards that hold all settings to generate each again, and a sample grid.

    skindiff sample --generator runs/lora --classes "[nodule, ring]" --groups "[I, VI]" --images 8

    skindiff sample --generator runs/lora --mode transfer --corpus runs/lora/corpus.yaml --split
    runs/lora/split.yaml
    """

    output_dir: str = "runs/sample"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    generator: str = "bundled"
    """bundled; a folder of a pipeline, an adapter or a run of skindiff train; a .safetensors file of a whole
    Stable Diffusion, or of another program's LoRA; or the Hub id of a pipeline or an adapter, with @revision
    or without."""
    revision: str | None = None
    """Branch, tag or commit of a Hub id."""
    base_model: str | None = None
    """Model that an adapter is put on, where its own record of it is no Hub id; the LoRA file of another
    program (kohya, ai-toolkit, diffusers, PEFT) needs it."""
    model_config: str | None = None
    """Settings of a generator or base model in one file: the folder of a saved pipeline, or sd15,
    sd21-base, sd21 or sdxl; null takes what fits the file."""
    mode: Literal["classes", "transfer"] = "classes"
    """classes: images of each class (and skin type, or what else the generator was trained to tell);
    transfer: images of the corpus as other values of corpus.attribute (img2img), by Stable Diffusion only."""
    classes: list[str] | None = None
    """Classes to generate, in mode classes; null is all that the generator was trained on. Stable Diffusion
    without an adapter takes any words."""
    groups: list[str] | None = None
    """Fitzpatrick types to generate, I to VI, or values of what else the generator was trained to tell, such
    as [female]; null is all of them in mode classes, and synthesis.targets in mode transfer. From-scratch
    generators know none."""
    images: int | None = None
    """Images of each class and group, or of each source; null is synthesis.images_per_source, or what
    class_synthesis.budget says."""
    part: Literal["train", "validation", "test", "all"] = "train"
    """Images of the corpus to transfer, or that budgets count; only train may be trained on again."""
    seed: int = 0
    """Seed of the data set."""
    same_noise: bool = False
    """Start all classes, groups and sources from the same noises, as the demo does, so that images differ by
    what is asked alone; image n of seed s is then the first of seed s + n. Not for from-scratch ones."""
    tones: str | None = None
    """File of the tones that mode transfer moves skin to, tone_prototypes.safetensors of an earlier transfer
    by this generator or of a zip of the demo; null measures them."""
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    """How Stable Diffusion generates; its strategy and mode follow the generator and mode above."""
    class_synthesis: ClassSynthesisConfig = field(default_factory=ClassSynthesisConfig)
    """How from-scratch generators generate."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        mode: Mode = "img2img" if self.mode == "transfer" else "txt2img"
        super(SampleCommand, replace(self, synthesis=replace(self.synthesis, mode=mode))).validate(path)
        if self.groups is not None and not 0 < len(self.groups) == len(set(self.groups)):
            refuse(f"{path}groups: {self.groups} must name at least one, and each once")
        if self.mode == "transfer":
            self.corpus.attribute.refuse_unknown(self.groups or self.corpus.attribute.known, f"{path}groups")
            self.synthesis.aimed(self.corpus.attribute, f"{path}synthesis.")
        if self.images is not None and self.images < 1:
            refuse(f"{path}images: {self.images} is below 1; give a whole number from 1")
        if self.classes is not None and (not self.classes or len(set(self.classes)) < len(self.classes)):
            refuse(f"{path}classes: {self.classes} must name at least one, and each once")
        if self.mode == "classes" and self.tones is not None:
            refuse(f"{path}tones: mode classes moves no tones; leave the setting out")
        if self.mode == "transfer" and self.classes is not None:
            refuse(f"{path}classes: mode transfer uses the corpus' own; leave the setting out")

    def idle(self) -> dict[str, str]:
        """Return the settings that the mode and other settings overrule."""
        mode: Mode = "img2img" if self.mode == "transfer" else "txt2img"
        own = replace(self.synthesis, mode=mode).idle()
        found = {f"synthesis.{name}": reason for name, reason in own.items()}
        found |= dict.fromkeys(("synthesis.mode", "synthesis.strategy"), "mode and generator decide it")
        if self.mode == "transfer":
            found["class_synthesis"] = "mode is transfer"
        if self.mode == "classes" or self.groups:
            found["synthesis.targets"] = "groups says what is generated"
        if self.mode == "transfer":
            found |= idle_of_attribute(self.corpus.attribute)
        if self.images:
            found["synthesis.images_per_source"] = "images says how many"
        return found


def main(words: Sequence[str]) -> int:
    """Generate images, in as many processes as asked for."""
    return launched("sample", words, _sample, _settings)


def _settings(words: list[str]) -> SampleCommand:
    return parse_command(SampleCommand, words, "sample")


def _sample(words: list[str]) -> int:
    config = _settings(words)
    run = open_run(config, DATA, GRID, RECORD, CORPUS_FILE, SPLIT_FILE)
    with run.withdrawn_on_error():
        place = _found(config)
        if config.base_model and not place.adapter:
            raise ConfigError(f"base_model: {config.generator!r} is no adapter and needs none; leave it out")
        drawing = config.synthesis if architecture_named(class_name_of(place)) else SynthesisConfig()
        device = "cpu" if drawing.offload else run.accelerator.device
        generator = load_generator(place, device, fuse=True, dtype=DTYPES[drawing.dtype])
        synthetic = _transferred(config, generator, run) or _generated(config, generator, run)
    if run.accelerator.is_main_process:
        draw_samples_of(synthetic.dataset, synthetic.sources, run.path / GRID)
    run.peers.meet("drawing the grid")
    grid = run.path / GRID
    say(f"{len(synthetic)} images by {generator.name}: {synthetic.folder}; some of them: {grid}")
    record = trained_on(config.generator)
    home = run.path if (run.path / CORPUS_FILE).is_file() else record.parent if record else None
    evaluate = ["skindiff", "evaluate", "--synthetic", str(run.path), *(same_data(home) if home else [])]
    push = ["skindiff", "push", str(run.path), "OWNER/NAME", "--licence", "LICENCE"]
    suggest(*([evaluate] if home and config.part == "train" else []), push)
    return 0


def _found(config: SampleCommand) -> Place:
    """Return where the generator is; a transfer looks for its corpus too before anything is loaded."""
    find = partial(find_generator, config.generator, config.revision, config.base_model, config.model_config)
    if config.mode == "transfer":
        look_first(config, lambda _: class_name_of(find()))
    return find()


def _transferred(config: SampleCommand, generator: Generator, run: RunFolder) -> SyntheticDataset | None:
    """Transfer a part of the corpus to other values of its attribute, where that is asked for."""
    if config.mode != "transfer":
        return None
    if draws_by_class(generator):
        family = generator.pipeline.family
        raise ConfigError(
            f"mode: {config.generator} is a {family}, which generates by class alone; leave it out"
        )
    images = config.images or config.synthesis.images_per_source
    targets = config.groups or config.synthesis.targets
    settings = _without(config.synthesis, "targets", "images_per_source")
    return transfer(
        generator.pipeline, _part(config, run), None, targets, images, config.seed, run,
        same_noise=config.same_noise, tones=config.tones, **settings,
    )  # fmt: skip


def _generated(config: SampleCommand, generator: Generator, run: RunFolder) -> SyntheticDataset:
    """Generate classes, by words or by a class-conditional generator."""
    corpus, images = None, config.images or config.synthesis.images_per_source
    settings = _without(config.synthesis, "targets", "images_per_source")
    if draws_by_class(generator):
        if config.groups:
            family = generator.pipeline.family
            raise ConfigError(
                f"groups: {config.generator} is a {family}, which generates by class alone; leave it out"
            )
        own, counted = config.class_synthesis, config.images is not None or config.classes is not None
        images = config.images or own.per_class
        settings = _without(own, *(("budget", "table") if counted else ()))
        needed = generator.pipeline.needs_images or (needs_sources(generator, own) and not counted)
        corpus = _part(config, run) if needed else None
        idle = {"synthesis": f"{config.generator} is a {generator.pipeline.family}, drawn by class_synthesis"}
    else:
        if config.groups:
            generator.attribute.refuse_unknown(config.groups, "groups")
        idle = {"class_synthesis": f"{config.generator} is drawn by synthesis"}
    if corpus is None:
        idle |= dict.fromkeys(("corpus", "split", "part"), "no image of a corpus is used")
    for said in without_effect(config, idle):
        run.note(said)
    return generate(
        generator.pipeline, config.classes, config.groups, images, config.seed, corpus, None, run,
        same_noise=config.same_noise, **settings,
    )  # fmt: skip


def _without(settings: SynthesisConfig | ClassSynthesisConfig, *names: str) -> dict[str, Any]:
    mine = {"mode", "strategy", *names}  # mode and strategy follow the command and the generator
    return {name: value for name, value in vars(settings).items() if name not in mine}


def _part(config: SampleCommand, run: RunFolder) -> Corpus:
    """Return the corpus with the rows of one part alone."""
    study = prepare_study(config, run)
    parts = {"train": study.train, "validation": study.validation, "test": study.held_out}
    rows = parts.get(config.part, study.corpus.dataset)
    if not rows:
        raise ConfigError(f"part: {config.part} is empty under this split; choose another part or split")
    return replace(study.corpus, dataset=rows)
