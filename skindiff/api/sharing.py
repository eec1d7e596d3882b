"""Putting results on the Hub, from a notebook."""

import tempfile
from pathlib import Path
from typing import Any

from skindiff.errors import ConfigError
from skindiff.files import at_home
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
        public: let anybody see it.
        settings: ``kind``, what is pushed where a folder holds several; ``origin``, ``override``,
            ``leave_out_copies``, ``arm``, ``sources``, ``held_out``: see
            :func:`~skindiff.hub.artefact.push_artefact`.

    Raises:
        ConfigError: the artefact cannot be pushed, or the licence is not given.
        HubError: a gate refuses it, or the Hub does not take it.
    """
    if not licence:
        raise ConfigError("licence is not given: name one that the corpus allows, such as cc-by-nc-4.0")
    with tempfile.TemporaryDirectory() as place:
        folder_of, known = _folder(artefact, Path(place))
        kind, folder = find_artefact(folder_of, settings.pop("kind", None))
        if kind == "synthetic" and not known:
            from skindiff.api.synthetic_input import real_images

            known = dict(real_images(Path(folder)))
        origin = settings.pop("origin", Origin())
        return push_artefact(
            kind, folder, repo_id, licence=licence, private=not public, origin=origin, **{**known, **settings}
        )


def _folder(artefact: Any, place: Path) -> tuple[str, dict[str, Any]]:
    """Return the folder of an artefact, written now if it is in memory alone, and what is known of it."""
    if isinstance(artefact, str | Path):
        return at_home(str(artefact)), {}
    # What follows loads torch, and the push of a folder need not.
    from skindiff.api.evaluation import EvaluationReport
    from skindiff.api.generators import generator_of
    from skindiff.api.synthesis import SyntheticDataset
    from skindiff.classification.networks import SkinClassifier

    if isinstance(artefact, SyntheticDataset):
        return str(artefact.folder), {"sources": artefact.sources}
    if isinstance(artefact, EvaluationReport):
        return str(artefact.folder), {}
    if isinstance(artefact, SkinClassifier):
        return str(artefact.save(place / "classifier")), {}
    generator = generator_of(artefact)
    return str(generator.adapter.folder if generator.adapter else generator.place.model), {}
