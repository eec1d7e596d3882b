"""What a run leaves so that another call sees the same corpus and the same split."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from skindiff.config import parse_config, validate_parts
from skindiff.corpora.parts import PartsConfig
from skindiff.corpora.registry import Corpus, CorpusConfig, prepare_corpus
from skindiff.corpora.splits import Split

CORPUS_FILE, SPLIT_FILE = "corpus.yaml", "split.yaml"


@dataclass
class _Parts:
    """A corpus and its split."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """The images."""
    split: PartsConfig = field(default_factory=PartsConfig)
    """Who trains and who is tested."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        validate_parts(self, path)


def corpus_of_run(folder: Path) -> tuple[Corpus, Split] | None:
    """Return the corpus that a run has read, and its split; None where it read none.

    Raises:
        ConfigError, CorpusError, SplitError: the corpus is no longer where it was, or not what it was.
    """
    files = {"corpus": folder / CORPUS_FILE, "split": folder / SPLIT_FILE}
    if not all(file.is_file() for file in files.values()):
        return None
    with tempfile.TemporaryDirectory() as place:
        nothing = Path(place) / "nothing.yaml"
        nothing.write_text("{}\n", encoding="utf-8")
        given = [word for name, file in files.items() for word in (f"--{name}", str(file))]
        config = parse_config(_Parts, given, default=nothing)
    corpus = prepare_corpus(config.corpus, folder)
    return corpus, config.split.split(corpus.dataset, corpus.attribute)
