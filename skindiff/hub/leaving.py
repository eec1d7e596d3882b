"""What may leave this machine: the table that every push, and the folder of a Space, is built from.

``docs/privacy.md`` says the same in words. Nothing that is not named here leaves, whatever lies beside it.
"""

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from skindiff.hub.clean import model_name, shareable
from skindiff.report.content import ReportContent

Kind = Literal["adapter", "pipeline", "classifier", "synthetic", "run"]

LEAVES: Mapping[Kind, Mapping[str, str]] = {
    "adapter": {
        "learned_embeds/*.safetensors": "the vectors of each learned word, under that word",
        "pytorch_lora_weights.safetensors": "the LoRA's weights and its settings",
        "tokens.json": "classes with their learned words",
        "config.yaml": "settings",
        "training_log.csv": "numbers by training step",
    },
    "pipeline": {
        "model_index.json": "the classes of its components, class words, sizes",
        "*/config.json": "settings of a network",
        "*/scheduler_config.json": "settings of the noise schedule",
        "*/preprocessor_config.json": "settings of an image processor",
        "*/generation_config.json": "settings of a text model",
        "*/model*.safetensors": "weights",
        "*/diffusion_pytorch_model*.safetensors": "weights",
        "*/*.safetensors.index.json": "which file holds which weights",
        "*/tokenizer_config.json": "settings of a tokenizer",
        "*/special_tokens_map.json": "names of its special tokens",
        "*/tokenizer.json": "its vocabulary, as it is",
        "*/vocab.json": "its vocabulary, as it is",
        "*/merges.txt": "its vocabulary, as it is",
        "*/added_tokens.json": "its vocabulary, as it is",
        "*/spiece.model": "its vocabulary, as it is",
    },
    "classifier": {
        "classifier.safetensors": "weights",
        "classifier.json": "the network's name, sizes, class words and the crop of its corpus",
    },
    "synthetic": {
        "synthetic-*.parquet": "images as bare pixels, and the columns of plans",
        "near_copies.json": "similarities to sources, by numbers in place of ids",
    },
    "run": {
        "config.yaml": "settings",
        "report.json": "the fields of a report",
        "report.md": "the report in words, without what was said of the corpus' files",
        "pictures/*.png": "pictures of numbers; those of photographs only with a reason",
        "pictures/dark/*.png": "the versions of the same pictures for dark pages",
    },
}
"""The files of each kind below its folder, and what of them leaves; ``*`` stands for one name."""
VOCABULARY = ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json", "spiece.model")
NUMBER_PICTURES = ("differences", "confusions", "skin-tone", "training", "fairness")
"""Beginnings of the names of a report's pictures that show numbers; any other may show photographs."""

_MODELS = (
    "model",
    "base_model",
    "config",
    "model_config",
    "weights",
    "network",
    "architecture",
    "architectures",
    "generator",
)
"""Settings that may name a folder: its last part leaves."""
SETTINGS = frozenset(
    {
        *_MODELS, "arm", "arms", "augment", "balance", "bands", "base_class", "base_dtype", "budget", "by",
        "caption", "channels",
        "classes", "column", "conditions",
        "crop", "dataset", "density", "dtype", "epochs", "families", "family",
        "further", "generator_images", "geometric_augment", "groups", "head", "hub_revision", "hub_split",
        "images_per_class",
        "initialiser", "latent_precision", "lr_schedule", "majority", "majority_types", "metric", "minority",
        "minority_types",
        "mode", "name", "optimiser", "options", "others", "ours", "phrases", "preset", "protocol",
        "published_reference", "recorded", "redraws", "reference", "revision", "scenario", "scheduler",
        "selected_on", "selection",
        "skin_types", "strategies", "strategy", "table", "target_draw", "targets", "test_group",
        "text_encoder_targets", "then", "tone", "tone_subject", "trackers", "trainable", "values",
        "weighting",
    }
)  # fmt: skip
"""Settings whose words leave, but of a group that has any of :data:`STAY` in it (``corpus.table``, like
``table`` of a budget); numbers, true, false and null of all settings do."""
STAY = frozenset(
    {
        "data_dir", "csv", "audit_csv", "metadata", "cache_dir", "output_dir", "image_column",
        "label_column", "synthetic", "columns", "joined", "folders", "encoding", "delimiter", "captions",
        "tones",
    }
)  # fmt: skip
"""Settings that say where images lie, what their tables call them and what captions are made of: whoever runs
it again has their own."""


_NO_NOTES = (
    "The notes of this report are left out: it is of a version that had names of files among them. Its run "
    "has them, and its report made again by --resume can be shared with its notes."
)


def shared_settings(value: Any) -> Any:
    """Return nested settings without the words of any that is not in :data:`SETTINGS`."""
    if not isinstance(value, Mapping):
        return [shared_settings(part) for part in value] if isinstance(value, (list, tuple)) else value
    found = {}
    for name, part in value.items():
        if name in _MODELS:
            found[name] = _models(part)
        elif name in SETTINGS and not _holds_settings(part):
            found[name] = shareable(part)
        elif name not in STAY and not _says_words(part):
            found[name] = shared_settings(part)
    return found


def shared_report(content: Mapping[str, Any]) -> ReportContent:
    """Return a report with the fields that reports have, and of these without what may name files.

    Sentences on what was read of the corpus (``reading``) stay: they name files and columns. A report of a
    version that had them among its notes keeps no notes, and says so.
    """
    known = shareable(_known({**content, "config": {}}, ReportContent))
    known.pop("reading", None)
    if "notes" in known and "reading" not in content:
        known["notes"] = [_NO_NOTES] if content["notes"] else []
    if "config" in content:
        known["config"] = shared_settings(content["config"])
    return cast(ReportContent, {name: known[name] for name in content if name in known})


def _holds_settings(value: Any) -> bool:
    """Whether a value is a part of the settings, which may have a name of the user's that is one of ours."""
    if not isinstance(value, Mapping):
        return False
    return bool(STAY & value.keys()) or any(isinstance(part, Mapping) for part in value.values())


def _says_words(value: Any) -> bool:
    """Whether a setting is words, or a list of which any is."""
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and any(map(_says_words, value)))


def _models(value: Any) -> Any:
    if isinstance(value, str):
        return model_name(value)
    return [_models(part) for part in value] if isinstance(value, (list, tuple)) else shared_settings(value)


def _known(value: Any, kind: Any) -> Any:
    """Return a value with those keys that its type has."""
    if get_origin(kind) in (Union, UnionType):
        fitting = [one for one in get_args(kind) if one is not type(None)]
        return value if value is None or not fitting else _known(value, fitting[0])
    if is_typeddict(kind) and isinstance(value, Mapping):
        fields = get_type_hints(kind)
        return {name: _known(part, fields[name]) for name, part in value.items() if name in fields}
    inner = get_args(kind)[-1] if get_args(kind) else Any
    if isinstance(value, Mapping):
        return {name: _known(part, inner) for name, part in value.items()}
    return [_known(part, inner) for part in value] if isinstance(value, list) else value


def files_of(kind: Kind, components: Sequence[str] = ()) -> list[str]:
    """Return the patterns of what may leave of a kind, a pipeline's for each of its components."""
    return [
        pattern.replace("*/", f"{component}/", 1)
        for pattern in LEAVES[kind]
        for component in (components if pattern.startswith("*/") else ("",))
    ]
