"""Any corpus by name, read, audited, resized into the cache and ready to be split."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from datasets import Dataset

from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.fitzpatrick17k import Fitzpatrick17kConfig, load_fitzpatrick17k
from skindiff.corpora.ham10000 import Ham10000Config, load_ham10000
from skindiff.corpora.imagefolder import ImageFolderConfig, load_imagefolder
from skindiff.corpora.loaded import LoadedCorpus
from skindiff.corpora.medmnist import MedMNISTConfig, load_medmnist
from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.errors import ConfigError

logger = logging.getLogger(__name__)

FolderConfig = Fitzpatrick17kConfig | Ham10000Config | ImageFolderConfig


@dataclass
class CorpusConfig:
    """Where the images come from, and at which size they are kept."""

    name: Literal["phantom", "fitzpatrick17k", "ham10000", "medmnist", "imagefolder"] = "phantom"
    """phantom is bundled; the others read a folder of yours."""
    image_size: int = 64
    """Side in pixels of the centre square that is kept of each image."""
    audit: bool = True
    """Look for near-duplicates first and keep each cluster on one side of every split; needs
    "skindiff[audit]" and is skipped for phantom, whose groups are known, for medmnist, whose images are too
    small for it, for data sets of the Hub, which must bring a group_id, and where an audit_csv is given."""
    cache_dir: str | None = None
    """Folder of the resized images and of the audit's features; null is <output_dir>/cache."""
    phantom: PhantomConfig = field(default_factory=PhantomConfig)
    """The corpus phantom; its image_size is that of the corpus."""
    fitzpatrick17k: Fitzpatrick17kConfig | None = None
    """The corpus fitzpatrick17k."""
    ham10000: Ham10000Config | None = None
    """The corpus ham10000."""
    medmnist: MedMNISTConfig = field(default_factory=MedMNISTConfig)
    """The corpus medmnist; image_size resizes what its archive holds."""
    imagefolder: ImageFolderConfig | None = None
    """The corpus imagefolder."""

    def validate(self, path: str = "") -> None:
        """Raise :class:`ConfigError` on the first setting that cannot work."""
        if not 16 <= self.image_size <= 1024:
            raise ConfigError(f"{path}image_size: {self.image_size} is outside 16 to 1024 pixels")
        if self.name == "phantom":
            self.phantom.validate(f"{path}phantom.")
            return
        if self.name == "medmnist":
            self.medmnist.validate(f"{path}medmnist.")
            return
        if self.folder is None:
            raise ConfigError(
                f"{path}{self.name}.data_dir is not given: name the folder that holds the images"
            )
        self.folder.validate(f"{path}{self.name}.")

    @property
    def folder(self) -> FolderConfig | None:
        """The chosen corpus' own settings, if it is a folder of image files."""
        folders: dict[str, FolderConfig | None] = {
            "fitzpatrick17k": self.fitzpatrick17k,
            "ham10000": self.ham10000,
            "imagefolder": self.imagefolder,
        }
        return folders.get(self.name)

    @property
    def channels(self) -> int:
        """1 for a corpus known to be grey (its table holds three equal channels), and 3 otherwise."""
        return self.medmnist.channels if self.name == "medmnist" else 3


@dataclass(frozen=True)
class PreparedCorpus:
    """A corpus in the cache: every image decoded, of one size, with its group.

    ``missing`` are files that the corpus names and the folder lacks, ``quarantined`` images that cannot be
    used, with the reason; ``fingerprint`` changes with any pixel or column; ``warnings`` say what was given
    and is not used; ``ungrouped`` images are of unknown patients.
    """

    dataset: Dataset
    missing: list[str]
    quarantined: list[tuple[str, str]]
    fingerprint: str
    warnings: list[str] = field(default_factory=list)
    ungrouped: int = 0

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of their codes."""
        names: list[str] = self.dataset.features["label"].names
        return names

    def counts(self) -> dict[str, int]:
        """Return how many images were kept, missing and quarantined, and how many groups there are.

        ``ungrouped`` is among them where the patient or lesion of some images is not known.
        """
        counts = {
            "images": len(self.dataset),
            "groups": len(set(self.dataset["group_id"])),
            "missing": len(self.missing),
            "quarantined": len(self.quarantined),
        }
        return counts | ({"ungrouped": self.ungrouped} if self.ungrouped else {})


def prepare_corpus(config: CorpusConfig, folder: Path) -> PreparedCorpus:
    """Read, audit and cache a corpus; lists of what is missing or quarantined are written to ``folder``.

    Args:
        config: which corpus.
        folder: of the run; ``audit.csv``, ``missing.txt`` and ``quarantined.csv`` come here, and the cache
            where the config names no other.

    Raises:
        ConfigError: a setting cannot work.
        CorpusError: the folder, the csv, the archive or a column is missing, a class is unknown, or no image
            is left.
    """
    config.validate("corpus.")
    cache_dir = Path(config.cache_dir) if config.cache_dir else folder / "cache"
    if config.name == "phantom":
        loaded = LoadedCorpus(load_phantom(replace(config.phantom, image_size=config.image_size)), [], [])
    elif config.name == "medmnist":
        loaded = load_medmnist(config.medmnist)
    else:
        loaded = _audited(config, folder, cache_dir)
    cached = resize_to_cache(loaded.dataset, config.image_size, cache_dir)
    quarantined = [*loaded.quarantined, *cached.quarantined]
    replace(loaded, quarantined=quarantined).write_lists(folder)
    ungrouped = len(loaded.ungrouped.intersection(cached.dataset["image_id"]))
    corpus = PreparedCorpus(
        cached.dataset, loaded.missing, quarantined, cached.fingerprint, loaded.warnings, ungrouped
    )
    if os.environ.get("RANK", "0") == "0":
        for warning in (*corpus.warnings, *patients_unknown(corpus.counts())):
            logger.warning("%s", warning)
    return corpus


def patients_unknown(counts: Mapping[str, int]) -> list[str]:
    """Return what must be said of a corpus in which a split may cut through patients nobody has named.

    Args:
        counts: of :meth:`PreparedCorpus.counts`.
    """
    if not (ungrouped := counts.get("ungrouped")):
        return []
    return [
        f"Patients unknown: leakage not excluded. {ungrouped} of {counts['images']} images come without a "
        "patient or lesion (group_id), so images of one patient may stand in training and test at once."
    ]


def _audited(config: CorpusConfig, folder: Path, cache_dir: Path) -> LoadedCorpus:
    """Read a folder of image files, twice if it is to be audited in between."""
    chosen = config.folder
    assert chosen is not None
    loaded = _read(chosen)
    paths = loaded.paths()  # none for a data set of the Hub, which brings its own groups
    if config.audit and paths and not chosen.audit_csv:
        from skindiff.corpora.audit import AuditConfig, audit_images, write_audit

        audit_csv = folder / "audit.csv"
        write_audit(audit_images(paths, AuditConfig(), cache_dir), audit_csv)
        loaded = _read(replace(chosen, audit_csv=str(audit_csv)))
    return loaded


def _read(chosen: FolderConfig) -> LoadedCorpus:
    if isinstance(chosen, Fitzpatrick17kConfig):
        return load_fitzpatrick17k(chosen)
    if isinstance(chosen, Ham10000Config):
        return load_ham10000(chosen)
    return load_imagefolder(chosen)
