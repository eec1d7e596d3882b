"""The folder of a pipeline that others saved: its settings are checked before anything is built from them."""

import inspect
import shutil
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import torch
from diffusers.pipelines.pipeline_loading_utils import variant_compatible_siblings
from huggingface_hub import constants, model_info, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from torch import nn
from transformers import PreTrainedModel

from skindiff.errors import GeneratorError, SkindiffError
from skindiff.foreign import Malformed, read_json, refuse_unlike
from skindiff.generators.models import (
    HUB_ERRORS,
    INDEX,
    first_words,
    model_folder,
    not_found,
    quiet_loading,
    read_index,
)
from skindiff.weights import parameters_at_most, read_header, refuse_broken_parts

_MOST, _LONGEST = 10**7, 10**4
"""Of any number, and of any list, in the settings of a part: the largest vocabularies have a quarter of a
million words."""
_BOUNDS = {"num_train_timesteps": 10**5, "sample_size": 4096, "image_size": 4096}
"""Whole numbers from 1 up to these."""
_TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3", "feature_extractor")
"""Parts whose settings hold words and ids, and a length that stands for none."""


def load_checked(kind: Any, model: str, revision: str | None, **options: Any) -> Any:
    """Load a pipeline as a class of diffusers, in bounded memory; only safetensors are read.

    Args:
        kind: the class.
        model: what :func:`~skindiff.generators.models.model_folder` takes.
        revision: of a Hub id.
        options: of ``from_pretrained``; parts that are None in them are not read.

    Raises:
        GeneratorError: settings or weights are missing or malformed, not finite, or do not fit.
    """
    folder = model_folder(model)
    way_out = (
        "check that it is complete, as save_pretrained wrote it, in safetensors"
        if folder is not None
        else "check the id and the network, or give the folder of a downloaded copy"
    )
    try:
        with quiet_loading():
            if folder is None:
                unread = {name: None for name, value in options.items() if value is None}
                sizes, commit = _files_on_hub(model, revision)
                own = _variant(sizes)
                refuse_full_disk(model, sizes, own, unread, commit)
                fetched = kind.download(model, revision=revision, use_safetensors=True, variant=own, **unread)
                folder = Path(fetched)
            variant = _variant(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
            _refuse_strange_folder(folder, kind, options, variant)
            index = read_index(folder / INDEX, str(folder))
            # Which a pipeline may be saved without, such as T5 of Stable Diffusion 3.
            absent = {part: None for part, named in index.items() if named == [None, None]}
            options = absent | options
            options |= {"use_safetensors": True, "local_files_only": True, "variant": variant}
            pipeline = kind.from_pretrained(str(folder), **options)
        refuse_broken(pipeline)
    except SkindiffError:
        raise
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        raise not_found(model, revision, error) from error
    # A library that builds from strange settings can raise nearly anything.
    except Exception as error:
        raise GeneratorError(f"model {model!r} cannot be loaded ({first_words(error)}): {way_out}") from error
    return pipeline


def refuse_broken(pipeline: Any) -> None:
    """Refuse weights that are missing or not finite, and a scheduler that cannot be drawn with.

    Raises:
        Malformed, ValueError: by part and tensor, or as the scheduler says it.
    """
    refuse_broken_parts(pipeline.components)
    if scheduler := pipeline.components.get("scheduler"):
        shift = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
        type(scheduler).from_config(scheduler.config).set_timesteps(2, **shift)  # words it does not know


def _files_on_hub(model: str, revision: str | None) -> tuple[dict[str, int], str | None]:
    """Return the files of a model of the Hub with their bytes, and its commit; none without a network, where
    the cache has what is needed."""
    try:
        info = model_info(model, revision=revision, files_metadata=True)
    except HUB_ERRORS:
        return {}, None
    return {file.rfilename: file.size or 0 for file in info.siblings or []}, info.sha


def refuse_full_disk(
    model: str, sizes: Mapping[str, int], variant: str | None, unread: Container[str], commit: str | None
) -> None:
    """Refuse a download for which the disk of the cache has no room, before it begins.

    Args:
        model: Hub id.
        sizes: bytes of its files.
        variant: precision of the weights that are fetched.
        unread: parts that are not.
        commit: of the model; what the cache has of it is not fetched again.

    Raises:
        GeneratorError: with the room that there is, and that is needed.
    """
    weights = [name for name in sizes if name.endswith(".safetensors")]
    fetched, _ = variant_compatible_siblings(weights, variant=variant)
    needed = sum(
        sizes[name]
        for name in fetched
        if name.partition("/")[0] not in unread
        and not isinstance(try_to_load_from_cache(model, name, revision=commit), str)
    )
    cache = Path(constants.HF_HUB_CACHE).absolute()
    free = shutil.disk_usage(next(one for one in (cache, *cache.parents) if one.is_dir())).free
    if needed > free:
        raise GeneratorError(
            f"model {model!r} is a download of {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on "
            f"the disk of {cache}: free some, or set HF_HOME to a folder on another disk"
        )


_PICKLED = "pickled"


def _precision(name: str) -> str | None:
    """Return what a file of weights has between two dots, such as fp16, ``""`` for plain ones, or "pickled";
    None for a file of anything else."""
    words = name.split(".")
    if words[-1] == "bin":
        return _PICKLED
    return None if words[-1] != "safetensors" else "" if len(words) == 2 else words[1].partition("-")[0]


def _variant(files: Iterable[str]) -> str | None:
    """Return the precision that weights are stored in by their names, such as fp16; None for the plain one.

    Args:
        files: ``part/name``.

    Raises:
        Malformed: a part is pickled, or there in several precisions and not in the plain one.
    """
    stored: dict[str, set[str]] = {}
    for part, _, name in (file.rpartition("/") for file in files):
        precision = _precision(name)
        if part and precision is not None:
            stored.setdefault(part, set()).add(precision)
    if pickled := [part for part, found in stored.items() if found == {_PICKLED}]:
        raise Malformed(
            f"{pickled[0]} has pickled weights alone, which can run code as they are read: where you trust "
            "them, convert them by diffusers' from_pretrained(..., use_safetensors=False) and save_pretrained"
        )
    others = [found - {_PICKLED} for found in stored.values() if "" not in found]
    shared = set.intersection(*others) if others else set()
    if len(shared) > 1:
        raise Malformed(f"it has weights in {' and '.join(sorted(shared))}, and none plain: keep one of them")
    return next(iter(shared), None)


def _refuse_strange_folder(folder: Path, kind: Any, options: Mapping[str, Any], variant: str | None) -> None:
    """Refuse parts whose settings cannot be meant, or ask for other weights than there are."""

    def own(part: str) -> str | None:
        return variant if list((folder / part).glob(f"*.{variant}*.safetensors")) else None

    stored = {path.name: _stored(path, own(path.name)) for path in folder.iterdir() if path.is_dir()}
    for part, network in refuse_strange_parts(folder, kind, options, stored.__getitem__).items():
        if isinstance(network, PreTrainedModel):
            _refuse_missing(type(network), folder / part, part, own(part))


def refuse_strange_parts(
    folder: Path, kind: Any, options: Mapping[str, Any], stored: Callable[[str], int]
) -> dict[str, nn.Module]:
    """Refuse parts whose settings cannot be meant, or ask for more weights than there are.

    Args:
        folder: of the settings, with the index of a pipeline.
        kind: class of the pipeline.
        options: parts that are None in them are not looked at.
        stored: says how many weights there are of a part.

    Returns:
        Every network as its settings ask for it, without weights.

    Raises:
        Malformed: by part and file.
    """
    found: dict[str, nn.Module] = {}
    for part, named in read_index(folder / INDEX, str(folder)).items():
        # A list of classes looks like a part.
        is_part = isinstance(named, list) and named[:1] != [None] and (folder / part).is_dir()
        if not is_part or options.get(part, part) is None:
            continue
        if len(named) != 2 or not all(isinstance(one, str) for one in named):
            raise Malformed(f"{part} names no class in {INDEX}")
        for path in sorted((folder / part).glob("*.json")):
            try:
                settings = read_json(path)
                if path.name.endswith("config.json"):
                    _refuse_strange(settings, part in _TOKENIZERS)
            except Malformed as error:
                raise Malformed(f"{part}/{path.name}: {error}") from None
        network = _class_of(named, kind, part)
        if isinstance(network, type) and issubclass(network, nn.Module):
            # Weights that are tied are stored once, and built once more before they are tied.
            most = stored(part) * (2 if getattr(network, "_tied_weights_keys", None) else 1)
            with torch.device("meta"), parameters_at_most(most, part):
                found[part] = _build(network, folder / part)
    return found


def _refuse_missing(network: type[PreTrainedModel], folder: Path, part: str, variant: str | None) -> None:
    """Refuse a network of transformers of which weights are missing: it would make some at random."""
    # On this device nothing is allocated.
    loaded: Any = network.from_pretrained(
        str(folder),
        output_loading_info=True,
        device_map="meta",
        local_files_only=True,
        use_safetensors=True,
        variant=variant,
    )
    if missing := sorted(loaded[1]["missing_keys"]):
        raise Malformed(f"{part} has no weights for {missing[0]}")


def _refuse_strange(settings: Any, words: bool) -> None:
    if not isinstance(settings, Mapping):
        raise Malformed("no mapping")
    if settings.get("quantization_config") is not None:
        raise Malformed("it has a quantization_config, and quantised weights are not read")
    for name, value in () if words else settings.items():
        numbers = value if isinstance(value, list) else [] if value is None else [value]
        if len(numbers) > _LONGEST:
            raise Malformed(f"{name} has more than {_LONGEST:,} entries")
        if name in _BOUNDS and not all(type(one) is int and 1 <= one <= _BOUNDS[name] for one in numbers):
            raise Malformed(f"{name} is no whole number from 1 to {_BOUNDS[name]:,}")
        if any(isinstance(one, (int, float)) and abs(one) > _MOST for one in numbers):
            raise Malformed(f"{name} is beyond the {_MOST:,} that can be meant")


def _class_of(named: Sequence[str], kind: Any, part: str) -> Any:
    """Return the class of a part, which the libraries bring, or the module of the pipeline."""
    library, name = named
    if library in ("diffusers", "transformers"):
        return getattr(import_module(library), name, None)
    if library in _modules_of(kind):
        return getattr(import_module(_modules_of(kind)[library]), name, None)
    raise Malformed(f"{part} is of {library[:80]!r}, and of parts only those of the libraries are read")


def _modules_of(kind: Any) -> dict[str, str]:
    """Return the modules that a class of pipelines is made of, by the names that an index may have."""
    modules = [base.__module__ for base in kind.__mro__]
    return {name: module for module in modules for name in (module, module.rpartition(".")[2])}


def _build(network: Any, folder: Path) -> nn.Module:
    """Return a network built from its settings, as the libraries do, on the device that is set."""
    if issubclass(network, PreTrainedModel):
        settings = network.config_class.from_pretrained(str(folder), local_files_only=True)
        built: nn.Module = network._from_config(settings)
    else:
        found = network.load_config(str(folder), local_files_only=True)
        if network.__module__.partition(".")[0] == "diffusers":
            _refuse_unlike_hints(found, network)
        built = network.from_config(found)
    return built


def _refuse_unlike_hints(settings: Mapping[str, Any], network: Any) -> None:
    """Refuse a setting that is of a plain type and has another: diffusers would use it when it draws."""
    for name, hint in get_type_hints(inspect.unwrap(network.__init__)).items():
        if hint in (int, float, str, bool) and settings.get(name) is not None:
            refuse_unlike(settings[name], hint, name)


def _stored(folder: Path, variant: str | None) -> int:
    """Return how many weights a part has in a precision, which stands behind a second dot."""
    files = [path for path in folder.glob("*.safetensors") if _precision(path.name) == (variant or "")]
    return sum(read_header(path).numbers for path in files)
