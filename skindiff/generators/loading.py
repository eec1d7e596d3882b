"""Loading a whole pipeline as the class it says it is, which diffusers cannot do without remote code."""

from typing import cast

import torch
from diffusers import DiffusionPipeline

from skindiff.errors import GeneratorError
from skindiff.generators.families import FAMILIES, family_of_pipeline, imported
from skindiff.generators.foreign_folder import load_checked
from skindiff.generators.models import model_file, pipeline_class_name, split_revision
from skindiff.generators.text_to_image.loading import ARCHITECTURES, architecture_named, load_pipeline


def load_by_class(
    model: str,
    revision: str | None = None,
    config: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> DiffusionPipeline:
    """Load a whole pipeline of any family, ready to generate: on the CPU, in evaluation mode.

    Only safetensors weights are read, and no code comes with them. ``HF_HUB_OFFLINE=1`` is respected.

    Args:
        model: a folder that ``save_pretrained`` wrote, a checkpoint in one file, a Hub id, or ``bundled``.
        revision: branch, tag or commit of a Hub model; not for folders.
        config: settings of a checkpoint in one file, see
            :func:`~skindiff.generators.text_to_image.loading.load_pipeline`.
        dtype: precision of a text-to-image pipeline, as said there; others come in float32.

    Returns:
        A :class:`~skindiff.generators.class_conditional.ClassConditionalPipeline` of the family that the
        index names, or a text-to-image pipeline of diffusers.

    Raises:
        GeneratorError: there is no such model, it is of no family known here, or a file is missing or does
            not fit the rest.
    """
    if config is not None or model_file(model):
        return cast(DiffusionPipeline, load_pipeline(model, revision=revision, config=config, dtype=dtype))
    name = pipeline_class_name(model, revision)
    if architecture_named(name):
        return cast(DiffusionPipeline, load_pipeline(model, revision=revision, dtype=dtype))
    family = family_of_pipeline(name)
    if family is None:
        known = [known.pipeline.partition(":")[2] for known in FAMILIES.values()]
        known += [known.class_names[0] for known in ARCHITECTURES]
        raise GeneratorError(
            f"model {model!r} is a {name or 'pipeline without a class name'}, which skindiff does not know; "
            f"give one of {', '.join(known)}, or load its plugin first"
        )
    place, revision = split_revision(model, revision)
    pipeline = load_checked(imported(family.pipeline), place, revision)
    pipeline.set_progress_bar_config(disable=True)
    for module in pipeline.components.values():
        if hasattr(module, "requires_grad_"):
            module.eval().requires_grad_(False)
    return cast(DiffusionPipeline, pipeline)
