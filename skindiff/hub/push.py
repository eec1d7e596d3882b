"""Pushing adapters, pipelines and classifiers.

Every push is private unless asked otherwise, judged by the licences of what is behind it, and written in one
commit with a generated card. Nothing else of a folder leaves than what is named here. Synthetic data sets are
in :mod:`skindiff.hub.synthetic`, run folders in :mod:`skindiff.hub.results`.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import yaml

from skindiff.classification.cells import PREFIX
from skindiff.errors import HubError
from skindiff.escaping import markdown
from skindiff.foreign import Malformed, parse_json, refuse_unlike
from skindiff.hub import usage
from skindiff.hub.cards import Card, attribute_of, coverage_text, eval_results, model_card
from skindiff.hub.clean import clean_json, model_name
from skindiff.hub.client import Content, Pushed, push_files, refuse_bad_id
from skindiff.hub.leaving import VOCABULARY, files_of, shared_settings
from skindiff.hub.origin import Facts, Origin, find_facts, on_bases
from skindiff.hub.staging import read_own, staged

if TYPE_CHECKING:
    from skindiff.classification.networks import Architecture
    from skindiff.corpora.attribute import Attribute
    from skindiff.generators.adapter import Adapter

_WEIGHTS = ".safetensors"
_LOG_COLUMN = re.compile(r"[a-z0-9_]{1,60}")
_OUR_NETWORKS = ("medmnist_cnn", "lesion_detector")
"""Those of :mod:`skindiff.classification.small_cnns`, which timm alone does not know."""


_GENERATOR_LIMITS = (
    "Its images are synthetic: a generated lesion shows no patient, and may be impossible.",
    "It learnt from few images and may repeat them; compare its images with them before sharing any.",
)


class _OwnIndex(TypedDict):
    """What is read of the index of a class-conditional generator."""

    class_names: list[str]
    image_size: int
    channels: int


def push_adapter(
    folder: Path | str,
    repo_id: str,
    *,
    licence: str,
    origin: Origin | None = None,
    private: bool = True,
    token: str | None = None,
) -> Pushed:
    """Push an adapter (learned tokens, LoRA, or both) that plain diffusers loads.

    Args:
        folder: as :func:`skindiff.generators.adapter.save_adapter` wrote it.
        repo_id: ``owner/name``.
        licence: of the adapter, as the Hub names it.
        origin: corpora, run, base model; what is left out is read from the run around ``folder``.
        private: whether only the owner may see it.
        token: of the Hub; the stored one when left out.

    Raises:
        HubError: a gate refuses it, or the Hub does not take it.
        GeneratorError: the folder holds no adapter.
    """
    from skindiff.generators.adapter import LORA_FILE, read_adapter

    refuse_bad_id(repo_id)
    facts = find_facts(origin, Path(folder), licence)
    with staged(Path(folder), files_of("adapter")) as own:
        adapter = read_adapter(own)
        facts = on_bases(facts, [_adapter_base(adapter, facts)], "weights")
        card = _adapter_card(repo_id, adapter, facts)
        files = adapter_files(own, card.base_model)
        files["README.md"] = model_card(card, facts, library="diffusers", task="text-to-image", tags=["lora"])
        return push_files(
            files,
            repo_id,
            repo_type="model",
            message="Push an adapter with skindiff",
            private=private,
            token=token,
            owns=["learned_embeds/*.safetensors", LORA_FILE],
        )


def push_pipeline(
    folder: Path | str,
    repo_id: str,
    *,
    licence: str,
    origin: Origin | None = None,
    private: bool = True,
    token: str | None = None,
) -> Pushed:
    """Push a whole generator: one of skindiff's own families, or a Stable Diffusion pipeline.

    ``skindiff.load`` and ``from_pretrained`` of its own class load it.

    Args:
        folder: as ``save_pretrained`` wrote it, or ``bundled``.
        repo_id: ``owner/name``.
        licence: of the weights, as the Hub names it.
        origin: corpora, run, base model; what is left out is read from the run around ``folder``.
        private: whether only the owner may see it.
        token: of the Hub; the stored one when left out.

    Raises:
        HubError: a gate refuses it, or the Hub does not take it.
        GeneratorError: the folder holds no pipeline that is known here.
    """
    from skindiff.corpora.attribute import SKIN_TYPE
    from skindiff.generators.models import model_folder, pipeline_class_name
    from skindiff.generators.text_to_image.loading import architecture_named

    refuse_bad_id(repo_id)
    found = model_folder(str(folder))
    if found is None:
        raise HubError(f"folder: {folder} is no folder; give one that save_pretrained wrote, or bundled")
    facts = find_facts(origin, found, licence)
    facts = on_bases(facts, [facts.base_model] if facts.base_model else [], "weights")
    with staged(found, files_of("pipeline", pipeline_components(found))) as own:
        files = pipeline_files(own)
        name = pipeline_class_name(str(own))
        architecture = architecture_named(name)
        if architecture:
            what = f"A pipeline of {architecture.name} for skin."
            lines = usage.text_to_image_usage(repo_id, architecture.class_names[0])
            task = "text-to-image"
        else:
            what, lines = _own_pipeline(own, name, repo_id)
            task = "unconditional-image-generation"
        card = Card(
            title=repo_id.split("/")[1],
            what=what,
            usage=lines,
            results=eval_results(facts.report),
            coverage=coverage_text(facts),
            limits=[*_GENERATOR_LIMITS, _value_limit(SKIN_TYPE if architecture else None, facts)],
            base_model=facts.base_model,
        )
        files["README.md"] = model_card(card, facts, library="diffusers", task=task)
        return push_files(
            files,
            repo_id,
            repo_type="model",
            message="Push a pipeline with skindiff",
            private=private,
            token=token,
            owns=["*.safetensors", "*.safetensors.index.json"],
        )


def push_classifier(
    folder: Path | str,
    repo_id: str,
    *,
    licence: str,
    arm: str | None = None,
    origin: Origin | None = None,
    private: bool = True,
    token: str | None = None,
) -> Pushed:
    """Push a classifier that ``timm.create_model("hf-hub:owner/name", pretrained=True)`` loads.

    Args:
        folder: as :func:`skindiff.classification.networks.save_classifier` wrote it.
        repo_id: ``owner/name``.
        licence: of the weights, as the Hub names it.
        arm: of the study that it was trained on, such as ``real+syn``; the card quotes its scores only.
        origin: corpora, run; what is left out is read from the run around ``folder``.
        private: whether only the owner may see it.
        token: of the Hub; the stored one when left out.

    Raises:
        HubError: a gate refuses it, timm has no form for its head, or the Hub does not take it.
        ConfigError: the folder holds no classifier.
    """
    from skindiff.classification.networks import load_classifier
    from skindiff.hub.timm_format import classifier_files

    refuse_bad_id(repo_id)
    facts = find_facts(origin, Path(folder), licence)
    with staged(Path(folder), files_of("classifier")) as own:
        model = load_classifier(own)
        card = _classifier_card(repo_id, model.architecture, facts, arm)
        files = classifier_files(own, model)
        files["README.md"] = model_card(
            card, facts, library="timm", task="image-classification", tags=["timm"]
        )
        return push_files(
            files,
            repo_id,
            repo_type="model",
            message="Push a classifier with skindiff",
            private=private,
            token=token,
        )


def _adapter_base(adapter: "Adapter", facts: Facts) -> str:
    """Return the model that an adapter was trained on, as others call it.

    Raises:
        HubError: neither it nor who pushes it says.
    """
    base = facts.base_model or model_name(str(adapter.config.get("base_model") or ""))
    if not base:
        raise HubError("base_model: the adapter does not say what it was trained on; give origin.base_model")
    return base


def _adapter_card(repo_id: str, adapter: "Adapter", facts: Facts) -> Card:
    from skindiff.generators.prompts import prompt_for

    base, recorded = _adapter_base(adapter, facts), str(adapter.config.get("base_model") or "")
    conditions = list(adapter.tokens.tokens)
    learnt = [f"tokens for {', '.join(map(markdown, conditions))}"] if conditions else []
    learnt += ["a LoRA"] if adapter.has_lora else []
    attribute = adapter.attribute
    subject = adapter.tokens.subject(conditions[0]) if conditions else "skin"
    prompt = prompt_for(subject, attribute.of_minority[0], attribute)
    lines = usage.adapter_usage(
        repo_id,
        base,
        adapter.architecture,
        list(adapter.tokens.tokens.values()),
        has_lora=adapter.has_lora,
        prompt=prompt,
        terminal_snr=bool((adapter.config.get("lora") or {}).get("zero_terminal_snr")),
        file=model_name(recorded) if recorded.partition("@")[0].endswith(_WEIGHTS) else "",
    )
    return Card(
        title=repo_id.split("/")[1],
        what=f"An adapter for {adapter.architecture.name} that generates skin conditions: "
        f"{' and '.join(learnt)}.{_named(attribute)}",
        usage=lines,
        results=eval_results(facts.report),
        coverage=coverage_text(facts, attribute),
        limits=[
            *_GENERATOR_LIMITS,
            _value_limit(attribute, facts),
            "It fits its own base model only.",
        ],
        base_model=base,
        attribute=attribute,
    )


def _value_limit(named: "Attribute | None", facts: Facts) -> str:
    """Return in a sentence how images follow what prompts name; None where it knows classes alone."""
    if named is None:
        return (
            f"It generates by class alone: the {attribute_of(facts.report).name} of its images is not known."
        )
    how = "measure it" if named.is_skin_tone else "nothing measures it"
    return f"The {named.name} that a prompt asks for is matched approximately; {how}."


def _named(attribute: "Attribute") -> str:
    """Return a sentence on what prompts name, where that is not the skin type."""
    if attribute.is_skin_tone:
        return ""
    return f" Its prompts name the {markdown(attribute.name)}: {', '.join(map(markdown, attribute.known))}."


def _classifier_card(repo_id: str, architecture: "Architecture", facts: Facts, arm: str | None) -> Card:
    name, side = architecture.name, architecture.image_size
    asked = name if architecture.corpus_size is None else f"{PREFIX}{name}"
    names = ", ".join(map(markdown, architecture.class_names))
    classes = f"{len(architecture.class_names)} classes apart: {names}"
    return Card(
        title=repo_id.split("/")[1],
        what=f"A {_kind(architecture)} that tells {classes}. It sees images of {side} x {side} px.",
        usage=usage.classifier_usage(
            repo_id, ours=name.split(".")[0] in _OUR_NETWORKS, grey=architecture.channels == 1
        ),
        results=eval_results(facts.report, architecture=asked, arms=None if arm is None else [arm]),
        coverage=coverage_text(facts),
        limits=[
            "It knows its own classes only, and answers with one of them whatever it is shown.",
            "It was trained on one corpus; other cameras, clinics and skin types may look different to it.",
            "Its probabilities are not calibrated.",
        ],
        base_model=facts.base_model,
    )


def _kind(architecture: "Architecture") -> str:
    """Return what a classifier is; of a probe also at what size it is to be shown images."""
    if architecture.corpus_size is None:
        return architecture.name
    shown = f"{architecture.corpus_size} x {architecture.corpus_size} px"
    return f"linear probe on a frozen {architecture.name}, fitted on images of {shown} enlarged,"


def adapter_files(own: Path, base_model: str | None) -> dict[str, Content]:
    """Return the files of an adapter by their names in a repository.

    Args:
        own: the staged folder.
        base_model: as others call it.
    """
    from skindiff.generators.adapter import LORA_FILE, read_adapter
    from skindiff.generators.learned_embeds import embedding_files

    adapter = read_adapter(own)
    words = {token.strip("<>") for token in adapter.tokens.tokens.values()}
    files: dict[str, Content] = {
        f"learned_embeds/{path.name}": path for path in map(Path, embedding_files(own)) if path.stem in words
    }
    if adapter.has_lora:
        files[LORA_FILE] = own / LORA_FILE
    tokens = adapter.tokens
    entries = {
        condition: {"token": token, "vectors": tokens.vectors, "initialiser": tokens.initialiser}
        for condition, token in tokens.tokens.items()
    }
    settings = {**shared_settings(adapter.config), "base_model": base_model}
    return files | {
        "tokens.json": (json.dumps(entries, indent=2, ensure_ascii=False) + "\n").encode(),
        "config.yaml": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode(),
        "training_log.csv": _numbers_by_step(adapter.log),
    }


def _numbers_by_step(log: Sequence[Mapping[str, Any]]) -> bytes:
    columns = list(dict.fromkeys(name for row in log for name in row))
    strange = [name for name in columns if not _LOG_COLUMN.fullmatch(name)]
    stages = {str(row.get("stage", "")) for row in log} - {"", "textual_inversion", "lora"}
    if strange or stages:
        raise HubError(
            f"folder: training_log.csv holds {(strange or sorted(stages))[0]!r}, which no training writes; "
            "take it out"
        )
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(log)
    return text.getvalue().encode()


def pipeline_files(own: Path) -> dict[str, Content]:
    """Return the files of a staged pipeline by their names in a repository.

    Raises:
        HubError: it has no weights in safetensors.
    """
    files: dict[str, Content] = {}
    for path in sorted(path for path in own.rglob("*") if path.is_file()):
        weights = path.suffix == _WEIGHTS
        content = path if weights else path.read_bytes() if path.name in VOCABULARY else _clean(path)
        files[path.relative_to(own).as_posix()] = content
    if not any(path.endswith(_WEIGHTS) for path in files):
        raise HubError(f"folder: {own} lacks weights in safetensors; save it by save_pretrained")
    return files


def _clean(path: Path) -> bytes:
    try:
        return clean_json(path.read_bytes())
    except ValueError as error:
        raise HubError(f"folder: {path} is no JSON ({error}); save the pipeline again") from error


def pipeline_components(folder: Path) -> list[str]:
    """Return the folders of the components that a pipeline's index names.

    Raises:
        HubError: the index is a link, cannot be read, or names something else.
    """
    from skindiff.generators.models import INDEX

    try:
        index = dict(parse_json(read_own(folder, INDEX)))
    except (ValueError, TypeError) as error:
        raise HubError(f"folder: {INDEX} of {folder} cannot be read; save the pipeline again") from error
    names = [name for name, kind in index.items() if isinstance(kind, list) and kind[:1] != [None]]
    if odd := [name for name in names if not name.isidentifier()]:
        raise HubError(f"folder: {INDEX} names the component {odd[0]!r}; save the pipeline again")
    return names


def _own_pipeline(folder: Path, name: str, repo_id: str) -> tuple[str, str]:
    """Return what a pipeline of ours is, and how to use it."""
    from skindiff.generators.families import family_of_pipeline, imported
    from skindiff.generators.models import INDEX, read_index

    family = family_of_pipeline(name)
    if family is None:
        raise HubError(
            f"folder: {folder} holds a {name}, which skindiff does not know; give one of its own kinds"
        )
    kind = imported(family.pipeline)
    index = read_index(folder / INDEX, str(folder))
    try:
        refuse_unlike(index, _OwnIndex, INDEX)
    except Malformed as error:
        raise HubError(f"folder: {folder} holds no whole {name} ({error}); save it again") from error
    names: Sequence[str] = index["class_names"]
    size, channels = index["image_size"], index["channels"]
    verb = "reconstructs images" if kind.needs_images else "generates images"
    what = f"A class-conditional generator ({family.name}) that {verb} of {size} x {size} px: "
    what += f"{', '.join(map(markdown, names))}."
    shape = (channels, size, size) if kind.needs_images else None
    return what, usage.pipeline_usage(repo_id, names, shape)
