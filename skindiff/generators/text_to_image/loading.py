"""The table of architectures, and loading a base model as the one that its index names."""

from typing import Any

import torch
from diffusers import BitsAndBytesConfig, PipelineQuantizationConfig
from torch import nn

from skindiff.errors import GeneratorError
from skindiff.generators.foreign_folder import load_checked
from skindiff.generators.models import DEFAULT_MODEL, model_file, pipeline_index, split_revision
from skindiff.generators.text_to_image.architecture import Architecture
from skindiff.generators.text_to_image.flux import Flux
from skindiff.generators.text_to_image.sd3 import StableDiffusion3
from skindiff.generators.text_to_image.sdxl import StableDiffusionXL
from skindiff.generators.text_to_image.single_file import file_class_name, load_single_file
from skindiff.generators.text_to_image.stable_diffusion import StableDiffusion
from skindiff.generators.text_to_image.z_image import ZImage

ARCHITECTURES: tuple[Architecture, ...] = (
    StableDiffusion(),
    StableDiffusionXL(),
    StableDiffusion3(),
    Flux(),
    ZImage(),
)
"""Every architecture of base models; a new one is a file of this folder and a line here."""


def architecture_of(pipeline: Any) -> Architecture:
    """Return the architecture of a pipeline that is loaded.

    Raises:
        GeneratorError: it is of none that is known here.
    """
    for architecture in ARCHITECTURES:
        if isinstance(pipeline, (architecture.generates, architecture.transfers)):
            return architecture
    raise GeneratorError(f"a {type(pipeline).__name__} is none of {_known()}")


def architecture_named(class_name: str) -> Architecture | None:
    """Return the architecture whose pipelines are of a class, named as ``model_index.json`` does."""
    return next((known for known in ARCHITECTURES if class_name in known.class_names), None)


def check_text_to_image(model: str, revision: str | None = None, config: str | None = None) -> Architecture:
    """Return the architecture that a base model says in its index to be of, or in one file by its weights.

    Of a Hub model nothing but that index is fetched, of a file its header alone is read.

    Raises:
        GeneratorError: there is no such model, it is of no architecture known here, or settings are given
            (``config``) to one that has its own.
    """
    file = model_file(split_revision(model, revision)[0])
    if file is None and config is not None:
        raise GeneratorError(f"model {model!r} is no single file and has settings: leave {config!r} out")
    index = {"_class_name": file_class_name(file, config)} if file else pipeline_index(model, revision)
    name = str(index.get("_class_name", ""))
    architecture = architecture_named(name)
    if architecture is None:
        raise GeneratorError(
            f"model {model!r} is a {name or 'pipeline without a class name'}, but skindiff trains and uses "
            f"with {_known()}: give one of those, such as {DEFAULT_MODEL}, or bundled"
        )
    if file is not None and not architecture.single_file:
        whole = " and ".join(known.name for known in ARCHITECTURES if known.single_file)
        raise GeneratorError(
            f"model {model!r} is a {name}, but skindiff reads single files of {whole} alone: give its "
            "folder, as save_pretrained wrote it, or its Hub id"
        )
    if file is None:
        architecture.refuse_index(index, f"model {model!r}")
    return architecture


def load_pipeline(
    model: str,
    *,
    revision: str | None = None,
    config: str | None = None,
    dtype: torch.dtype = torch.float32,
    quantised: bool = False,
    device: torch.device | str = "cpu",
) -> Any:
    """Load a text-to-image pipeline in evaluation mode.

    Only safetensors weights are read, whatever their precision on disk they come as ``dtype``.
    ``HF_HUB_OFFLINE=1`` is respected.

    Args:
        model: what :func:`~skindiff.generators.models.model_folder` takes, or a checkpoint in one file.
        revision: branch, tag or commit of a Hub model that names none itself; not for folders.
        config: settings of a checkpoint in one file: a folder, or one of ours by its name
            (:data:`~skindiff.generators.text_to_image.single_file.SETTINGS`); None takes what fits the file.
        dtype: precision of the networks that are frozen in trainings; autoencoder, and text encoders that can
            learn words, come in float32 (``precisions`` of the architecture).
        quantised: hold the network that denoises in 4 bits for each weight (NF4; Dettmers et al. 2023, arXiv
            2305.14314), by bitsandbytes on CUDA; not of a checkpoint in one file.
        device: where the modules go.

    Returns:
        A pipeline of the class that its architecture generates with.

    Raises:
        GeneratorError: when there is no such model, it is of no architecture known here or not in
            safetensors, or its architecture does not fit one of its parts.
    """
    architecture = check_text_to_image(model, revision, config)
    name, revision = split_revision(model, revision)
    kind, precisions, loading = architecture.generates, architecture.precisions(dtype), architecture.loading
    if file := model_file(name):
        if quantised:
            raise GeneratorError(
                f"model {model!r} is a single file, and 4 bits are made of folders alone: load it by "
                "skindiff.load, save_pretrained it, and give that folder"
            )
        pipeline = load_single_file(kind, file, config, dtype=torch.float32, **loading)
        for part, module in pipeline.components.items():
            if isinstance(module, nn.Module):
                module.to(precisions.get(part, dtype))
    else:
        four_bits = {"quantization_config": _four_bits(architecture, dtype)} if quantised else {}
        pipeline = load_checked(kind, name, revision, dtype=precisions, **four_bits, **loading)
    try:
        architecture.refuse_unfit(pipeline, f"model {model!r}")
    except (TypeError, ValueError, AttributeError) as error:
        raise GeneratorError(
            f"model {model!r} has settings of another kind ({error}): get it again"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    for module in architecture.networks(pipeline):
        module.eval().requires_grad_(False)
    return pipeline.to(device)


def _four_bits(architecture: Architecture, dtype: torch.dtype) -> PipelineQuantizationConfig:
    network = next(iter(architecture.kohya))  # that which denoises comes first
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    return PipelineQuantizationConfig(quant_mapping={network: settings})


def _known() -> str:
    return ", ".join(f"the {known.class_names[0]} of {known.name}" for known in ARCHITECTURES)
