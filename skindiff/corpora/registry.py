"""The table of corpora, and any of them by name: read, audited, resized into the cache, ready to be split."""

import logging
import os
import shlex
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from datasets import Dataset

from skindiff.corpora.attribute import SKIN_TYPE, Attribute, with_attributes
from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.crops import CENTRE, CROPS, REGIONS, Crop, CropKind, Frame
from skindiff.corpora.fitzpatrick17k import FITZPATRICK17K
from skindiff.corpora.ham10000 import HAM10000
from skindiff.corpora.imagefolder import IMAGEFOLDER
from skindiff.corpora.medmnist import MEDMNIST
from skindiff.corpora.phantom import PHANTOM
from skindiff.corpora.rows import CorpusCounts
from skindiff.corpora.table import CorpusEntry, LoadedCorpus
from skindiff.corpora.table_corpus.loader import TABLE
from skindiff.corpora.table_corpus.sources import HUB_ID
from skindiff.errors import ConfigError, CorpusError
from skindiff.plugins import note_registered
from skindiff.wrong_settings import judge, refuse

logger = logging.getLogger(__name__)
AUDIT_FILE, PAIRS_FILE = "audit.csv", "near_duplicates.json"
_PLACES = ("data_dir", "csv", "audit_csv")
"""Settings of corpora that are paths."""

CORPORA: dict[str, CorpusEntry] = {
    corpus.name: corpus
    for corpus in (
        PHANTOM,
        FITZPATRICK17K,
        HAM10000,
        MEDMNIST,
        IMAGEFOLDER,
        TABLE,
    )
}
"""Every corpus by name; each is declared at the end of its own file."""


def find_corpus(name: str, setting: str = "corpus.name") -> CorpusEntry:
    """Return a corpus of the table.

    Args:
        name: of the corpus.
        setting: that names it, for the message.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in CORPORA and Path(name).is_dir():
        raise ConfigError(
            f"{setting}: {name!r} is a folder; `skindiff data check {shlex.quote(name)}` says how it is "
            "read and writes corpus.yaml: --corpus corpus.yaml, or skindiff audit corpus.yaml"
        )
    if name not in CORPORA:
        raise ConfigError(
            f"{setting}: {name!r} is no corpus; choose from {', '.join(CORPORA)}, or add --plugin "
            "MODULE if a plugin brings it"
        )
    return CORPORA[name]


def shows_patients(name: str | None) -> bool:
    """Return whether images of a corpus may show patients; those of a corpus that is not known may."""
    return name not in CORPORA or CORPORA[name].shows_patients


def register_corpus(corpus: CorpusEntry) -> None:
    """Add a corpus to the table; its settings are then ``corpus.<name>.*`` in YAML and on the command line.

    A plugin calls this when it is imported (see :mod:`skindiff.plugins`).

    Raises:
        ConfigError: the name is taken or cannot be one, or settings that an audit needs are not declared.
    """
    where = f"register_corpus: {corpus.name!r}"
    if corpus.name in CORPORA:
        raise ConfigError(f"{where} is taken by a corpus that is there; choose another name")
    if not corpus.name.isidentifier() or hasattr(CorpusConfig, corpus.name):
        raise ConfigError(f"{where} cannot be the name of a setting; choose another of letters and _")
    declared = {item.name for item in fields(corpus.config_class)}
    if corpus.name in {item.name for item in fields(_CommonSettings)}:
        raise ConfigError(f"{where} is a setting of every corpus; choose another name")
    if not corpus.not_audited and not {"data_dir", "audit_csv"} <= declared:
        raise ConfigError(
            f"{where} is audited, so its settings need data_dir and audit_csv; declare them, or say in "
            "not_audited why it is not"
        )
    CORPORA[corpus.name] = corpus
    _give_fields()
    note_registered(corpus.name)


@dataclass
class _CommonSettings:
    """Where the images come from, and at which size they are kept."""

    name: str = "phantom"
    """phantom is bundled; fitzpatrick17k, ham10000, medmnist and imagefolder (a folder for each class) read a
    folder of yours, table any table with its images; plugins bring others."""
    image_size: int = 64
    """Side in pixels of the square that is kept of each image."""
    audit: bool = True
    """Look for near-duplicates first and keep each cluster on one side of every split; needs
    "skindiff[audit]" and is skipped for phantom, whose groups are known, for medmnist, whose parts are
    official (its deduplicated splits leave twins out), for data sets of the Hub, which must bring a group_id,
    and where an audit_csv is given."""
    cache_dir: str | None = None
    """Folder of the resized images and of the audit's features; null is <output_dir>/cache."""
    attribute: Attribute = field(default_factory=Attribute)
    """What is scarce, skin types if left out: scenarios, transfers, prompts and groups of reports follow
    it."""
    crop: CropKind = "centre"
    """Which part of each picture becomes its square: the middle (centre); all of it, squeezed (stretch) or
    with borders of the mean colour of its rim (pad); all but what is over the nearest usual shape, such as
    4:3, with such borders, in whose place diffusion models see batches of that shape (longest); a square
    around the box or the mask that a table gives (box, mask)."""
    crop_margin: float = 0.25
    """Of the crops box and mask: how much is added on each side, as a part of the longer side."""
    bit_depth: int | None = None
    """Bits that 16-bit samples use (9 to 16), where the files do not say it or say it wrongly; null takes
    what they say, and 16 otherwise."""


class CorpusConfig(_CommonSettings):
    """Where the images come from, and at which size they are kept; each corpus of the table has a field."""

    if TYPE_CHECKING:  # what _give_fields makes from the table

        def __init__(
            self,
            name: str = "phantom",
            image_size: int = 64,
            audit: bool = True,
            cache_dir: str | None = None,
            attribute: Attribute = ...,
            crop: CropKind = "centre",
            crop_margin: float = 0.25,
            bit_depth: int | None = None,
            **settings: Any,
        ) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        if not 16 <= self.image_size <= 1024:
            refuse(f"{path}image_size: {self.image_size} is outside 16 to 1024 pixels")
        if self.crop not in CROPS:
            refuse(f"{path}crop: {self.crop!r} is none of {', '.join(CROPS)}")
        if not 0 <= self.crop_margin <= 4:
            refuse(f"{path}crop_margin: {self.crop_margin} is outside 0 to 4 of the longer side")
        if self.bit_depth is not None and not 9 <= self.bit_depth <= 16:
            refuse(f"{path}bit_depth: {self.bit_depth} is outside 9 to 16 bits")
        corpus = find_corpus(self.name, f"{path}name")
        judge(self.attribute.validate, f"{path}attribute.")
        if self.own is None:
            needed = needed_settings(corpus)[0]
            hint = "name the folder that holds the images" if needed == "data_dir" else "give it"
            refuse(f"{path}{self.name}.{needed} is not given: {hint}")
        self.own.validate(f"{path}{self.name}.")

    def look(self, path: str = "") -> None:
        """Refuse a folder or table of the chosen corpus that is not there, before anything else is asked for.

        Raises:
            ConfigError: one is not, and the settings are not judged together.
        """
        for name in _PLACES:
            place = getattr(self.own, name, None)
            if isinstance(place, str) and not os.path.exists(place) and not self._on_hub(name, place):
                refuse(f"{path}{self.name}.{name}: there is no {place}; give the path of one that is there")

    def _on_hub(self, name: str, place: str) -> bool:
        return self.name == TABLE.name and name == "data_dir" and HUB_ID.fullmatch(place) is not None

    def idle(self) -> dict[str, str]:
        """Return the settings of other corpora, which change nothing."""
        idle = {name: f"corpus.name is {self.name}" for name in CORPORA if name != self.name}
        if self.crop not in REGIONS:
            idle["crop_margin"] = f"corpus.crop is {self.crop}"
        return idle

    @property
    def own(self) -> Any:
        """The chosen corpus' own settings; None where it needs some and none are given."""
        return getattr(self, self.name)

    @property
    def channels(self) -> int:
        """1 for a corpus known to be grey (its table holds three equal channels), and 3 otherwise."""
        return find_corpus(self.name).channels(self.own)


def needed_settings(corpus: CorpusEntry) -> list[str]:
    """Return the settings without which a corpus cannot be read."""
    return [
        item.name
        for item in fields(corpus.config_class)
        if item.default is MISSING and item.default_factory is MISSING
    ]


def _give_fields() -> None:
    """Give :class:`CorpusConfig` a field for each corpus of the table, in its order.

    In place, so that a config that was declared with it before a corpus was registered has the new field.
    """
    own: list[tuple[str, Any, Any]] = []
    for corpus in CORPORA.values():
        if needed_settings(corpus):
            own.append((corpus.name, corpus.config_class | None, field(default=None)))
        else:
            own.append((corpus.name, corpus.config_class, field(default_factory=corpus.config_class)))
    made = make_dataclass("CorpusConfig", own, bases=(_CommonSettings,))
    for name in ("__init__", "__repr__", "__eq__", "__match_args__", "__dataclass_fields__"):
        setattr(CorpusConfig, name, getattr(made, name))
    CorpusConfig.__annotations__ = dict(made.__annotations__)
    said = "".join(f"\n    {name}: The corpus {name}." for name in CORPORA)
    CorpusConfig.__doc__ = f"{_CommonSettings.__doc__}\n\nArgs:{said}"


_give_fields()


@dataclass(frozen=True)
class Corpus:
    """A corpus in the cache: every image decoded, of one size, with its group.

    ``missing`` are files that the corpus names and the folder lacks, ``quarantined`` images that cannot be
    used, with the reason; ``fingerprint`` changes with any pixel or column; ``warnings`` say what was given
    and is not used, and how images were read; ``ungrouped`` images are of unknown patients, and ``unstated``
    is what has to be said before rows are split or scored (:func:`refuse_unstated`); ``attribute`` is what is
    scarce. ``frames`` say where the square of an image lies in its picture, unless it is the middle one,
    and ``crop`` which it is. ``config`` is what it was read by, and ``home`` holds its files, where it came
    from a call of the API.
    """

    dataset: Dataset
    missing: list[str]
    quarantined: list[tuple[str, str]]
    fingerprint: str
    warnings: list[str] = field(default_factory=list)
    ungrouped: int = 0
    unstated: str = ""
    attribute: Attribute = SKIN_TYPE
    frames: dict[str, Frame] = field(default_factory=dict, repr=False)
    crop: CropKind = "centre"
    config: "CorpusConfig | None" = field(default=None, compare=False, repr=False)
    home: Any = field(default=None, compare=False, repr=False)

    def kept_in(self, home: Any, config: "CorpusConfig") -> "Corpus":
        """Return the corpus as it holds what its files belong to, and knows what it was read by."""
        return replace(self, home=home, config=config)

    @property
    def image_size(self) -> int:
        """Height and width of every image in pixels."""
        side: int = self.dataset[0]["image"].size[0]
        return side

    def audit(self) -> pd.DataFrame:
        """Return what the audit found: ``image_id``, ``status``, ``group_id``, ``reason``, ``flags`` and
        ``remarks`` of every image.

        Raises:
            CorpusError: the corpus was not audited.
        """
        place = self.home.path / AUDIT_FILE if self.home else None
        if place is None or not place.is_file():
            raise CorpusError(
                "audit: this corpus was not audited; load it from files with audit=True, or run skindiff "
                "audit"
            )
        return pd.read_csv(place, keep_default_na=False, dtype=str)

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of their codes."""
        names: list[str] = self.dataset.features["label"].names
        return names

    def counts(self) -> CorpusCounts:
        """Return how many images were kept, missing and quarantined, and how many groups there are.

        ``ungrouped`` is among them where the patient or lesion of some images is not known.
        """
        counts: CorpusCounts = {
            "images": len(self.dataset),
            "groups": len(set(self.dataset["group_id"][:])),
            "missing": len(self.missing),
            "quarantined": len(self.quarantined),
        }
        if self.ungrouped:
            counts["ungrouped"] = self.ungrouped
        return counts


def prepare_corpus(
    config: CorpusConfig,
    folder: Path,
    check: Callable[[Corpus], object] | None = None,
    kept: Path | None = None,
) -> Corpus:
    """Read, audit and cache a corpus; lists of what is missing or quarantined are written to ``folder``.

    Args:
        config: which corpus.
        folder: of the run; ``audit.csv``, ``near_duplicates.json``, ``missing.txt`` and ``quarantined.csv``
            come here, and the cache where the config names no other.
        check: is given the corpus as its table has it before any image is read, where an audit follows that
            can only join groups and leave images out; raises what the table alone decides.
        kept: folder of near-duplicates that an audit takes as found (see
            :func:`~skindiff.corpora.audit.audit_with_pairs`).

    Raises:
        ConfigError: a setting cannot work.
        CorpusError: the folder, the csv, the archive or a column is missing, a class is unknown, or no image
            is left.
    """
    config.validate("corpus.")
    cache_dir = Path(config.cache_dir) if config.cache_dir else folder / "cache"
    loaded = _audited(config, folder, cache_dir, check, kept)
    crop = _crop(config, loaded)
    cached = resize_to_cache(
        loaded.dataset, config.image_size, cache_dir, crop=crop, bit_depth=config.bit_depth
    )
    quarantined = [*loaded.quarantined, *cached.quarantined]
    replace(loaded, quarantined=quarantined).write_lists(folder)
    ungrouped = len(loaded.ungrouped.intersection(cached.dataset["image_id"][:]))
    warnings = [*loaded.warnings, *cached.warnings]
    corpus = Corpus(
        cached.dataset, loaded.missing, quarantined, cached.fingerprint, warnings, ungrouped,
        loaded.unstated, config.attribute, cached.frames, config.crop,
    )  # fmt: skip
    if os.environ.get("RANK", "0") == "0":
        for warning in (*corpus.warnings, *patients_unknown(corpus.counts())):
            logger.warning("%s", warning)
    return corpus


def _crop(config: CorpusConfig, loaded: LoadedCorpus) -> Crop:
    """Return how pictures become squares.

    Raises:
        CorpusError: it is to be around a part of them, of which the corpus says nothing.
    """
    if config.crop == "centre":
        return CENTRE
    regions = getattr(loaded, REGIONS[config.crop]) if config.crop in REGIONS else {}
    if config.crop in REGIONS and not regions:
        raise CorpusError(
            f"corpus.crop: {config.crop} needs a {config.crop} for each image, and {config.name} has none; "
            "name its columns in a table, or take centre, pad or longest"
        )
    return Crop(config.crop, config.crop_margin, regions)


def patients_unknown(counts: CorpusCounts) -> list[str]:
    """Return the warning about a corpus whose patients are unknown, so that a split may cut through them.

    Args:
        counts: of :meth:`Corpus.counts`.
    """
    if not (ungrouped := counts.get("ungrouped")):
        return []
    return [
        f"Patients unknown: leakage not excluded. {ungrouped} of {counts['images']} images come without a "
        "patient or lesion (group_id), so images of one patient may stand in training and test at once."
    ]


def refuse_unstated(corpus: Corpus) -> None:
    """Refuse to split or to score a corpus of which it was not said whether patients are known.

    Raises:
        CorpusError: it is.
    """
    if corpus.unstated:
        raise CorpusError(corpus.unstated)


def _audited(
    config: CorpusConfig,
    folder: Path,
    cache_dir: Path,
    check: Callable[[Corpus], object] | None,
    kept: Path | None,
) -> LoadedCorpus:
    """Read a corpus, twice if its images are files that are to be audited in between."""
    corpus, chosen = CORPORA[config.name], config.own
    if "image_size" in {item.name for item in fields(chosen)}:  # a corpus that is rendered, at any size
        chosen = replace(chosen, image_size=config.image_size)
    loaded = _read(config, chosen)
    _crop(config, loaded)  # what it lacks is said before an audit
    if check is not None and not corpus.not_audited:
        check(
            Corpus(
                loaded.dataset, loaded.missing, loaded.quarantined, fingerprint="",
                unstated=loaded.unstated, attribute=config.attribute, config=config,
            )
        )  # fmt: skip
    if not config.audit or corpus.not_audited or chosen.audit_csv:
        return loaded
    paths = loaded.paths()  # none for a data set of the Hub, which brings its own groups
    if paths:
        from skindiff.corpora.audit import AuditConfig, audit_with_pairs, write_audit

        audit_csv, settings = folder / AUDIT_FILE, AuditConfig(bit_depth=config.bit_depth)
        rows, pairs = audit_with_pairs(paths, settings, cache_dir, kept)
        write_audit(rows, audit_csv)
        if pairs is not None:
            pairs.write(folder / PAIRS_FILE)
        loaded = _read(config, replace(chosen, audit_csv=str(audit_csv)))
    return loaded


def _read(config: CorpusConfig, chosen: Any) -> LoadedCorpus:
    """Read a corpus with the columns of its attribute."""
    entry, attribute = CORPORA[config.name], config.attribute
    loaded = entry.load(chosen, attribute.columns) if entry.reads_attributes else entry.load(chosen)
    return with_attributes(loaded, attribute, config.name)
