"""Any generator by one word: bundled, a folder, a run of ``skindiff train``, or a model of the Hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline

from skindiff.errors import GeneratorError
from skindiff.generators.adapter import Adapter, adapter_digest, load_adapter, read_adapter
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.loading import load
from skindiff.generators.stable_diffusion import (
    BUNDLED_MODEL,
    load_pipeline,
    model_folder,
    model_revision,
)
from skindiff.synthesis.plan import Strategy

RECORD = "trained_on.json"
"""File beside an artefact: the ids of the images it has learnt from, and the fingerprint of their corpus."""
_TOKENS = "tokens.json"


@dataclass(frozen=True)
class ChosenGenerator:
    """A generator that is loaded, and what it is called.

    ``name`` is its ``id@revision`` and whatever adapter is on it; ``base`` is the model that the adapter is
    on, for loading it again without; ``pipeline`` is a ``StableDiffusionPipeline`` or class-conditional.
    """

    pipeline: StableDiffusionPipeline | ClassConditionalPipeline
    name: str
    base: str
    base_revision: str | None
    adapter: Adapter | None = None

    @property
    def strategy(self) -> Strategy:
        """What a Stable Diffusion pipeline has learnt."""
        if self.adapter is None:
            return "vanilla"
        if not self.adapter.has_lora:
            return "ti"
        return "ti+lora" if self.adapter.tokens.tokens else "lora"

    @property
    def class_names(self) -> list[str] | None:
        """The classes that it was taught, None where it takes any words."""
        if isinstance(self.pipeline, ClassConditionalPipeline):
            return list(self.pipeline.config.class_names)
        return list(self.adapter.tokens.tokens) or None if self.adapter else None

    @property
    def subjects(self) -> dict[str, str]:
        """What stands in prompts for each class with a word of its own."""
        if self.adapter is None:
            return {}
        return {name: self.adapter.tokens.subject(name) for name in self.adapter.tokens.tokens}

    def load_base(self) -> Any:
        """Return a fresh pipeline without the adapter."""
        return load_pipeline(self.base, revision=self.base_revision, device=self.pipeline.device)


def choose_generator(
    generator: str, revision: str | None = None, base_model: str | None = None, device: Any = "cpu"
) -> ChosenGenerator:
    """Load a generator of any kind.

    Args:
        generator: ``bundled``; a folder of a pipeline, an adapter, or a run of ``skindiff train``; or the Hub
            id of one of these.
        revision: branch, tag or commit of a Hub id.
        base_model: what an adapter is put on; its own record of it when left out.
        device: where it draws.

    Raises:
        GeneratorError: there is no such generator, or the parts do not fit.
    """
    folder = _artefact(generator, revision)
    if folder is None or not (folder / _TOKENS).is_file():
        if base_model is not None:
            raise GeneratorError(f"base_model: {generator!r} is no adapter and needs none; leave it out")
        place = generator if folder is None else str(folder)
        pipeline: Any = load(place, revision=None if folder else revision).to(device)
        name = model_revision(place, None if folder else revision)
        if isinstance(pipeline, ClassConditionalPipeline):
            name = f"{pipeline.family}@{name.rpartition('@')[2]}"
        return ChosenGenerator(pipeline, name, place, None if folder else revision)
    base, base_revision = _base_of(folder, base_model)
    pipeline = load_pipeline(base, revision=base_revision, device=device)
    adapter = load_adapter(pipeline, folder, fuse=True)
    name = f"{model_revision(base, base_revision)}+adapter@{adapter_digest(folder)}"
    return ChosenGenerator(pipeline, name, base, base_revision, adapter)


def adapter_folder(place: str) -> Path:
    """Return the adapter folder in a run, or ``place`` itself if it is one.

    Raises:
        GeneratorError: there is none.
    """
    found = next(
        (path for path in (Path(place), Path(place) / "adapter") if (path / _TOKENS).is_file()), None
    )
    if found is None:
        raise GeneratorError(
            f"words: {place} holds no adapter; give a run of skindiff train textual-inversion"
        )
    return found


def trained_on(generator: str) -> Path | None:
    """Return the record of the images that ``skindiff train`` showed to a generator, if there is one."""
    folder = Path(generator)
    return next((path for path in (folder / RECORD, folder.parent / RECORD) if path.is_file()), None)


def _artefact(generator: str, revision: str | None) -> Path | None:
    """Return the local folder of a pipeline or adapter; None for the id of a pipeline on the Hub."""
    folder = Path(generator)
    if folder.is_dir():
        parts = (folder, folder / "adapter", folder / "pipeline")
        return next((path for path in parts if _is_artefact(path)), folder)
    local = model_folder(generator)  # a word that can be neither folder nor id is an error here
    return local if local is not None else _hub_adapter(generator, revision)


def _is_artefact(path: Path) -> bool:
    return (path / _TOKENS).is_file() or (path / "model_index.json").is_file()


def _hub_adapter(repo_id: str, revision: str | None) -> Path | None:
    from huggingface_hub import file_exists
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    from skindiff.hub.load import load_adapter_folder

    try:
        if not file_exists(repo_id, _TOKENS, revision=revision):
            return None
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError):
        return None  # loading it as a pipeline, which may be cached, says what is wrong
    return load_adapter_folder(repo_id, revision=revision)


def _base_of(folder: Path, base_model: str | None) -> tuple[str, str | None]:
    """Return the base model of an adapter and its revision.

    Raises:
        GeneratorError: the record names a folder of the machine that trained it, or nothing.
    """
    if base_model is not None:
        return base_model, None
    recorded = str(read_adapter(folder).config.get("base_model") or "")
    model, _, revision = recorded.partition("@")
    if model == BUNDLED_MODEL:
        return "bundled", None
    if "/" not in model:
        raise GeneratorError(
            f"base_model: the adapter {str(folder)!r} was trained on {model or 'a model without a name'}, "
            "a folder that it cannot find; give it by --base_model"
        )
    return model, revision or None
