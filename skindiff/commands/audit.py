"""``skindiff audit``: what is wrong with the images of a folder, before anything is trained on them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import complain, say, suggest
from skindiff.config import parse_config
from skindiff.corpora.audit import AuditConfig, audit_images, write_audit
from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.registry import CORPORA, CorpusConfig, find_corpus
from skindiff.corpora.table import KEPT_STATUSES
from skindiff.errors import CorpusError
from skindiff.files import write_atomically
from skindiff.wrong_settings import refuse

AUDIT_FILE, PAGE_FILE = "audit.csv", "audit.html"


@dataclass
class AuditCommand:
    """Find undecodable, tiny, constant and near-duplicate images, and write a csv that every corpus takes as
    its audit_csv, and a page of what to look at.

    skindiff audit imagefolder --data_dir DIR --output_dir runs/audit
    skindiff audit corpus.yaml  (as skindiff data check wrote it)
    """

    corpus: str = "imagefolder"
    """How the folder is laid out: fitzpatrick17k, ham10000, imagefolder, table, or as a plugin's corpus; or a
    file of a corpus' settings."""
    data_dir: str = ""
    """Folder of the corpus."""
    output_dir: str = "runs/audit"
    """Folder for audit.csv and the page, audit.html; those of an earlier audit are replaced."""
    label_errors: bool = False
    """Look for labels that may be wrong and for images that are off topic, too, by the features of a frozen
    network (lite0); needs what the corpus says of labels."""
    include_images: bool = False
    """Put thumbnails of the images into the page, which then shows patients."""
    cache_dir: str = "runs/cache"
    """Folder that keeps what was found of each image for the next call."""
    audit: AuditConfig = field(default_factory=AuditConfig)
    """When an image is too small or constant, and when two are near-duplicates."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        name = self.settings().name
        if reason := find_corpus(name, f"{path}corpus").not_audited:
            audited = ", ".join(name for name, corpus in CORPORA.items() if not corpus.not_audited)
            refuse(f"{path}corpus: {name} is not audited: {reason}; choose from {audited}")
        if self.data_dir and _is_file(self.corpus):
            refuse(f"{path}data_dir: {self.corpus} says where the images are; leave the setting out")
        if not self.data_dir and not _is_file(self.corpus):
            refuse(f"{path}data_dir is not given: name the folder that holds the images")
        if Path(self.output_dir).is_file():
            refuse(f"{path}output_dir: {self.output_dir} is a file; name a folder, which gets audit.csv")
        self.audit.validate(f"{path}audit.")

    def settings(self) -> CorpusConfig:
        """Return the settings of the corpus: those of the file, or of its name and ``data_dir``."""
        if _is_file(self.corpus):
            return parse_config(CorpusConfig, [], default=Path(self.corpus))
        corpus = find_corpus(self.corpus, "corpus")
        own = None if corpus.not_audited else corpus.config_class(data_dir=self.data_dir)
        config = CorpusConfig(self.corpus)
        setattr(config, self.corpus, own)
        return config


def main(words: Sequence[str]) -> int:
    """Audit a folder."""
    config = parse_command(AuditCommand, words, "audit", positional=["corpus"])
    from skindiff.report.audit_page import render_audit  # seconds of PyTorch, which --help does without

    corpus = config.settings()
    paths = _paths(corpus)
    if not paths:
        raise CorpusError(
            f"data_dir: {corpus.own.data_dir} has no image file; give the folder that holds them"
        )
    rows = audit_images(paths, config.audit, Path(config.cache_dir))
    output, page = (Path(config.output_dir) / name for name in (AUDIT_FILE, PAGE_FILE))
    write_audit(rows, output)
    suspects = _suspects(corpus, config, output) if config.label_errors else {}
    if suspects:
        rows = [row.flagged(suspects.get(row.image_id, {})) for row in rows]
        write_audit(rows, output)
    write_atomically(page, render_audit(rows, paths if config.include_images else None, list(suspects)))
    found = sorted(Counter(row.status for row in rows).items())
    counts = ", ".join(f"{count} {status}" for status, count in found)
    say(f"{len(rows)} images: {counts}; written to {output}")
    flags = Counter(flag for row in rows for flag in row.flags.split())
    flagged = ", ".join(f"{count} {flag}" for flag, count in sorted(flags.items()))
    if unfit := [row for row in rows if row.status not in KEPT_STATUSES]:
        more = f", and {len(unfit) - 1} more" if len(unfit) > 1 else ""
        complain(f"warning: cannot be used: {unfit[0].image_id} ({unfit[0].status}: {unfit[0].reason}){more}")
    say(f"to look at: {flagged or 'nothing is flagged'}; see {page}")
    if _is_file(config.corpus):
        places = ["--corpus", config.corpus]
    else:
        places = ["--corpus.name", corpus.name, f"--corpus.{corpus.name}.data_dir", config.data_dir]
    suggest(["skindiff", "train", "lora", *places, f"--corpus.{corpus.name}.audit_csv", str(output)])
    return 0


def _suspects(corpus: CorpusConfig, config: AuditCommand, audit_csv: Path) -> dict[str, dict[str, str]]:
    """Return what the features of a network say against images that can be used: flags with reasons."""
    # Seconds of PyTorch, for this alone.
    from skindiff.classification.suspects import IMAGE_SIZE, find_suspects, suspect_flags

    cache_dir = Path(config.cache_dir)
    loaded = find_corpus(corpus.name).load(replace(corpus.own, audit_csv=str(audit_csv)))
    images = resize_to_cache(loaded.dataset, IMAGE_SIZE, cache_dir, bit_depth=config.audit.bit_depth).dataset
    return suspect_flags(find_suspects(images, cache_dir / "features"))


def _is_file(corpus: str) -> bool:
    return corpus.endswith((".yaml", ".yml"))


def _paths(config: CorpusConfig) -> dict[str, Path]:
    corpus = find_corpus(config.name)
    if corpus.files is not None:
        return corpus.files(Path(config.own.data_dir))
    loaded = corpus.load(config.own)
    for warning in loaded.warnings:
        complain(f"warning: {warning}")
    return loaded.paths()
