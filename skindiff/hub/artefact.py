"""What a folder holds that can be pushed, and the push of each kind."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from skindiff.errors import ConfigError
from skindiff.escaping import visible
from skindiff.foreign import parse_json
from skindiff.hub.client import Pushed
from skindiff.hub.leaving import Kind
from skindiff.hub.staging import read_own

logger = logging.getLogger(__name__)

_MARKS: tuple[tuple[Kind, str], ...] = (
    ("adapter", "tokens.json"),
    ("pipeline", "model_index.json"),
    ("classifier", "classifier.json"),
    ("synthetic", "synthetic-*.parquet"),
)
"""What is in a folder of each kind; the run of a command holds one of them in a folder of its own."""
_PLACES = (".", "adapter", "pipeline", "classifier", "data")
_TAKEN: dict[str, tuple[str, ...]] = {
    "adapter": (),
    "pipeline": (),
    "classifier": ("arm",),
    "synthetic": ("override", "leave_out_copies", "sources", "held_out"),
    "run": ("override",),
}
"""Settings of each kind, besides those of all."""


def find_artefact(artefact: str, kind: Kind | None = None) -> tuple[Kind, str]:
    """Return what a folder holds and where in it.

    Args:
        artefact: folder of a run or of an artefact, or ``bundled``.
        kind: what to look for, where a run holds several.

    Raises:
        ConfigError: it holds nothing that can be pushed.
    """
    if artefact == "bundled":
        return "pipeline", artefact
    root = Path(artefact)
    if not root.is_dir():
        raise ConfigError(f"artefact: {artefact} is no folder; give the output_dir of a run")
    if kind == "run":
        return "run", artefact
    for name, mark in _MARKS:
        for place in _PLACES:
            if kind in (None, name) and any((root / place).glob(mark)):
                return name, str(root / place)
    if kind is None and (root / "report.json").is_file():
        return "run", artefact
    raise ConfigError(
        f"artefact: {artefact} holds no {kind or ' or '.join(get_args(Kind))} that is finished; give the "
        "output_dir of a run"
    )


def class_words(kind: Kind, folder: str) -> list[str]:
    """Return the names of classes that leave with an artefact: its user has chosen them, and publishes them.

    Raises:
        HubError: the file that holds them is a link, or absent.
    """
    place = Path(folder)
    if kind == "synthetic":
        import pyarrow.parquet as pq
        from datasets import Features

        shards = sorted(place.glob("synthetic-*.parquet"))
        return list(Features.from_arrow_schema(pq.read_schema(shards[0]))["label"].names) if shards else []
    if folder == "bundled":
        return []
    mark = {"adapter": "tokens.json", "pipeline": "model_index.json", "classifier": "classifier.json"}
    try:
        read = parse_json(read_own(place, mark.get(kind, "report.json")))
        if kind == "run":
            rows = read.get("results", ())
            return list(dict.fromkeys(name for row in rows for name in row.get("per_class_f1", ())))
        return list(map(str, read if kind == "adapter" else read.get("class_names", ())))
    except (ValueError, TypeError, AttributeError):  # what is wrong with it, its push says
        return []


def _warn(text: str) -> None:
    logger.warning("%s", visible(text))


def push_artefact(
    kind: Kind,
    folder: str,
    repo_id: str,
    *,
    licence: str,
    private: bool,
    origin: Any,
    tell: Callable[[str], None] = _warn,
    **settings: Any,
) -> Pushed:
    """Push what :func:`find_artefact` has found.

    Args:
        kind: what it is.
        folder: where it is.
        repo_id: ``owner/name``.
        licence: as the Hub names it.
        private: whether only the owner may see it.
        origin: where it comes from (:class:`~skindiff.hub.origin.Origin`).
        tell: is told the class words that leave, before they do.
        settings: ``arm`` of a classifier, ``override`` of a run or a synthetic data set, and
            ``leave_out_copies``, ``sources`` and ``held_out`` of the latter.

    Raises:
        ConfigError: a setting that this kind does not take.
        HubError: a gate refuses it, or the Hub does not take it.
    """
    from skindiff.hub import push, results, synthetic

    given = {name: value for name, value in settings.items() if value not in (None, False)}
    if odd := sorted(set(given) - set(_TAKEN[kind])):
        raise ConfigError(f"{odd[0]}: a push of the kind {kind!r} does not take it; leave it out")
    functions: dict[str, Any] = {
        "adapter": push.push_adapter,
        "pipeline": push.push_pipeline,
        "classifier": push.push_classifier,
        "run": results.push_run,
        "synthetic": synthetic.push_synthetic,
    }
    own = {name: settings[name] for name in _TAKEN[kind] if name in settings}
    if words := class_words(kind, folder):
        tell(f"class words that leave with it: {', '.join(words)}")
    pushed: Pushed = functions[kind](folder, repo_id, licence=licence, origin=origin, private=private, **own)
    return pushed
