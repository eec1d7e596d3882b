"""MedMNIST (Yang et al. 2023): small medical images of many kinds, in official training, validation and test
parts.

The archives are ``<dataset>.npz`` (28 px) or ``<dataset>_<size>.npz``; classes, sizes and md5 are those of
the package medmnist ("skindiff[medmnist]"). The archives name no patients, so every image is a group of its
own: what the official parts leak (641 lesions of HAM10000 stand in both DermaMNIST's training and test part)
cannot be seen here.

Where the papers disagree about the sizes: the axial organ test part has 17,778 images in every release of the
package, as Le Roux has it; Chaptoukaev's Table 1 has 8,889, exactly half. Release 3 of the package made the
three organ sets a little smaller than both papers knew them (``EARLIER_SIZES``).
"""

import hashlib
import importlib
import io
import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image

from skindiff.corpora.schema import corpus_features
from skindiff.corpora.split_table import SplitTable
from skindiff.corpora.splits import Split
from skindiff.corpora.table import CorpusEntry, LoadedCorpus, several_labels
from skindiff.errors import ConfigError, CorpusError, SplitError
from skindiff.foreign import Malformed
from skindiff.foreign_tables import Arrays, open_arrays
from skindiff.progress import progress
from skindiff.wrong_settings import refuse

RGB_DATASETS = ("pathmnist", "dermamnist", "retinamnist", "bloodmnist")
GREY_DATASETS = (
    "octmnist",
    "pneumoniamnist",
    "breastmnist",
    "tissuemnist",
    "organamnist",
    "organcmnist",
    "organsmnist",
)
MULTI_LABEL = "chestmnist"
SIZES = (28, 64, 128, 224)
PARTS = ("train", "val", "test")
IMAGE_ID = re.compile(r"(?P<dataset>\w+)-(?P<part>train|val|test)-\d+")
EARLIER_SIZES = {
    "organamnist": (34_581, 6_491, 17_778),
    "organcmnist": (13_000, 2_392, 8_268),
    "organsmnist": (13_940, 2_452, 8_829),
}
"""Training, validation and test images in releases 1 and 2 of the package, and in Le Roux's Table 1."""


@dataclass
class MedMNISTConfig:
    """Which set of MedMNIST, and where its archive lies."""

    dataset: str = "breastmnist"
    """One of pathmnist, dermamnist, octmnist, pneumoniamnist, retinamnist, breastmnist, bloodmnist,
    tissuemnist, organamnist, organcmnist and organsmnist."""
    data_dir: str | None = None
    """Folder with <dataset>.npz (<dataset>_64.npz and so on); the package's own, ~/.medmnist, if left out."""
    size: int = 28
    """Side in pixels of the archive's images: 28, 64, 128 or 224."""
    download: bool = False
    """Let the package fetch the archive if it is not in the folder."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError if a setting cannot work; ``path`` (``"corpus."``) goes before its name."""
        if self.dataset == MULTI_LABEL:
            refuse(several_labels(f"{path}dataset", self.dataset))
        if self.dataset not in (*RGB_DATASETS, *GREY_DATASETS):
            known = ", ".join((*RGB_DATASETS, *GREY_DATASETS))
            refuse(f"{path}dataset: {self.dataset!r} is not a 2D set of MedMNIST; choose from {known}")
        if self.size not in SIZES:
            refuse(f"{path}size: {self.size} is not one of {', '.join(map(str, SIZES))} pixels")

    @property
    def channels(self) -> int:
        """1 for a grey set, whose table holds three equal channels, and 3 for a coloured one."""
        return 3 if self.dataset in RGB_DATASETS else 1


def load_medmnist(config: MedMNISTConfig) -> LoadedCorpus:
    """Read an archive into the schema; grey images become RGB with three equal channels.

    ``image_id`` is ``<dataset>-<part>-<number>``, such as ``breastmnist-train-00012`` (``train``, ``val`` or
    ``test``; the number is the place in the archive), ``group_id`` the same, ``skin_type`` None and
    ``corpus`` the name of the set. One part of the archive is held in memory at a time: PathMNIST's training
    images are 212 MB at 28 px and 13.5 GB at 224 px.

    Another md5 than the official one (a repackaged archive) or the sizes of an earlier release are warnings.

    Raises:
        ConfigError: a setting cannot work, or the package medmnist is not installed.
        CorpusError: the archive is absent, damaged, or has other keys, shapes, types, labels or sizes.
    """
    config.validate()
    record = _record(config.dataset)
    file = _archive(config, record)
    names = list(record["label"].values())
    columns: dict[str, list[Any]] = {"image": [], "label": [], "image_id": []}
    sizes: list[int] = []
    try:
        with open_arrays(file) as archive:
            for part in PARTS:
                images, labels = _read_part(archive, part, config, len(names), file)
                sizes.append(len(images))
                columns["image"] += _encode(images, f"reading {file.name}, {part}")
                columns["label"] += labels.tolist()
                columns["image_id"] += [f"{config.dataset}-{part}-{row:05d}" for row in range(len(images))]
    except Malformed as error:
        raise CorpusError(
            f"data_dir: {file} cannot be read as an archive of arrays ({error}); fetch it again"
        ) from error
    warnings = _compare(sizes, file, config, record)
    rows = len(columns["image_id"])
    columns |= {
        "skin_type": [None] * rows,
        "group_id": columns["image_id"],
        "corpus": [config.dataset] * rows,
    }
    features = corpus_features(names)
    dataset = Dataset.from_dict({name: columns[name] for name in features}, features=features)
    ungrouped = frozenset(columns["image_id"])
    return LoadedCorpus(dataset, missing=[], quarantined=[], warnings=warnings, ungrouped=ungrouped)


def official_split(dataset_or_columns: Dataset | Mapping[str, Sequence[Any]], seed: int) -> Split:
    """Return MedMNIST's own split, read from the image ids; the test set is called ``"all"``.

    Args:
        dataset_or_columns: the corpus (or a mapping of columns), whole or without some rows.
        seed: noted in the split; nothing is sampled.

    Raises:
        SplitError: a column is missing, or an image id is not of MedMNIST.
    """
    table = SplitTable.read(dataset_or_columns)
    _, parts = _parts(table)
    return table.split(seed, parts["train"], parts["val"], parts["test"], {})


@dataclass
class OfficialConfig:
    """Which of MedMNIST's own validation and test images are kept."""

    deduplicated: bool = False
    """Leave out validation and test images that are the same picture as a training image (test images also
    as a validation image), as many as are found; the test set is then called deduplicated."""


@dataclass
class SubsetConfig(OfficialConfig):
    """How many of MedMNIST's own training images are kept."""

    per_class: int = 150
    """Training images for each class, on average; BreastMNIST is whole whatever is said here."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if self.per_class < 1:
            refuse(f"{path}per_class: {self.per_class} is below 1; the paper has 150")


def random_subset(
    dataset_or_columns: Dataset | Mapping[str, Sequence[Any]],
    per_class: int = 150,
    train_share: float = 0.9,
    seed: int = 0,
    *,
    balanced: bool = False,
    keep_whole: Collection[str] = ("breastmnist",),
) -> Split:
    """Sample a small training and validation set from the official ones and keep the test set (Chaptoukaev).

    Chaptoukaev (section 3.3) selects "random subsets" to keep "approximately 150 images per class" at a
    ratio of 9:1. Its Table 1 fixes the sizes: 150 per class to train on and a ninth of that, rounded up, to
    select on; BreastMNIST is whole. How many of each class it leaves open, and 150 of each cannot be:
    DermaMNIST has 80 dermatofibromas to train on, and 1,050 in all. So the classes keep their shares, and
    none is lost.

    Args:
        dataset_or_columns: the corpus (or a mapping of columns).
        per_class: training images for each class, on average.
        train_share: share of the training images among those of training and validation, above 0, below 1.
        seed: of the sampling.
        balanced: as many images of every class, as far as there are so many; the larger classes fill up.
        keep_whole: sets that keep their official split.

    Raises:
        ConfigError: per_class or train_share cannot work.
        SplitError: a column is missing, an image id is not of MedMNIST, or there are too few images.
    """
    if per_class < 1:
        raise ConfigError(f"per_class: {per_class} is below 1")
    if not 0 < train_share < 1:
        raise ConfigError(f"train_share: {train_share} is outside above 0 to below 1; the paper has 0.9")
    table = SplitTable.read(dataset_or_columns)
    name, parts = _parts(table)
    if name in keep_whole:
        return official_split(dataset_or_columns, seed)
    training = per_class * len(table.class_names)
    # As a fraction: in floating point a ninth of 1,350 is a little more than 150, which rounds up to 151.
    share = Fraction(str(train_share))
    wanted = {"train": training, "val": math.ceil(training * (1 - share) / share)}
    drawn: dict[str, list[int]] = {}
    for part, total in wanted.items():
        if (found := len(parts[part])) < total:
            raise SplitError(
                f"per_class: {per_class} asks for {total} images of the {part} part of {name}, which has "
                f"{found}; lower it, or name the set in keep_whole"
            )
        by_class = table.by_class(table.shuffled(parts[part], seed, "medmnist subset", part))
        quotas = _quotas({label: len(rows) for label, rows in by_class.items()}, total, balanced)
        drawn[part] = [row for label, rows in by_class.items() for row in rows[: quotas[label]]]
    if absent := set(table.class_names) - {table.label[row] for row in drawn["train"]}:
        raise SplitError(
            f"label: class {table.class_names[min(absent)]!r} of {name} has no image to train on; "
            "take the whole archive"
        )
    left = sum(len(parts[part]) - len(rows) for part, rows in drawn.items())
    return table.split(seed, drawn["train"], drawn["val"], parts["test"], {"not_drawn": left})


def _quotas(available: Mapping[Any, int], total: int, balanced: bool) -> dict[Any, int]:
    """Share ``total`` images among the classes by Webster's rule, one at least where they suffice."""
    quotas = {label: min(count, 1) if total >= len(available) else 0 for label, count in available.items()}
    for _ in range(total - sum(quotas.values())):
        open_classes = [label for label, count in available.items() if quotas[label] < count]
        chosen = max(open_classes, key=lambda x: (1 if balanced else available[x]) / (quotas[x] + 0.5))
        quotas[chosen] += 1
    return quotas


def _parts(table: SplitTable) -> tuple[str, dict[str, list[int]]]:
    """Return the name of the set and the rows of its official parts."""
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    names = set()
    for row, image_id in enumerate(table.image_id):
        if (found := IMAGE_ID.fullmatch(image_id)) is None:
            raise SplitError(
                f"image_id: {image_id!r} is not <dataset>-<part>-<number>; the corpus medmnist has "
                "official parts, and a table in which --corpus.table.columns.split names them"
            )
        names.add(found["dataset"])
        parts[found["part"]].append(row)
    if len(names) != 1:
        raise SplitError(f"image_id: {len(names)} sets in one table ({', '.join(sorted(names))}); split one")
    return names.pop(), parts


def _record(dataset: str) -> dict[str, Any]:
    """Return what the package knows of a set: label, n_samples, n_channels, MD5, MD5_64, python_class ..."""
    record: dict[str, Any] = _package().INFO[dataset]
    return record


def _package() -> Any:
    try:
        # Not at the top of the file: the package makes the folder ~/.medmnist when it is imported.
        return importlib.import_module("medmnist")
    except ImportError as error:
        raise ConfigError(
            "dataset: the sizes and classes of MedMNIST come from its package, which is not installed; "
            'pip install "skindiff[medmnist]"'
        ) from error


def _archive(config: MedMNISTConfig, record: Mapping[str, Any]) -> Path:
    suffix = "" if config.size == 28 else f"_{config.size}"
    folder = Path("~/.medmnist").expanduser() if config.data_dir is None else Path(config.data_dir)
    file = folder / f"{config.dataset}{suffix}.npz"
    if not file.is_file() and config.download:
        fetch = getattr(_package(), record["python_class"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fetch("train", download=True, root=str(folder), size=config.size)
        except (OSError, RuntimeError) as error:
            raise CorpusError(
                f"download: the package could not fetch {file.name} to {folder}; fetch it by hand from "
                f"{record['url' + suffix]}"
            ) from error
    if not file.is_file():
        raise CorpusError(
            f"data_dir: {folder} has no {file.name}; put it there (it is at {record['url' + suffix]}), "
            "or set download to true"
        )
    return file


def _read_part(
    archive: Arrays, part: str, config: MedMNISTConfig, classes: int, file: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, size, size) or (n, size, size, 3) uint8 images and (n,) labels of one part, checked."""
    for key in (f"{part}_images", f"{part}_labels"):
        if key not in archive:
            raise CorpusError(
                f"data_dir: {file} has no array {key!r} (it has {', '.join(archive)[:200] or 'none'}); "
                "give an archive of MedMNIST"
            )
    images, labels = archive[f"{part}_images"], archive[f"{part}_labels"]
    shape = (config.size, config.size) if config.channels == 1 else (config.size, config.size, 3)
    if images.shape[1:] != shape or images.dtype != np.uint8:
        raise CorpusError(
            f"data_dir: {part}_images in {file} is {images.shape} {images.dtype}, not (n, "
            f"{', '.join(map(str, shape))}) uint8; give the archive of {config.dataset} at {config.size} px"
        )
    if labels.shape != (len(images), 1) or not np.issubdtype(labels.dtype, np.integer):
        raise CorpusError(
            f"data_dir: {part}_labels in {file} is {labels.shape} {labels.dtype}, not ({len(images)}, 1) of "
            "integers; give the archive as MedMNIST published it"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise CorpusError(
            f"data_dir: {part}_labels in {file} goes from {labels.min()} to {labels.max()}, but "
            f"{config.dataset} has labels 0 to {classes - 1}; give its own archive"
        )
    return images, labels[:, 0]


def _encode(images: np.ndarray, description: str) -> list[dict[str, Any]]:
    """Return each image as the PNG bytes of an RGB image."""
    encoded: list[dict[str, Any]] = []
    hidden = os.environ.get("RANK", "0") != "0"
    for image in progress(images, desc=description, unit="image", disable=hidden):
        file = io.BytesIO()
        Image.fromarray(image).convert("RGB").save(file, "PNG", compress_level=1)
        encoded.append({"bytes": file.getvalue(), "path": None})
    return encoded


def _compare(sizes: list[int], file: Path, config: MedMNISTConfig, record: Mapping[str, Any]) -> list[str]:
    """Return warnings about an archive that is not the official one; other sizes than known are an error."""
    warnings = []
    official = [record["n_samples"][part] for part in PARTS]
    if sizes != official:
        if tuple(sizes) != EARLIER_SIZES.get(config.dataset):
            raise CorpusError(
                f"data_dir: {file} has {_spoken(sizes)} images to train, select and test on, but "
                f"{config.dataset} has {_spoken(official)}; give the whole archive"
            )
        warnings.append(
            f"{file.name} has {_spoken(sizes)} images, as in MedMNIST's releases 1 and 2; release 3 has "
            f"{_spoken(official)}"
        )
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    if found != (expected := record["MD5" if config.size == 28 else f"MD5_{config.size}"]):
        warnings.append(
            f"{file.name} has md5 {found}, the official archive {expected}: it was repackaged or changed; "
            "its shapes, labels and sizes are right"
        )
    return warnings


def _spoken(sizes: Sequence[int]) -> str:
    return "/".join(f"{size:,}" for size in sizes)


MEDMNIST = CorpusEntry(
    "medmnist",
    MedMNISTConfig,
    load_medmnist,
    not_audited="its parts are official, and a deduplicated split leaves twins out",
    public_ids=True,
    channels=lambda settings: settings.channels,
    licence_by="dataset",
)
