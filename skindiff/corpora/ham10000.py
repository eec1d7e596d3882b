"""HAM10000 (Tschandl et al. 2018): 10,015 dermatoscopic images of 7,470 pigmented lesions, seven diagnoses.

Many lesions were photographed more than once, so a split by image tests on lesions that were trained on;
``group_id`` is the lesion. The images carry no skin type.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skindiff.corpora.fitzpatrick17k import image_files
from skindiff.corpora.table import CorpusEntry, ListedImage, LoadedCorpus, assemble_listed, read_csv
from skindiff.errors import CorpusError
from skindiff.wrong_settings import refuse

DIAGNOSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
"""The seven values of the column ``dx``: actinic keratoses, basal cell carcinoma, benign keratosis-like
lesions, dermatofibroma, melanoma, melanocytic nevi and vascular lesions."""
CSV_COLUMNS = ("lesion_id", "image_id", "dx")
IMAGE_FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
"""The folders of the published archive."""


@dataclass
class Ham10000Config:
    """Which images of HAM10000, and where they lie."""

    data_dir: str
    """Folder with the images, <image_id>.jpg: in images/, HAM10000_images_part_1/ and _2/, or in itself."""
    csv: str | None = None
    """The data set's own table, HAM10000_metadata.csv; in data_dir if left out."""
    classes: list[str] = field(default_factory=lambda: list(DIAGNOSES))
    """Diagnoses (column dx) in the order of the class codes; the default is all seven."""
    audit_csv: str | None = None
    """Output of skindiff audit: its groups are joined to the lesions, and its unfit images are left out."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError if a setting cannot work; ``path`` (``"corpus."``) goes before its name."""
        if not self.classes:
            refuse(f"{path}classes: the list is empty; name at least one diagnosis")
        if repeated := [name for name, count in Counter(self.classes).items() if count > 1]:
            refuse(f"{path}classes: {repeated[0]!r} is named twice; name it once")
        if unknown := [name for name in self.classes if name not in DIAGNOSES]:
            refuse(f"{path}classes: {unknown[0]!r} is unknown; choose from {', '.join(DIAGNOSES)}")


def load_ham10000(config: Ham10000Config, attributes: Sequence[str] = ()) -> LoadedCorpus:
    """Read the rows of the chosen diagnoses; no image is opened.

    ``image_id`` is the data set's own, ``group_id`` its ``lesion_id`` and ``skin_type`` None. Rows without a
    file are in ``missing``. A class keeps its code (its place in ``classes``) whatever files are absent.

    Args:
        config: of the corpus.
        attributes: further columns of the csv to read, such as sex, age or localization.

    Raises:
        ConfigError: a setting cannot work.
        CorpusError: the folder or the csv is absent, the csv lacks a column, a class or a lesion, it lists an
            image twice, no file of its rows is there, or the audit does not fit.
    """
    config.validate()
    folder = Path(config.data_dir)
    if not folder.is_dir():
        raise CorpusError(f"data_dir: {folder} is not a folder; give the one that holds HAM10000's images")
    table = Path(config.csv) if config.csv is not None else folder / "HAM10000_metadata.csv"
    entries = read_csv(table, "csv", (*CSV_COLUMNS, *attributes))
    if absent := sorted(set(config.classes) - {entry["dx"] for entry in entries}):
        raise CorpusError(
            f"classes: {absent[0]!r} has no row in {table}; leave it out or give the whole table"
        )
    chosen = [entry for entry in entries if entry["dx"] in config.classes]
    if loose := [entry["image_id"] for entry in chosen if not entry["lesion_id"]]:
        raise CorpusError(f"csv: image {loose[0]} in {table} has no lesion_id; a split needs to know it")
    return assemble_listed(
        [
            ListedImage(
                entry["image_id"],
                entry["dx"],
                group_id=entry["lesion_id"],
                attributes={name: entry[name] or None for name in attributes},
            )
            for entry in chosen
        ],
        config.classes,
        "ham10000",
        table=table,
        known={entry["image_id"] for entry in entries},
        folder=folder,
        files=_all_files(folder),
        audit_csv=config.audit_csv,
    )


def _all_files(folder: Path) -> dict[str, Path]:
    """Return every image file of an unpacked archive by image id."""
    files: dict[str, Path] = {}
    for place in (folder, *(folder / name for name in IMAGE_FOLDERS)):
        files = image_files(place) | files
    return files


HAM10000 = CorpusEntry("ham10000", Ham10000Config, load_ham10000, files=_all_files, reads_attributes=True)
