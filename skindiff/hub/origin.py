"""Where an artefact comes from: what its licence is judged by, and what its card tells of it."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from skindiff.corpora.registry import CORPORA, shows_patients
from skindiff.errors import HubError
from skindiff.files import real_path
from skindiff.foreign import Malformed, parse_json
from skindiff.foreign_yaml import parse_yaml
from skindiff.hub.clean import model_name, without_folders, without_folders_in_words
from skindiff.hub.leaving import shared_report
from skindiff.hub.licences import (
    BASES,
    BaseTerms,
    CorpusTerms,
    Made,
    base_terms,
    corpus_terms,
    refuse_forbidden,
)
from skindiff.hub.staging import read_own
from skindiff.manifest import refuse_damaged
from skindiff.report.content import ReportContent
from skindiff.report.read import checked_report


@dataclass
class Origin:
    """Where an artefact comes from; what is left out is read from the run that it lies in."""

    corpora: list[str] = field(default_factory=list)
    """Corpora that it (or the generator that made it) learnt from: phantom, fitzpatrick17k, ham10000,
    medmnist/<data set>, or imagefolder (or any name) for one's own; empty takes that of the run. Add those
    that the base model learnt from, if it is not one that its owner published."""
    corpus_licence: str | None = None
    """Licence of one's own images, as the Hub names it, such as cc-by-4.0."""
    run: str | None = None
    """Folder of the run whose report.json the card quotes; null looks for it around the artefact."""
    base_model: str | None = None
    """Hub id of the base model (id or id@revision); null takes what the artefact says."""
    base_licence: str | None = None
    """Licence of a base model whose terms are not known here, as the Hub names it, such as openrail++."""
    commands: list[str] = field(default_factory=list)
    """Commands that made it; empty takes the recipe of the run."""
    groups: dict[str, int] = field(default_factory=dict)
    """Training images by Fitzpatrick skin type, such as {I: 120, VI: 4}, or by value of what else is
    scarce."""


@dataclass(frozen=True)
class Facts:
    """What is known of an artefact's origin, checked.

    Attributes:
        corpora: names of the corpora.
        terms: their terms, in the same order.
        licence: of the artefact; every corpus allows it.
        report: content of the run's ``report.json`` as it may leave; empty where there is none.
        commands: that made it, without paths and tokens.
        base_model: as the user gave it.
        groups: training images by skin type, or by value of what else is scarce.
        base_licence: of a base model that is not known here, as the user gave it.
        bases: terms of the base models behind it; all of them allow the licence.
    """

    corpora: tuple[str, ...]
    terms: tuple[CorpusTerms, ...]
    licence: str
    report: ReportContent
    commands: tuple[str, ...]
    base_model: str | None
    groups: Mapping[str, int]
    base_licence: str | None = None
    bases: tuple[BaseTerms, ...] = ()

    @property
    def report_bytes(self) -> bytes:
        """The run's ``report.json`` as it is pushed."""
        return report_bytes(self.report)

    @property
    def report_sha256(self) -> str:
        """Hash of :attr:`report_bytes`, "" where there is no report."""
        return hashlib.sha256(self.report_bytes).hexdigest() if self.report else ""

    @property
    def shows_nobody(self) -> bool:
        """Whether all images behind it are computed."""
        return not any(shows_patients(corpus) for corpus in self.corpora)


def find_facts(origin: Origin | None, artefact: Path, licence: str) -> Facts:
    """Return what is known of the origin of an artefact, after judging its licence.

    Raises:
        HubError: the corpora are neither given nor in a run, contradict the run, or forbid the licence.
    """
    origin = origin or Origin()
    run = Path(origin.run) if origin.run else _run_around(artefact)
    if origin.run and run is not None and not (run / "config.yaml").is_file():
        raise HubError(
            f"run: {origin.run} holds no config.yaml; give the output_dir of a run, or leave it out"
        )
    report = leaving_report(run) if run else {}
    trained_on = _corpus_of_run(run, report) if run else None
    corpora = tuple(map(without_folders, origin.corpora)) or ((trained_on,) if trained_on else ())
    if not corpora:
        raise HubError(
            f"corpora: {artefact.name} lies in no run that would tell what it learnt from; give "
            "origin.corpora, such as phantom, fitzpatrick17k, or imagefolder with its corpus_licence"
        )
    if trained_on is not None and trained_on not in corpora:
        raise HubError(
            f"corpora: {', '.join(corpora)} is given, and the run that {artefact.name} lies in learnt from "
            f"{trained_on}; name that too"
        )
    terms = tuple(_terms(corpus, origin.corpus_licence) for corpus in corpora)
    licence = refuse_forbidden(licence, terms)
    commands = origin.commands or _commands(report)
    return Facts(
        corpora=corpora,
        terms=terms,
        licence=licence,
        report=report,
        commands=tuple(without_folders_in_words(command) for command in commands),
        base_model=origin.base_model and model_name(origin.base_model),
        groups=dict(origin.groups),
        base_licence=origin.base_licence,
    )


def on_bases(facts: Facts, bases: Iterable[str], made: Made) -> Facts:
    """Return facts with the terms of the base models behind an artefact, after judging its licence by them.

    Args:
        facts: of :func:`find_facts`.
        bases: ids of the base models, with revisions or without.
        made: what of them the artefact is.

    Raises:
        HubError: the terms of one are not known, or it forbids the licence.
    """
    names = dict.fromkeys(name.partition("@")[0] for name in bases)
    if facts.base_licence and not names:
        raise HubError(f"base_licence: {facts.base_licence!r} is of no base model; leave it out")
    # Of several base models the licence that was given is that of those which are not known.
    given = {name: None if len(names) > 1 and name in BASES else facts.base_licence for name in names}
    found = tuple(dict.fromkeys(base_terms(name, licence) for name, licence in given.items()))
    for terms in found:
        refuse_forbidden(facts.licence, facts.terms, terms, made)
    return replace(facts, bases=found)


def _terms(corpus: str, own_licence: str | None) -> CorpusTerms:
    """Return a corpus' terms; the licence given is that of the corpora that are not known here."""
    try:
        return corpus_terms(corpus)
    except HubError:
        if own_licence is None:
            raise
        return corpus_terms(corpus, own_licence)


def _run_around(artefact: Path) -> Path | None:
    """Return the run folder that an artefact is, or lies in."""
    artefact = real_path(artefact)
    for folder in (artefact, *artefact.parents):
        whole = (folder / "report.json").is_file() or (folder / "stages").is_dir()
        if whole and (folder / "config.yaml").is_file():
            return folder
    return None


def report_bytes(report: ReportContent) -> bytes:
    """Return a ``report.json`` as it leaves: where nothing has to stay, the very bytes of the run."""
    return (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode()


def leaving_report(run: Path) -> ReportContent:
    """Return what may leave of a run's ``report.json``, nothing where it has none.

    Raises:
        HubError: it is no report.
    """
    path = run / "report.json"
    if not path.is_file():
        return {}
    refuse_damaged(path)
    try:
        read = checked_report(parse_json(read_own(run, path.name)), str(path))
        return shared_report(cast(dict[str, Any], read))
    except Malformed as error:
        raise HubError(f"run: {path} cannot be read ({error}); run the study again with --resume") from error


def _corpus_of_run(run: Path, report: ReportContent) -> str | None:
    try:
        config = report.get("config") or parse_yaml(read_own(run, "config.yaml"))
    except Malformed as error:
        raise HubError(f"run: {run / 'config.yaml'} cannot be read ({error})") from error
    corpus = config.get("corpus") if isinstance(config, dict) else None
    if not isinstance(corpus, dict) or not corpus.get("name"):
        return None
    name = str(corpus["name"])
    setting = CORPORA[name].licence_by if name in CORPORA else None
    own = corpus.get(name)
    return (
        f"{name}/{own.get(setting) or '' if isinstance(own, dict) else ''}".rstrip("/") if setting else name
    )


def _commands(report: ReportContent) -> list[str]:
    recipe = report.get("recipe")
    if recipe == "evaluate":  # a command, not a recipe
        return ["skindiff evaluate --config config.yaml"]
    script = shlex.quote(f"recipes/{recipe}.py")
    return [f"accelerate launch {script} --config config.yaml"] if recipe else []
