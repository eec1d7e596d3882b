"""Corpora and splits, from a notebook."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from skindiff.api.calls import Home, configured
from skindiff.corpora.attribute import Attribute
from skindiff.corpora.crops import CropKind
from skindiff.corpora.parts import PartsConfig, Protocol
from skindiff.corpora.pixel_notes import ImageRefused, ReadingLog
from skindiff.corpora.pixel_reader import read_pixels
from skindiff.corpora.registry import (
    CORPORA,
    Corpus,
    CorpusConfig,
    find_corpus,
    needed_settings,
    prepare_corpus,
    refuse_unstated,
)
from skindiff.corpora.splits import Split
from skindiff.corpora.table_corpus.loader import is_class_folders
from skindiff.errors import ConfigError, CorpusError
from skindiff.files import at_home
from skindiff.launch import undisturbed

logger = logging.getLogger(__name__)


def read_image(path: str | Path, *, bit_depth: int | None = None) -> Image.Image:
    """Return a photograph as every part of skindiff sees it: upright, 8 bits a channel, sRGB, on white.

    It may be JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF, HEIC with ``skindiff[heic]``, and DICOM with
    ``skindiff[dicom]``. What is to be said of it, such as a broken colour profile, is logged.

    Example:
        >>> skindiff.read_image("photo.jpg").size
        (600, 400)

    Args:
        path: of the file.
        bit_depth: bits that 16-bit samples use, 9 to 16; what the file says when left out.

    Raises:
        CorpusError: there is no such file, or it is no image that can be read.
    """
    file = at_home(path)
    try:
        reading = read_pixels(Path(file), bit_depth=bit_depth)
    except ImageRefused as error:
        raise CorpusError(f"path: {path} cannot be read as an image ({error}); check the file") from error
    log = ReadingLog()
    log.add(Path(file).name, reading)
    for said in log.warnings():
        logger.warning("%s", said)
    return reading.image


def load_corpus(
    source: str | Path = "phantom",
    *,
    image_size: int = 64,
    audit: bool = True,
    cache_dir: str | Path | None = None,
    attribute: Mapping[str, Any] | None = None,
    crop: CropKind = "centre",
    crop_margin: float = 0.25,
    bit_depth: int | None = None,
    **settings: Any,
) -> Corpus:
    """Read a corpus: every image decoded, upright, square and of one size, each with its group.

    Example:
        >>> corpus = skindiff.load_corpus("phantom", images_per_class={"I": 12, "VI": 10})
        >>> corpus = skindiff.load_corpus("photos", metadata="photos/clinic.csv", image_size=128)
        >>> corpus = skindiff.load_corpus("clinic", columns={"label": "diagnosis", "patient": "patient_nr"})
        >>> corpus = skindiff.load_corpus(
        ...     "photos", attribute={"column": "sex", "majority": ["male"], "minority": ["female"]}
        ... )
        >>> corpus.class_names, len(corpus.dataset), corpus.warnings

    Args:
        source: name of a corpus (``phantom``, ``fitzpatrick17k``, ``ham10000``, ``medmnist``, those of
            plugins), a folder with a folder of images per class (the corpus ``imagefolder``), or a folder
            with a table of any columns, a table, or the Hub id of a data set (the corpus ``table``).
        image_size: side in pixels of the square that is kept of each image.
        audit: look for near-duplicates first, and keep each cluster on one side of every split.
        cache_dir: folder of the resized images; by default a temporary one, deleted with the corpus.
        attribute: what is scarce: settings of :class:`~skindiff.corpora.attribute.Attribute`. Skin types when
            left out, I and II the majority, V and VI the minority.
        crop: which part of each picture becomes the square: ``centre``, ``stretch``, ``pad``, ``longest``,
            ``box`` or ``mask`` (see :class:`~skindiff.corpora.crops.Crop`).
        crop_margin: of ``box`` and ``mask``: how much is added on each side, as a part of the longer side.
        bit_depth: bits that 16-bit samples use; what the files say when left out.
        settings: of the corpus, such as ``data_dir``, ``metadata``, ``conditions``, ``columns`` or
            ``skin_types``; ``skindiff data check DIR`` says which a folder needs.

    Raises:
        ConfigError: a setting that does not exist or cannot work.
        CorpusError: there is no such corpus, or nothing in it can be used.
    """
    name = str(at_home(source))
    if name not in CORPORA:
        kind = "imagefolder" if is_class_folders(Path(name), set(settings)) else "table"
        settings, name = {"data_dir": name, **settings}, kind
    entry = find_corpus(name, "source")
    given = {"data_dir": str(settings.pop("data_dir"))} if "data_dir" in settings else {}
    if lacking := [setting for setting in needed_settings(entry) if setting not in given]:
        raise ConfigError(f"{lacking[0]}: the corpus {name!r} needs it; name the folder of its images")
    own = entry.config_class(**given)
    home = Home(cache_dir)
    config = CorpusConfig(
        name=name,
        image_size=image_size,
        audit=audit,
        cache_dir=str(home.path),
        crop=crop,
        crop_margin=crop_margin,
        bit_depth=bit_depth,
    )
    config.attribute = configured(Attribute(), attribute or {})
    setattr(config, name, configured(own, settings))
    with undisturbed():
        corpus = prepare_corpus(config, home.path)
    return corpus.kept_in(home, config)


def make_split(corpus: Corpus, protocol: Protocol = "fractions", seed: int = 0, **settings: Any) -> Split:
    """Cut a corpus into training, validation and test rows, none of which shares a group with another.

    Example:
        >>> split = skindiff.make_split(corpus, test_fraction=0.3)
        >>> split = skindiff.make_split(corpus, "scenario", scenario="iii")
        >>> len(split.train), len(split.validation), split.test.keys()

    Args:
        corpus: of :func:`load_corpus`.
        protocol: ``fractions`` of each class; a ``scenario`` of the corpus' attribute, such as skin types
            (Wang et al. 2024); ``few_shot``; the ``official`` parts of MedMNIST or of a table; ``held_out``
            sites or times of a table; a ``subset`` of MedMNIST's parts; or ``everything`` to train on.
        seed: of the split.
        settings: of the protocol: see :class:`~skindiff.corpora.few_shot.FractionSplitConfig`,
            :class:`~skindiff.corpora.splits.SplitConfig`, :class:`~skindiff.corpora.few_shot.FewShotConfig`.

    Raises:
        ConfigError: a setting that does not exist or cannot work.
        CorpusError: the corpus is a table of which it was not said whether it knows patients.
        SplitError: the corpus cannot be cut like this.
    """
    parts = PartsConfig(protocol=protocol, seed=seed)
    if protocol != "everything":
        refuse_unstated(corpus)
    return configured(parts, {protocol: settings} if settings else {}).split(corpus.dataset, corpus.attribute)
