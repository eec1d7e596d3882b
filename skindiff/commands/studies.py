"""What commands on a corpus share: its settings, the split, and the folder of a run."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from skindiff.api.same_data import CORPUS_FILE, SPLIT_FILE
from skindiff.config import save_config
from skindiff.corpora.parts import PartsConfig
from skindiff.corpora.registry import Corpus, CorpusConfig, find_corpus, refuse_unstated
from skindiff.corpora.splits import Split
from skindiff.runs import RunFolder
from skindiff.study import Study, StudyConfig, open_run, read_corpus
from skindiff.wrong_settings import refuse


@dataclass
class CorpusSettings(StudyConfig):
    """Settings of commands that work on a corpus and its parts."""

    scores: ClassVar[bool] = False
    """Whether a classifier is tested, for which patients must be known, or be said not to be."""
    split: PartsConfig = field(default_factory=PartsConfig)
    """Split into training and test images; a split.yaml that another command wrote is taken too."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        known = {"subset": ("medmnist",), "official": ("medmnist", "table"), "held_out": ("table",)}
        names = known.get(self.split.protocol, (self.corpus.name,))
        if self.corpus.name not in names:
            refuse(
                f"{path}split.protocol: {self.split.protocol} is of {' and '.join(names)} alone; use "
                "fractions"
            )

    def cut(self, corpus: Corpus) -> Split:
        """Return the parts of a corpus; one that is tested on must say whether its patients are known.

        Raises:
            CorpusError, SplitError: that was not said, or the corpus cannot be cut as asked.
        """
        if self.scores and self.split.protocol != "everything":
            refuse_unstated(corpus)
        return self.split.split(corpus.dataset, corpus.attribute)


def open_study(config: CorpusSettings, *products: str) -> Study:
    """Claim the folder of a run, and read, audit, cache and cut the corpus (see :func:`prepare_study`).

    Args:
        config: of the run, the corpus and its parts.
        products: names in the folder that this command makes, which ``--overwrite`` deletes with the run.
    """
    return prepare_study(config, open_run(config, CORPUS_FILE, SPLIT_FILE, *products))


def prepare_study(config: CorpusSettings, run: RunFolder) -> Study:
    """Read, audit, cache and cut the corpus; leave what the next command needs to see the same.

    ``corpus.yaml`` and ``split.yaml`` in the run's folder are what ``--corpus`` and ``--split`` take.

    Raises:
        CorpusError, SplitError: the corpus cannot be read or cut as asked.
    """
    corpus, split = read_corpus(config.corpus, run, config.cut)
    if run.accelerator.is_main_process:
        save_config(config.split, run.path / SPLIT_FILE)
        save_config(_reusable(config.corpus, run.path), run.path / CORPUS_FILE)
    return Study(run, corpus, split, config.split.seed)


def same_data(folder: Path) -> list[str]:
    """Return the words that make another command see the corpus and the split of the run in ``folder``."""
    return ["--corpus", str(folder / CORPUS_FILE), "--split", str(folder / SPLIT_FILE)]


def _reusable(corpus: CorpusConfig, folder: Path) -> CorpusConfig:
    """Return the settings of a corpus that find its cache and its audit again."""
    found = replace(corpus, cache_dir=corpus.cache_dir or str(folder / "cache"))
    audit_csv, audited = folder / "audit.csv", not find_corpus(corpus.name).not_audited
    if audited and not corpus.own.audit_csv and audit_csv.is_file():
        setattr(found, corpus.name, replace(corpus.own, audit_csv=str(audit_csv)))
    return found
