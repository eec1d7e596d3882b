"""One folder for what was learnt: token embeddings, LoRA, token map, settings and training log.

Plain diffusers loads it too: ``load_textual_inversion`` with the list of ``learned_embeds/*.safetensors``,
then ``load_lora_weights`` with the folder.
"""

import csv
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
import yaml
from diffusers import DDIMScheduler
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from skindiff.corpora.attribute import Attribute, recorded_attribute
from skindiff.corpora.crops import CropKind
from skindiff.errors import GeneratorError
from skindiff.files import replacing_folder
from skindiff.foreign import Malformed, read_json, read_text, refuse_unlike
from skindiff.foreign_yaml import read_yaml
from skindiff.generators.learned_embeds import read_embeddings, save_embeddings
from skindiff.generators.lora_formats import LORA_FILE, is_scale, load_lora_file, lora_settings
from skindiff.generators.models import first_words, quiet_loading
from skindiff.generators.text_to_image.architecture import Architecture
from skindiff.generators.text_to_image.loading import architecture_named, architecture_of
from skindiff.generators.tokens import (
    MOST_VECTORS,
    TokenMap,
    add_tokens,
    is_placeholder,
    set_tokenizers,
    text_homes,
)
from skindiff.weights import read_header

ADAPTER_NAME = "skindiff"
"""Name of our LoRA inside PEFT."""

TOKENS_FILE = "tokens.json"
"""What is in every folder of an adapter, and nowhere else."""
_LONGEST = 100
"""Characters of an initialiser."""
_CONFIG, _LOG = "config.yaml", "training_log.csv"


class _Entry(TypedDict):
    """What ``tokens.json`` says of a condition."""

    token: str
    vectors: int
    initialiser: str


class _Config(TypedDict, total=False):
    """What is read of ``config.yaml``."""

    base_model: str | None
    base_class: str
    textual_inversion: dict[str, Any] | None
    lora: dict[str, Any] | None
    attribute: dict[str, Any] | None
    crop: CropKind
    cut_captions: dict[str, dict[str, int]]


@dataclass(frozen=True)
class _Before:
    """What a pipeline was like before an adapter, to put it back."""

    tokenizers: list[CLIPTokenizer]
    embedding_rows: list[int]
    scheduler: Any


@dataclass(frozen=True)
class Adapter:
    """What was learnt, as it stands in a folder and (once loaded or trained) in a pipeline.

    Attributes:
        folder: where it is saved; of a LoRA that another program trained its file.
        tokens: the placeholders; empty without textual inversion.
        config: the settings of each stage (``textual_inversion``, ``lora``), the ``base_model``, the
            ``attribute`` that prompts named where it is not the skin type, and the ``crop`` of the corpus
            where it is not the middle square.
        log: the rows of the training log, each with its ``stage``.
        has_lora: whether there are LoRA weights.
        fused: whether the LoRA weights have been added to the pipeline's own.
    """

    folder: Path
    tokens: TokenMap
    config: dict[str, Any]
    log: list[dict[str, Any]]
    has_lora: bool
    fused: bool = False
    before: _Before | None = field(default=None, repr=False, compare=False)

    @property
    def strategy(self) -> Literal["ti", "lora", "ti+lora"]:
        """What was learnt, as plans call it."""
        if not self.has_lora:
            return "ti"
        return "ti+lora" if self.tokens.tokens else "lora"

    @property
    def attribute(self) -> Attribute:
        """What the prompts named that it was trained with."""
        return recorded_attribute(self.config.get("attribute"))

    @property
    def crop(self) -> CropKind:
        """How the pictures that it was trained on were cut."""
        found: CropKind = self.config.get("crop", "centre")
        return found

    @property
    def architecture(self) -> Architecture:
        """Of the model that it was trained on.

        Raises:
            GeneratorError: it is none that is known here.
        """
        # Adapters of before 0.2.0 do not say it: there was one class.
        name = str(self.config.get("base_class", "StableDiffusionPipeline"))
        if (found := architecture_named(name)) is None:
            raise GeneratorError(f"base_class: {name!r} is no class of base models; train the adapter again")
        return found

    @property
    def subjects(self) -> dict[str, str]:
        """What stands in prompts for each class with a word of its own."""
        return {name: self.tokens.subject(name) for name in self.tokens.tokens}


def crop_record(crop: CropKind) -> dict[str, Any]:
    """Return what the settings of an adapter say of the crop of its corpus: nothing of the middle square."""
    return {} if crop == "centre" else {"crop": crop}


def adapter_digest(folder: Path) -> str:
    """Return the first 12 hex digits of the SHA-256 of an adapter's weight files, wherever it lies."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")) or [folder]:
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def save_adapter(adapter: Adapter, pipeline: Any) -> None:
    """Write ``adapter`` to its folder, in one piece; an adapter that was there is replaced.

    Args:
        adapter: tokens, settings and log; its settings are of plain types only.
        pipeline: holds the rows of its tokens and, if it has one, the LoRA named ``ADAPTER_NAME``.
    """
    with replacing_folder(adapter.folder) as partial:
        save_embeddings(partial, pipeline, adapter.tokens)
        _save_tokens(partial, adapter.tokens)
        if adapter.has_lora:
            _save_lora(partial, pipeline)
        (partial / _CONFIG).write_text(yaml.safe_dump(adapter.config, sort_keys=False), encoding="utf-8")
        _write_log(partial / _LOG, adapter.log)


def read_adapter(folder: Path) -> Adapter:
    """Read everything of an adapter but its weights; of another program's LoRA file nothing else is known.

    Raises:
        GeneratorError: ``folder`` is not a complete adapter.
    """
    if folder.is_file():
        return Adapter(folder, TokenMap({}), {}, [], has_lora=True)
    try:
        entries = read_json(folder / TOKENS_FILE)
        refuse_unlike(entries, dict[str, _Entry], TOKENS_FILE)
        config = read_yaml(folder / _CONFIG)
        refuse_unlike(config, _Config, _CONFIG)
        recorded_attribute(config.get("attribute"))
        text = read_text(folder / _LOG)
        log = [_typed(row) for row in csv.DictReader(text.splitlines(), strict=True)]
        tokens = _token_map(entries)
    except (ValueError, TypeError, csv.Error) as error:
        reason = error if isinstance(error, Malformed) else f"{_LOG} is no log"
        raise GeneratorError(
            f"adapter {str(folder)!r} cannot be read ({reason}): give the adapter folder of a finished "
            "training"
        ) from error
    return Adapter(folder, tokens, config, log, (folder / LORA_FILE).is_file())


def _token_map(entries: Mapping[str, "_Entry"]) -> TokenMap:
    """Return what an adapter's own file says of its tokens.

    Raises:
        Malformed: a token is none that skindiff names, two are one, or they disagree.
    """
    names = [entry["token"] for entry in entries.values()]
    if len(set(names)) < len(names) or not all(map(is_placeholder, names)):
        raise Malformed(f"{TOKENS_FILE} has a token that is no <word>, or one twice")
    about = {(entry["vectors"], entry["initialiser"]) for entry in entries.values()}
    if len(about) > 1 or not all(1 <= vectors <= MOST_VECTORS for vectors, _ in about):
        raise Malformed(f"{TOKENS_FILE} has vectors that are not 1 to {MOST_VECTORS}, the same for all")
    if any(len(initialiser) > _LONGEST for _, initialiser in about):
        raise Malformed(f"{TOKENS_FILE} has an initialiser of more than {_LONGEST} characters")
    return TokenMap(dict(zip(entries, names, strict=True)), *next(iter(about), ()))


def load_adapter(pipeline: Any, folder: Path | str, fuse: bool = False) -> Adapter:
    """Give ``pipeline`` what the adapter in ``folder`` has learnt.

    Args:
        pipeline: the base model that the adapter was trained on, without another adapter.
        folder: as :func:`save_adapter` wrote it, or the LoRA file of another program.
        fuse: add the LoRA weights to the pipeline's own, which runs faster but cannot be undone.

    Returns:
        The adapter, which :func:`unload_adapter` takes to put the pipeline back.

    Raises:
        GeneratorError: the folder is not an adapter, the pipeline carries one already, or they do not fit.
    """
    adapter = read_adapter(Path(folder))
    check_no_adapter(pipeline)
    base = str(adapter.config.get("base_model"))
    embeddings = read_embeddings(adapter.folder, pipeline, adapter.tokens, base)
    before = pipeline_state(pipeline)
    places = zip(add_tokens(pipeline, adapter.tokens), text_homes(pipeline), embeddings, strict=True)
    with torch.no_grad():
        for ids, (_, encoder), learnt in places:
            weight = encoder.get_input_embeddings().weight
            for condition, rows in ids.items():
                weight[rows] = learnt[condition].to(weight)
    if (adapter.config.get("lora") or {}).get("zero_terminal_snr"):
        use_zero_terminal_snr(pipeline)
    if adapter.has_lora:
        try:
            _load_lora(pipeline, adapter.folder, fuse)
        # Beside its own errors PEFT lets through nearly anything that strange settings can raise.
        except Exception as error:
            _restore(pipeline, before)
            raise GeneratorError(
                f"adapter {str(folder)!r} does not fit this model ({first_words(error)}): load it into "
                f"its own base model, {adapter.config.get('base_model') or 'which its author names'}"
            ) from error
    return replace(adapter, fused=fuse and adapter.has_lora, before=before)


def unload_adapter(pipeline: Any, adapter: Adapter) -> None:
    """Put ``pipeline`` back to what it was before ``adapter`` was loaded into it (or trained in it).

    Raises:
        GeneratorError: the adapter was fused, or never loaded.
    """
    if adapter.fused or adapter.before is None:
        why = "was fused into the weights" if adapter.fused else "is not in a pipeline"
        raise GeneratorError(f"adapter {str(adapter.folder)!r} {why}: load a fresh pipeline instead")
    _restore(pipeline, adapter.before)


def pipeline_state(pipeline: Any) -> _Before:
    """Remember what an adapter changes of a pipeline, for :func:`unload_adapter`."""
    homes = text_homes(pipeline)
    rows = [encoder.get_input_embeddings().num_embeddings for _, encoder in homes]
    return _Before([tokenizer for tokenizer, _ in homes], rows, pipeline.scheduler)


def _restore(pipeline: Any, before: _Before) -> None:
    pipeline.unload_lora_weights()
    set_tokenizers(pipeline, before.tokenizers)
    pipeline.scheduler = before.scheduler
    with torch.random.fork_rng(devices=[]):
        for (_, encoder), rows in zip(text_homes(pipeline), before.embedding_rows, strict=True):
            encoder.resize_token_embeddings(rows, mean_resizing=False)


def check_no_adapter(pipeline: Any) -> None:
    """Raise a :class:`GeneratorError` when ``pipeline`` carries LoRA layers."""
    for module in _adaptable(pipeline).values():
        if getattr(module, "peft_config", None):
            raise GeneratorError(
                f"the pipeline carries the LoRA {', '.join(module.peft_config)} already: unload it, or load "
                "a fresh pipeline"
            )


def _adaptable(pipeline: Any) -> dict[str, Any]:
    return architecture_of(pipeline).adaptable(pipeline)


def use_zero_terminal_snr(pipeline: Any) -> None:
    """Let ``pipeline`` sample on the rescaled schedule that ends in pure noise, from its last timestep.

    A scheduler that cannot be rescaled, such as PNDM, would drop the setting: DDIM takes its place.
    """
    kind = type(pipeline.scheduler)
    if "rescale_betas_zero_snr" not in inspect.signature(kind).parameters:
        kind = DDIMScheduler
    pipeline.scheduler = kind.from_config(
        pipeline.scheduler.config, rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )


def _save_tokens(folder: Path, tokens: TokenMap) -> None:
    entries = {
        condition: {"token": token, "vectors": tokens.vectors, "initialiser": tokens.initialiser}
        for condition, token in tokens.tokens.items()
    }
    text = json.dumps(entries, indent=2, ensure_ascii=False)
    (folder / TOKENS_FILE).write_text(text + "\n", encoding="utf-8")


def _save_lora(folder: Path, pipeline: Any) -> None:
    """Write what ``save_lora_weights`` of diffusers writes, but the same bytes each time.

    safetensors keeps metadata in no order, so that with the entry ``format`` beside ours (which no reader of
    LoRA files asks for) two files of one adapter would differ.
    """
    weights: dict[str, torch.Tensor] = {}
    metadata: dict[str, Any] = {}
    for name, module in _adaptable(pipeline).items():
        if ADAPTER_NAME in getattr(module, "peft_config", {}):
            # PEFT would add the embedding matrix, which has grown by our tokens, and diffusers refuse it.
            layers = get_peft_model_state_dict(module, adapter_name=ADAPTER_NAME, save_embedding_layers=False)
            weights |= {f"{name}.{key}": tensor.cpu().contiguous() for key, tensor in layers.items()}
            metadata |= {f"{name}.{key}": value for key, value in _metadata(module).items()}
    text = json.dumps(metadata, indent=2, sort_keys=True)
    save_file(weights, folder / LORA_FILE, metadata={LORA_ADAPTER_METADATA_KEY: text})


def _metadata(module: Any) -> dict[str, Any]:
    """Return PEFT's settings (alpha is not in the weights), in one order and without local paths."""
    settings = module.peft_config[ADAPTER_NAME].to_dict()
    settings["base_model_name_or_path"] = None
    return {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}


def _refuse_strange_lora(path: Path) -> None:
    """Refuse a LoRA whose settings ask for more than its weights hold.

    Raises:
        Malformed: see there.
    """
    widest = max((max(shape, default=0) for shape in read_header(path).shapes.values()), default=0)
    for name, value in lora_settings(path).items():
        kind = name.rpartition(".")[2]
        for one in value.values() if isinstance(value, dict) and kind.endswith("_pattern") else [value]:
            if kind in ("r", "rank_pattern") and not (type(one) is int and 1 <= one <= widest):
                raise Malformed("its settings have a rank that its weights have not")
            if kind in ("lora_alpha", "alpha_pattern") and not is_scale(one):
                raise Malformed("its settings have an alpha that is no number from 0 to a million")


def _load_lora(pipeline: Any, folder: Path, fuse: bool) -> None:
    file = folder if folder.is_file() else folder / LORA_FILE
    _refuse_strange_lora(file)
    with quiet_loading():
        load_lora_file(pipeline, file, ADAPTER_NAME)
    networks = _adaptable(pipeline)
    for module in networks.values():
        module.requires_grad_(False)
    if fuse:
        components = [name for name, module in networks.items() if getattr(module, "peft_config", None)]
        pipeline.fuse_lora(components=components, adapter_names=[ADAPTER_NAME])
        pipeline.unload_lora_weights()


def _write_log(path: Path, log: Sequence[Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(["stage", "step", *(column for row in log for column in row)]))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(log)


def _typed(row: dict[str, str]) -> dict[str, Any]:
    """Undo the CSV: empty cells go, the stage stays text, the step is whole, the rest are numbers."""
    kept = {column: value for column, value in row.items() if value != ""}
    return {
        column: value if column == "stage" else int(value) if column == "step" else float(value)
        for column, value in kept.items()
    }
