"""``skindiff push ARTEFACT OWNER/NAME``: put on the Hub what a command has left in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skindiff.api.sharing import push
from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import say, suggest
from skindiff.hub.artefact import Kind, find_artefact
from skindiff.hub.origin import Origin
from skindiff.wrong_settings import refuse


@dataclass
class PushCommand:
    """Put an adapter, pipeline, classifier, synthetic data set or report of a run on the Hub, with a card.

    It is private unless you say otherwise. Log in first (hf auth login).

    skindiff push runs/lora OWNER/NAME --licence cc-by-nc-4.0
    """

    artefact: str = ""
    """Folder of a run of skindiff, or of what is in it; bundled for the pipeline in this package."""
    repo_id: str = ""
    """Where it goes: owner/name."""
    licence: str = ""
    """Its licence, as the Hub names it; one that a corpus or the base model forbids is refused."""
    kind: Kind | None = None
    """What is pushed: adapter, pipeline, classifier, synthetic or run; null looks into the folder."""
    public: bool = False
    """Make the repository public."""
    override: str | None = None
    """Reason to publish near copies of sources (or images of the corpus) anyway; it goes into the card."""
    leave_out_copies: bool = False
    """Push a synthetic data set without its near copies of sources."""
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
                refuse(f"{path}{name} is not given: {way_out}")


def main(words: Sequence[str]) -> int:
    """Push what the first word names."""
    config = parse_command(PushCommand, words, "push", positional=["artefact", "repo_id"])
    kind, folder = find_artefact(config.artefact, config.kind)
    pushed = push(
        config.artefact, config.repo_id, config.licence, config.public, kind=config.kind,
        override=config.override, leave_out_copies=config.leave_out_copies, arm=config.arm,
        origin=config.origin, tell=say,
    )  # fmt: skip
    seen = "anybody may see it" if pushed.private is False else "private"
    say(f"{kind} {folder} is at {pushed.url} ({seen}), commit {pushed.revision}")
    if kind == "synthetic":
        _say_what_was_asked(Path(folder))
    if kind in ("adapter", "pipeline"):
        suggest(["skindiff", "sample", "--generator", pushed.repo_id, "--revision", pushed.revision])
    return 0


def _say_what_was_asked(folder: Path) -> None:
    """Say how many images are near copies of sources, and where the threshold comes from."""
    from skindiff.measures.copying.near_copies import load_near_copies

    report = load_near_copies(folder)
    if report is not None and any(row.own_source for row in report.rows):
        say(
            f"near copies of sources: {len(report.copies)} of {len(report.rows)} images, at similarity "
            f"{report.threshold} or more ({report.basis})"
        )
