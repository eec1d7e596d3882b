"""Finding the class of a saved pipeline, which stock diffusers cannot do without remote code."""

import json
from pathlib import Path
from typing import Any, cast

from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from skindiff.errors import GeneratorError
from skindiff.generators.families import FAMILIES, family_of_pipeline, imported
from skindiff.generators.stable_diffusion import load_pipeline, model_folder, quiet_loading

INDEX = "model_index.json"
STABLE_DIFFUSION = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")


def load(folder_or_id: str | Path, revision: str | None = None) -> DiffusionPipeline:
    """Load a generator of any family, ready to draw: float32, on the CPU, in evaluation mode.

    Only safetensors weights are read, and no code comes with them. ``HF_HUB_OFFLINE=1`` is respected.

    Args:
        folder_or_id: a folder that ``save_pretrained`` wrote, a Hub id, or ``bundled``.
        revision: branch, tag or commit of a Hub model; not for folders.

    Returns:
        A :class:`~skindiff.generators.class_conditional.ClassConditionalPipeline` of the family that the
        folder names, or a ``StableDiffusionPipeline``.

    Raises:
        GeneratorError: there is no such model, it is of no family known here, or a file is missing or does
            not fit the rest.
    """
    model = str(folder_or_id)
    name = pipeline_class_name(model, revision)
    if name in STABLE_DIFFUSION:
        return load_pipeline(model, revision=revision)
    family = family_of_pipeline(name)
    if family is None:
        known = [known.pipeline.partition(":")[2] for known in FAMILIES.values()]
        raise GeneratorError(
            f"model {model!r} is a {name or 'pipeline without a class name'}, which skindiff does not know; "
            f"give one of {', '.join((*known, STABLE_DIFFUSION[0]))}, or load its plugin first"
        )
    kind = imported(family.pipeline)
    try:
        with quiet_loading():
            pipeline = kind.from_pretrained(
                str(model_folder(model) or model),
                revision=revision,
                use_safetensors=True,
                local_files_only=model_folder(model) is not None,
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        cause = str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
        raise GeneratorError(
            f"model {model!r} cannot be loaded ({cause}): check that it is complete, as save_pretrained "
            "wrote it, in safetensors"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    for module in pipeline.components.values():
        if hasattr(module, "requires_grad_"):
            module.eval().requires_grad_(False)
    return cast(DiffusionPipeline, pipeline)


def pipeline_class_name(model: str, revision: str | None = None) -> str:
    """Return the class that a saved pipeline says it is, ``""`` if it says none.

    Raises:
        GeneratorError: there is no such model, or it has no readable ``model_index.json``.
    """
    folder = model_folder(model)
    if folder is not None and revision is not None:
        raise GeneratorError(f"revision {revision!r}: {model!r} is a folder, which has none: leave it out")
    path = _hub_index(model, revision) if folder is None else folder / INDEX
    if not path.is_file():
        raise GeneratorError(
            f"model {model!r} is not a pipeline: the folder has no {INDEX}: give one that save_pretrained "
            "wrote"
        )
    try:
        index: Any = json.loads(path.read_text(encoding="utf-8"))
        return str(index.get("_class_name", ""))
    except (ValueError, AttributeError) as error:
        raise GeneratorError(f"model {model!r}: {INDEX} cannot be read: save the pipeline again") from error


def _hub_index(model: str, revision: str | None) -> Path:
    try:
        return Path(hf_hub_download(model, INDEX, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        cause = str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
        raise GeneratorError(
            f"model {model!r} cannot be found ({cause}): check the id and the network, or give the folder of "
            "a downloaded copy"
        ) from error
