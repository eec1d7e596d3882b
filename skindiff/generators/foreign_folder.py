"""The folder of a pipeline that others saved: its settings are checked before anything is built from them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import model_info
from torch import nn
from transformers import PreTrainedModel

from skindiff.errors import GeneratorError, SkindiffError
from skindiff.foreign import Malformed, read_json
from skindiff.generators.models import (
    HUB_ERRORS,
    INDEX,
    first_words,
    model_folder,
    quiet_loading,
    read_index,
)
from skindiff.weights import parameters_at_most, read_header, refuse_broken_parts

_MOST, _LONGEST = 10**7, 10**4
"""Of any number, and of any list, in the settings of a part: the largest vocabularies have a quarter of a
million words."""
_BOUNDS = {"num_train_timesteps": 10**5, "sample_size": 4096, "image_size": 4096}
"""Whole numbers from 1 up to these."""
_TOKENIZERS = ("tokenizer", "feature_extractor")
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
                own = _variant(_names_on_hub(model, revision))
                fetched = kind.download(model, revision=revision, use_safetensors=True, variant=own, **unread)
                folder = Path(fetched)
            variant = _variant(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
            _refuse_strange_parts(folder, kind, options, variant)
            index = read_index(folder / INDEX, str(folder))
            # Which a pipeline may be saved without, such as T5 of Stable Diffusion 3.
            absent = {part: None for part, named in index.items() if named == [None, None]}
            options = {
                **absent,
                **options,
                "use_safetensors": True,
                "local_files_only": True,
                "variant": variant,
            }
            pipeline = kind.from_pretrained(str(folder), **options)
        refuse_broken_parts(pipeline.components)
        if scheduler := pipeline.components.get("scheduler"):
            shift = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
            type(scheduler).from_config(scheduler.config).set_timesteps(2, **shift)  # words it does not know
    except SkindiffError:
        raise
    # A library that builds from strange settings can raise nearly anything.
    except Exception as error:
        raise GeneratorError(f"model {model!r} cannot be loaded ({first_words(error)}): {way_out}") from error
    return pipeline


def _names_on_hub(model: str, revision: str | None) -> list[str]:
    """Return the files of a model of the Hub; none without a network, where the cache has what is needed."""
    try:
        return [file.rfilename for file in model_info(model, revision=revision).siblings or []]
    except HUB_ERRORS:
        return []


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


def _refuse_strange_parts(folder: Path, kind: Any, options: Mapping[str, Any], variant: str | None) -> None:
    """Refuse parts whose settings cannot be meant, or ask for more weights than there are."""
    for part, named in read_index(folder / INDEX, str(folder)).items():
        is_part = isinstance(named, list) and len(named) == 2 and all(isinstance(one, str) for one in named)
        # A list of two classes looks like a part.
        if not is_part or options.get(part, part) is None or not (folder / part).is_dir():
            continue
        for path in sorted((folder / part).glob("*.json")):
            try:
                settings = read_json(path)
                if path.name.endswith("config.json"):
                    _refuse_strange(settings, part in _TOKENIZERS)
            except Malformed as error:
                raise Malformed(f"{part}/{path.name}: {error}") from None
        network = _class_of(named, kind, part)
        if isinstance(network, type) and issubclass(network, nn.Module):
            own = variant if list((folder / part).glob(f"*.{variant}*.safetensors")) else None
            stored = _stored(folder / part, own, tied=bool(getattr(network, "_tied_weights_keys", None)))
            with torch.device("meta"), parameters_at_most(stored, part):
                _build(network, folder / part)
            if issubclass(network, PreTrainedModel):
                _refuse_missing(network, folder / part, part, own)


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


def _build(network: Any, folder: Path) -> None:
    """Build a network from its settings, as the libraries do, on the device that is set."""
    if issubclass(network, PreTrainedModel):
        settings = network.config_class.from_pretrained(str(folder), local_files_only=True)
        network._from_config(settings)
    else:
        network.from_config(network.load_config(str(folder), local_files_only=True))


def _stored(folder: Path, variant: str | None, *, tied: bool) -> int:
    """Return how many weights a part has in a precision, which stands behind a second dot.

    Args:
        folder: of the part.
        variant: the precision; None for the plain one.
        tied: count the largest twice, as embeddings are stored once and built twice before they are tied.
    """
    files = [path for path in folder.glob("*.safetensors") if _precision(path.name) == (variant or "")]
    headers = [read_header(path) for path in files]
    most = max((math.prod(shape) for header in headers for shape in header.shapes.values()), default=0)
    return sum(header.numbers for header in headers) + (most if tied else 0)
