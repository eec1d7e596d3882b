"""``skindiff audit``: what is wrong with the images of a folder, before anything is trained on them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import complain, say, suggest
from skindiff.corpora.audit import AuditConfig, audit_images, write_audit
from skindiff.corpora.registry import CORPORA, find_corpus
from skindiff.errors import ConfigError, CorpusError


@dataclass
class AuditCommand:
    """Find undecodable, tiny, constant and near-duplicate images, and write a csv that every corpus takes as
    its audit_csv.

    skindiff audit imagefolder --data_dir DIR --output audit.csv
    """

    corpus: str = "imagefolder"
    """How the folder is laid out: fitzpatrick17k, ham10000, imagefolder, or as a plugin's corpus."""
    data_dir: str = ""
    """Folder of the corpus."""
    output: str = "audit.csv"
    """Csv file to write."""
    cache_dir: str = "runs/cache"
    """Folder that keeps what was found of each image for the next call."""
    audit: AuditConfig = field(default_factory=AuditConfig)
    """When an image is too small or constant, and when two are near-duplicates."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if reason := find_corpus(self.corpus, f"{path}corpus").not_audited:
            audited = ", ".join(name for name, corpus in CORPORA.items() if not corpus.not_audited)
            raise ConfigError(f"{path}corpus: {self.corpus} is not audited: {reason}; choose from {audited}")
        if not self.data_dir:
            raise ConfigError(f"{path}data_dir is not given: name the folder that holds the images")
        self.audit.validate(f"{path}audit.")


def main(words: Sequence[str]) -> int:
    """Audit a folder."""
    config = parse_command(AuditCommand, words, "audit", positional=["corpus"])
    paths = _paths(config)
    if not paths:
        raise CorpusError(f"data_dir: {config.data_dir} has no image file; give the folder that holds them")
    rows = audit_images(paths, config.audit, Path(config.cache_dir))
    write_audit(rows, Path(config.output))
    found = sorted(Counter(row.status for row in rows).items())
    counts = ", ".join(f"{count} {status}" for status, count in found)
    say(f"{len(rows)} images: {counts}; written to {config.output}")
    folder = f"--corpus.{config.corpus}"
    places = [f"{folder}.data_dir", config.data_dir, f"{folder}.audit_csv", config.output]
    suggest(["skindiff", "train", "lora", "--corpus.name", config.corpus, *places])
    return 0


def _paths(config: AuditCommand) -> dict[str, Path]:
    corpus = find_corpus(config.corpus)
    if corpus.files is not None:
        return corpus.files(Path(config.data_dir))
    loaded = corpus.load(corpus.config_class(data_dir=config.data_dir))
    for warning in loaded.warnings:
        complain(f"warning: {warning}")
    return loaded.paths()
