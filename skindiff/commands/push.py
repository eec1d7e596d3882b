"""``skindiff push ARTEFACT OWNER/NAME``: put on the Hub what a command has left in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import say, suggest
from skindiff.errors import ConfigError
from skindiff.hub.client import Pushed
from skindiff.hub.origin import Origin

if TYPE_CHECKING:
    from datasets import Dataset

Kind = Literal["adapter", "pipeline", "classifier", "synthetic", "run"]
_MARKS: tuple[tuple[Kind, str], ...] = (
    ("adapter", "tokens.json"),
    ("pipeline", "model_index.json"),
    ("classifier", "classifier.json"),
    ("synthetic", "synthetic-*.parquet"),
)
"""What is in a folder of each kind; the run of a command holds one of them in a folder of its own."""
_PLACES = (".", "adapter", "pipeline", "classifier", "data")


@dataclass
class PushCommand:
    """Put an adapter, pipeline, classifier, drawn data set or report of a run on the Hub, with a card.

    It is private unless you say otherwise. Log in first (hf auth login).

    skindiff push runs/lora OWNER/NAME --licence cc-by-nc-4.0
    """

    artefact: str = ""
    """Folder of a run of skindiff, or of what is in it; bundled for the pipeline in this package."""
    repo_id: str = ""
    """Where it goes: owner/name."""
    licence: str = ""
    """Its licence, as the Hub names it; one that the licence of the corpus forbids is refused."""
    kind: Kind | None = None
    """What is pushed: adapter, pipeline, classifier, synthetic or run; null looks into the folder."""
    public: bool = False
    """Let anybody see it."""
    override: str | None = None
    """In words, why near copies of sources (or pictures of the corpus) may leave all the same."""
    leave_out_copies: bool = False
    """Push a drawn data set without its near copies of sources."""
    arm: str | None = None
    """Arm that a classifier was trained on, such as real+syn: the card quotes its scores alone."""
    origin: Origin = field(default_factory=Origin)
    """Where it comes from; what is left out is read from the run that it lies in."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        for name, way_out in (
            ("artefact", "name the folder of a run"),
            ("repo_id", "say where it goes: owner/name"),
            ("licence", "name one that the corpus allows, such as --licence cc-by-nc-4.0"),
        ):
            if not getattr(self, name):
                raise ConfigError(f"{path}{name} is not given: {way_out}")


def main(words: Sequence[str]) -> int:
    """Push what the first word names."""
    config = parse_command(PushCommand, words, "push", positional=["artefact", "repo_id"])
    kind, folder = find_artefact(config.artefact, config.kind)
    pushed = _push(config, kind, folder)
    seen = "anybody may see it" if pushed.private is False else "private"
    say(f"{kind} {folder} is at {pushed.url} ({seen}), commit {pushed.revision}")
    if kind == "synthetic":
        _say_what_was_asked(Path(folder))
    if kind in ("adapter", "pipeline"):
        suggest(["skindiff", "sample", "--generator", pushed.repo_id, "--revision", pushed.revision])
    return 0


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


def _push(config: PushCommand, kind: Kind, folder: str) -> Pushed:
    from skindiff.hub import push, results, synthetic

    private = not config.public
    if kind == "adapter":
        return push.push_adapter(
            folder, config.repo_id, licence=config.licence, origin=config.origin, private=private
        )
    if kind == "pipeline":
        return push.push_pipeline(
            folder, config.repo_id, licence=config.licence, origin=config.origin, private=private
        )
    if kind == "classifier":
        return push.push_classifier(
            folder,
            config.repo_id,
            licence=config.licence,
            arm=config.arm,
            origin=config.origin,
            private=private,
        )
    if kind == "run":
        return results.push_run(
            folder,
            config.repo_id,
            licence=config.licence,
            override=config.override,
            origin=config.origin,
            private=private,
        )
    return synthetic.push_synthetic(
        folder,
        config.repo_id,
        licence=config.licence,
        **_real_images(Path(folder)),
        override=config.override,
        leave_out_copies=config.leave_out_copies,
        origin=config.origin,
        private=private,
    )


def _say_what_was_asked(folder: Path) -> None:
    """Say how many images are near copies of sources, and where the threshold comes from."""
    from skindiff.measures.copying.near_copies import load_near_copies

    report = load_near_copies(folder)
    if report is not None and any(row.own_source for row in report.rows):
        say(
            f"near copies of sources: {len(report.copies)} of {len(report.rows)} images, at similarity "
            f"{report.threshold} or more ({report.basis})"
        )


def _real_images(folder: Path) -> "dict[str, Dataset | None]":
    """Return what a drawn data set is compared with, if the run that read the corpus lies around its folder.

    Where it is not recorded what taught the generator, none of the corpus is known to be unseen.
    """
    from skindiff.commands.data import RECORD, corpus_of_run
    from skindiff.commands.synthetic_input import images_shown
    from skindiff.synthesis.writer import load_synthetic

    run = folder.parent
    found = corpus_of_run(run)
    if found is None:
        return {"sources": None, "held_out": None}
    corpus, split = found[0].dataset, found[1]
    if not (run / RECORD).is_file():
        return {"sources": corpus, "held_out": None}
    shown = images_shown(load_synthetic(folder), corpus, split, run / RECORD)
    return {"sources": shown, "held_out": corpus.select(split.tested)}
