"""Which generator a word stands for: bundled, a folder, an adapter, a run, or a model of the Hub."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download, is_offline_mode, snapshot_download

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.crops import CropKind
from skindiff.errors import GeneratorError
from skindiff.files import at_home
from skindiff.foreign import Malformed
from skindiff.foreign_yaml import read_yaml
from skindiff.generators.adapter import TOKENS_FILE, Adapter, adapter_digest, load_adapter, read_adapter
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.loading import load_by_class
from skindiff.generators.lora_formats import LORA_FILE, is_lora, lora_file
from skindiff.generators.models import (
    BUNDLED_MODEL,
    HUB_ERRORS,
    INDEX,
    is_folder,
    model_file,
    model_folder,
    model_revision,
    not_found,
    pipeline_class_name,
    split_revision,
)
from skindiff.generators.text_to_image.loading import architecture_of, load_pipeline
from skindiff.generators.text_to_image.single_file import file_class_name
from skindiff.manifest import refuse_damaged

_ADAPTER_FILES = ("*.safetensors", "*.json", "*.yaml", "*.csv")
"""Only such files of an adapter are fetched: no code, nothing pickled."""


@dataclass(frozen=True)
class Place:
    """Where a generator is: a whole pipeline, or an adapter and the model that it is put on.

    Attributes:
        model: the pipeline, or the adapter's base: ``bundled``, a folder, a Hub id, or a whole checkpoint in
            one file.
        revision: of a Hub id; None is its newest.
        adapter: folder of the adapter, or the LoRA file of another program; None for a whole pipeline.
        config: settings of a checkpoint in one file, see
            :func:`~skindiff.generators.text_to_image.loading.load_pipeline`.
    """

    model: str
    revision: str | None = None
    adapter: Path | None = None
    config: str | None = None


@dataclass(frozen=True)
class Generator:
    """A generator that is loaded.

    Attributes:
        pipeline: one of diffusers' text-to-image pipelines, with the adapter on it, or class-conditional.
        name: the ``id@revision`` that provenance carries, and the adapter after it.
        place: where it was found.
        adapter: what is on the pipeline, None for a whole one.
    """

    pipeline: Any
    name: str
    place: Place
    adapter: Adapter | None = None

    @property
    def strategy(self) -> Literal["vanilla", "ti", "lora", "ti+lora"]:
        """What a Stable Diffusion pipeline has learnt, as plans call it."""
        return self.adapter.strategy if self.adapter else "vanilla"

    @property
    def class_names(self) -> list[str] | None:
        """The classes that it was trained on, None where it takes any words."""
        if isinstance(self.pipeline, ClassConditionalPipeline):
            return list(self.pipeline.config.class_names)
        return list(self.subjects) or None

    @property
    def subjects(self) -> dict[str, str]:
        """What stands in prompts for each class with a word of its own."""
        return self.adapter.subjects if self.adapter else {}

    @property
    def attribute(self) -> Attribute:
        """What its prompts name beside the class: skin types, or what its adapter was trained on."""
        return self.adapter.attribute if self.adapter else SKIN_TYPE

    @property
    def crop(self) -> CropKind:
        """How the pictures that it was trained on were cut, as far as it says so."""
        return self.adapter.crop if self.adapter else "centre"

    def load_base(self) -> Any:
        """Return a fresh pipeline without the adapter."""
        dtype = architecture_of(self.pipeline).network(self.pipeline).dtype
        return _text_to_image(self.place, self.pipeline.device, dtype)


def load(source: str | Path, revision: str | None = None) -> DiffusionPipeline:
    """Load any generator, ready to generate: float32, on the CPU, in evaluation mode.

    An adapter is loaded onto the model that it was trained on, at the revision it recorded, and stays apart
    from the weights: ``unload_lora_weights`` of the pipeline takes its LoRA off again.

    Args:
        source: ``bundled``; a folder of a pipeline, of an adapter, or of a run of ``skindiff train``; a whole
            checkpoint in one file; or the Hub id of a pipeline or an adapter, ``owner/name`` or
            ``owner/name@revision``.
        revision: branch, tag or commit of a Hub id; not for folders.

    Returns:
        A :class:`~skindiff.generators.class_conditional.ClassConditionalPipeline` of the family that the
        index names, or a text-to-image pipeline of diffusers.

    Raises:
        GeneratorError: there is no such generator, it is of an architecture not known here, an adapter was
            trained on a model that is not to be found, or a file is missing or does not fit the rest.
    """
    pipeline: DiffusionPipeline = load_generator(find_generator(str(source), revision)).pipeline
    return pipeline


def find_generator(
    word: str, revision: str | None = None, base_model: str | None = None, config: str | None = None
) -> Place:
    """Return where the generator is that a word stands for; of a pipeline no weights are read or fetched.

    Args:
        word: as :func:`load` takes it.
        revision: branch, tag or commit of a Hub id.
        base_model: what an adapter is put on; its own record of it when left out. Not for whole pipelines,
            which need none.
        config: settings of the generator or the base model, where that is a checkpoint in one file.

    Raises:
        GeneratorError: there is no such generator, or an adapter does not say what it belongs on.
    """
    artefact = find_artefact(word, revision)
    if artefact is None:
        return Place(*split_revision(at_home(word), revision), config=config)
    if artefact.is_file() and not is_lora(artefact):
        return Place(str(artefact), config=config)
    if artefact.is_dir() and not (artefact / TOKENS_FILE).is_file():
        model = at_home(word)
        return Place(model if artefact == model_folder(model) else str(artefact), config=config)
    if base_model is not None:
        return Place(*split_revision(at_home(base_model)), artefact, config)
    base = _recorded_base(artefact)
    return replace(base, adapter=artefact, config=config or base.config)


def find_artefact(word: str, revision: str | None = None) -> Path | None:
    """Return the folder or file that a word stands for; None is a whole pipeline of the Hub.

    Raises:
        GeneratorError: there is no such generator, or a file is not in safetensors.
    """
    model, revision = split_revision(at_home(word), revision)
    if file := model_file(model):
        return file
    folder = model_folder(model)
    return _hub_adapter(model, revision) if folder is None else artefact_folder(folder)


def load_generator(
    place: Place,
    device: torch.device | str = "cpu",
    *,
    fuse: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Generator:
    """Load a generator that :func:`find_generator` has found.

    Args:
        place: of it.
        device: where it runs.
        fuse: add an adapter's LoRA to the weights, which runs faster but cannot be undone.
        dtype: precision, see :func:`~skindiff.generators.text_to_image.loading.load_pipeline`; of
            class-conditional generators float32 alone.

    Raises:
        GeneratorError: it cannot be loaded, or the parts do not fit.
    """
    for path in filter(None, (place.adapter, model_file(place.model) or model_folder(place.model))):
        refuse_damaged(path)
    name = name_of(place)
    if place.adapter is None:
        pipeline: Any = load_by_class(place.model, place.revision, place.config, dtype).to(device)
        if isinstance(pipeline, ClassConditionalPipeline):
            name = f"{pipeline.family}@{name.rpartition('@')[2]}"
        return _attached(Generator(pipeline, name, place))
    pipeline = _text_to_image(place, device, dtype)
    adapter = load_adapter(pipeline, place.adapter, fuse=fuse)
    return _attached(Generator(pipeline, name, place, adapter))


def _text_to_image(place: Place, device: torch.device | str, dtype: torch.dtype) -> Any:
    return load_pipeline(
        place.model, revision=place.revision, config=place.config, device=device, dtype=dtype
    )


def class_name_of(place: Place) -> str:
    """Return the class of the pipeline of a place, without reading weights.

    Raises:
        GeneratorError: there is no such model, or it does not say its class.
    """
    if file := model_file(place.model):
        return file_class_name(file, place.config)
    return pipeline_class_name(place.model, place.revision)


def name_of(place: Place) -> str:
    """Return the name of a text-to-image generator in provenance: ``id@revision``, and its adapter."""
    base = model_revision(place.model, place.revision, place.config)
    return f"{base}+adapter@{adapter_digest(place.adapter)}" if place.adapter else base


def _attached(generator: Generator) -> Generator:
    """Let the pipeline carry what is known of it as ``pipeline.skindiff``."""
    generator.pipeline.skindiff = generator
    return generator


def artefact_folder(folder: Path) -> Path:
    """Return the adapter or pipeline in the folder of a run, or ``folder`` itself if it is one.

    Of a folder that another program's LoRA is in that file is returned.

    Raises:
        GeneratorError: there is none.
    """
    for path in (folder, folder / "adapter", folder / "pipeline"):
        if (path / TOKENS_FILE).is_file() or (path / INDEX).is_file():
            return path
    if file := lora_file(folder):
        return file
    raise GeneratorError(
        f"model {str(folder)!r} is no generator: the folder has no {INDEX} (of a pipeline) or {TOKENS_FILE} "
        "(of an adapter): give one that save_pretrained wrote, or a run of skindiff train"
    )


def fetch_adapter(repo_id: str, *, revision: str | None = None, token: str | None = None) -> Path:
    """Fetch the files of an adapter from the Hub and return their folder; errors are those of its client."""
    return Path(
        snapshot_download(
            repo_id,
            revision=revision,
            token=token,
            allow_patterns=list(_ADAPTER_FILES),
            # Older clients ask the Hub for the list of files of a commit, offline too.
            local_files_only=is_offline_mode(),
        )
    )


def _hub_adapter(repo_id: str, revision: str | None) -> Path | None:
    if not _on_hub(repo_id, TOKENS_FILE, revision):
        # Neither file: loading it as a pipeline, which may be cached, says what is wrong.
        found = None if _on_hub(repo_id, INDEX, revision) else _on_hub(repo_id, LORA_FILE, revision)
        return found
    try:
        return fetch_adapter(repo_id, revision=revision)
    except HUB_ERRORS as error:
        raise not_found(repo_id, revision, error) from error


def _on_hub(repo_id: str, name: str, revision: str | None) -> Path | None:
    try:
        return Path(hf_hub_download(repo_id, name, revision=revision))
    except HUB_ERRORS:
        return None


def _recorded_base(artefact: Path) -> Place:
    """Return the model that an adapter was trained on, with its revision.

    Of a base that was a folder or file an adapter records the name and the weights; where it lies is said by
    the settings of the run that the adapter is in.

    Raises:
        GeneratorError: the record names a folder or file of the machine that trained it, or nothing.
    """
    if artefact.is_file():
        raise GeneratorError(
            f"base_model: {str(artefact)!r} is the LoRA of another program, which does not say on which "
            "model it goes; give the model that it was trained on by --base_model (in Python base_model=, of "
            "the demo --adapter_base)"
        )
    recorded = str(read_adapter(artefact).config.get("base_model") or "")
    model = recorded.partition("@")[0]
    if model == BUNDLED_MODEL:
        return Place("bundled")
    if "/" in model:
        return Place(*split_revision(recorded))
    around = _model_of_run(artefact.parent / "config.yaml")
    if around is not None and name_of(around) == recorded:
        return around
    raise GeneratorError(
        f"base_model: the adapter {str(artefact)!r} was trained on {model or 'a model without a name'}, "
        "a folder or file that it cannot find; give it by --base_model (of the demo: --adapter_base), or "
        "load that model and put the adapter on it by skindiff.generators.adapter.load_adapter"
    )


def _model_of_run(settings: Path) -> Place | None:
    """Return the folder or file that the settings of a training name as its model, if it is there."""
    if not settings.is_file():
        return None
    try:
        content = read_yaml(settings)
    except Malformed as error:
        raise GeneratorError(f"base_model: {settings} cannot be read ({error}); give --base_model") from error
    said = content if isinstance(content, dict) else {}
    model, config = said.get("model"), said.get("model_config")
    if not isinstance(model, str) or not (is_folder(model) or model_file(model)):
        return None
    return Place(model, config=config if isinstance(config, str) else None)
