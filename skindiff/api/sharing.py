"""Putting results on the Hub, from a notebook."""

import tempfile
from pathlib import Path
from typing import Any

from skindiff.api.evaluation import EvaluationReport
from skindiff.api.generators import generator_of
from skindiff.api.synthesis import SyntheticDataset
from skindiff.classification.networks import SkinClassifier
from skindiff.errors import ConfigError
from skindiff.hub.artefact import find_artefact, push_artefact
from skindiff.hub.client import Pushed
from skindiff.hub.origin import Origin


def push(
    artefact: Any, repo_id: str, licence: str | None = None, public: bool = False, **settings: Any
) -> Pushed:
    """Put an artefact on the Hub, with a card; it is private unless you say otherwise.

    Example:
        >>> skindiff.push(pipeline, "OWNER/skin-lora", licence="cc-by-nc-4.0")
        >>> skindiff.push("runs/evaluate", "OWNER/results", licence="cc-by-4.0")

    Args:
        artefact: what :func:`skindiff.load`, a training, :func:`skindiff.generate`,
            :func:`skindiff.transfer` or :func:`skindiff.evaluate` returned, or the folder of a run.
        repo_id: ``owner/name``.
        licence: as the Hub names it; one that the licence of the corpus forbids is refused.
        public: make the repository public.
        settings: ``origin``, ``override``, ``leave_out_copies``, ``arm``, ``sources``, ``held_out``: see
            :func:`~skindiff.hub.artefact.push_artefact`.

    Raises:
        ConfigError: the artefact cannot be pushed, or the licence is not given.
        HubError: a gate refuses it, or the Hub does not take it.
    """
    if not licence:
        raise ConfigError("licence is not given: name one that the corpus allows, such as cc-by-nc-4.0")
    with tempfile.TemporaryDirectory() as place:
        kind, folder = find_artefact(_folder(artefact, Path(place)))
        origin = settings.pop("origin", Origin())
        if isinstance(artefact, SyntheticDataset):
            settings.setdefault("sources", artefact.sources)
        return push_artefact(
            kind, folder, repo_id, licence=licence, private=not public, origin=origin, **settings
        )


def _folder(artefact: Any, place: Path) -> str:
    """Return the folder of an artefact, written now if it is in memory alone."""
    if isinstance(artefact, str | Path):
        return str(artefact)
    if isinstance(artefact, SyntheticDataset | EvaluationReport):
        return str(artefact.folder)
    if isinstance(artefact, SkinClassifier):
        return str(artefact.save(place / "classifier"))
    known = generator_of(artefact)
    return str(known.adapter.folder if known.adapter else known.place.model)
