"""Any corpus by name, read, audited, resized into the cache and ready to be split."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from datasets import Dataset

from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.fitzpatrick17k import Fitzpatrick17kConfig, load_fitzpatrick17k
from skindiff.corpora.imagefolder import ImageFolderConfig, load_imagefolder
from skindiff.corpora.loaded import LoadedCorpus
from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.errors import ConfigError

SourceT = TypeVar("SourceT", Fitzpatrick17kConfig, ImageFolderConfig)


@dataclass
class CorpusConfig:
    """Where the images come from, and at which size they are kept."""

    name: Literal["phantom", "fitzpatrick17k", "imagefolder"] = "phantom"
    """phantom is bundled; fitzpatrick17k and imagefolder read a folder of yours."""
    image_size: int = 64
    """Side in pixels of the centre square that is kept of each image."""
    audit: bool = True
    """Look for near-duplicates first and keep each cluster on one side of every split; needs
    "skindiff[audit]" and is skipped for phantom, whose groups are known, for data sets of the Hub, which must
    bring a group_id, and where an audit_csv is given."""
    cache_dir: str | None = None
    """Folder of the resized images and of the audit's features; null is <output_dir>/cache."""
    phantom: PhantomConfig = field(default_factory=PhantomConfig)
    """The corpus phantom; its image_size is that of the corpus."""
    fitzpatrick17k: Fitzpatrick17kConfig | None = None
    """The corpus fitzpatrick17k."""
    imagefolder: ImageFolderConfig | None = None
    """The corpus imagefolder."""

    def validate(self, path: str = "") -> None:
        """Raise :class:`ConfigError` on the first setting that cannot work."""
        if not 16 <= self.image_size <= 1024:
            raise ConfigError(f"{path}image_size: {self.image_size} is outside 16 to 1024 pixels")
        if self.name == "phantom":
            self.phantom.validate(f"{path}phantom.")
            return
        chosen = self.fitzpatrick17k if self.name == "fitzpatrick17k" else self.imagefolder
        if chosen is None:
            raise ConfigError(
                f"{path}{self.name}.data_dir is not given: name the folder that holds the images"
            )
        chosen.validate(f"{path}{self.name}.")


@dataclass(frozen=True)
class PreparedCorpus:
    """A corpus in the cache: every image decoded, of one size, with its group.

    ``missing`` are files that the corpus names and the folder lacks, ``quarantined`` images that cannot be
    used, with the reason; ``fingerprint`` changes with any pixel or column.
    """

    dataset: Dataset
    missing: list[str]
    quarantined: list[tuple[str, str]]
    fingerprint: str

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of their codes."""
        names: list[str] = self.dataset.features["label"].names
        return names

    def counts(self) -> dict[str, int]:
        """Return how many images were kept, missing and quarantined, and how many groups there are."""
        return {
            "images": len(self.dataset),
            "groups": len(set(self.dataset["group_id"])),
            "missing": len(self.missing),
            "quarantined": len(self.quarantined),
        }


def prepare_corpus(config: CorpusConfig, folder: Path) -> PreparedCorpus:
    """Read, audit and cache a corpus; lists of what is missing or quarantined are written to ``folder``.

    Args:
        config: which corpus.
        folder: of the run; ``audit.csv``, ``missing.txt`` and ``quarantined.csv`` come here, and the cache
            where the config names no other.

    Raises:
        ConfigError: a setting cannot work.
        CorpusError: the folder, the csv or a column is missing, a condition is unknown, or no image is left.
    """
    config.validate("corpus.")
    cache_dir = Path(config.cache_dir) if config.cache_dir else folder / "cache"
    if config.name == "phantom":
        loaded = LoadedCorpus(load_phantom(replace(config.phantom, image_size=config.image_size)), [], [])
    else:
        loaded = _read(config, None)
        paths = loaded.paths()  # none for a data set of the Hub, which brings its own groups
        if config.audit and paths and not _audit_csv(config):
            from skindiff.corpora.audit import AuditConfig, audit_images, write_audit

            audit_csv = folder / "audit.csv"
            write_audit(audit_images(paths, AuditConfig(), cache_dir), audit_csv)
            loaded = _read(config, str(audit_csv))
    cached = resize_to_cache(loaded.dataset, config.image_size, cache_dir)
    quarantined = [*loaded.quarantined, *cached.quarantined]
    replace(loaded, quarantined=quarantined).write_lists(folder)
    return PreparedCorpus(cached.dataset, loaded.missing, quarantined, cached.fingerprint)


def _audit_csv(config: CorpusConfig) -> str | None:
    chosen = config.fitzpatrick17k if config.name == "fitzpatrick17k" else config.imagefolder
    assert chosen is not None
    return chosen.audit_csv


def _read(config: CorpusConfig, audit_csv: str | None) -> LoadedCorpus:
    if config.name == "fitzpatrick17k":
        assert config.fitzpatrick17k is not None
        return load_fitzpatrick17k(_with_audit(config.fitzpatrick17k, audit_csv))
    assert config.imagefolder is not None
    return load_imagefolder(_with_audit(config.imagefolder, audit_csv))


def _with_audit(config: SourceT, audit_csv: str | None) -> SourceT:
    return replace(config, audit_csv=audit_csv) if audit_csv else config
