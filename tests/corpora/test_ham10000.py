import csv
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from skindiff.corpora.few_shot import FewShotConfig, make_few_shot_split
from skindiff.corpora.ham10000 import DIAGNOSES, Ham10000Config, load_ham10000
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.corpora.schema import corpus_features
from skindiff.errors import ConfigError, CorpusError

ROWS = [
    # lesion_id, image_id, dx, file
    ("L0", "I0", "nv", "images/I0.jpg"),
    ("L0", "I1", "nv", "HAM10000_images_part_1/I1.jpg"),
    ("L1", "I2", "mel", "HAM10000_images_part_2/I2.jpg"),
    ("L2", "I3", "mel", "I3.png"),
    ("L3", "I4", "nv", None),
    ("L4", "I5", "df", "images/I5.jpg"),
]
HEADER = ("lesion_id", "image_id", "dx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "ham"
    for number, (_, _, _, name) in enumerate(ROWS):
        if name is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 16), (200, 30 * number, 90)).save(root / name)
    write_csv(root / "HAM10000_metadata.csv", [row[:3] for row in ROWS])
    return root


def write_csv(path: Path, rows, header=HEADER) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def load(folder: Path, classes=("mel", "nv"), **settings):
    return load_ham10000(Ham10000Config(str(folder), classes=list(classes), **settings))


def test_the_images_of_a_lesion_are_a_group(folder):
    corpus = load(folder)
    dataset = corpus.dataset
    assert dataset.features == corpus_features(["mel", "nv"])
    assert list(dataset["image_id"]) == ["I0", "I1", "I2", "I3"]
    assert list(dataset["group_id"]) == ["L0", "L0", "L1", "L2"]
    assert list(dataset["label"]) == [1, 1, 0, 0], "codes follow the order of the setting"
    assert set(dataset["skin_type"]) == {None}
    assert set(dataset["corpus"]) == {"ham10000"}
    assert corpus.missing == ["I4"]
    assert corpus.paths()["I1"] == folder / "HAM10000_images_part_1" / "I1.jpg"
    assert dataset[0]["image"].size == (20, 16)


def test_the_audit_joins_lesions_and_quarantines(folder, tmp_path):
    audit = write_csv(
        tmp_path / "audit.csv",
        [
            ("I0", "duplicate", "a", ""),
            ("I1", "ok", "b", ""),
            ("I2", "duplicate", "a", ""),
            ("I3", "blank", "c", ""),
        ],
        ("image_id", "status", "group_id", "reason"),
    )
    corpus = load(folder, audit_csv=audit)
    assert list(corpus.dataset["group_id"]) == ["a", "a", "a"], "I1 through its lesion, I2 as a duplicate"
    assert [image_id for image_id, _ in corpus.quarantined] == ["I3"]


def test_a_corpus_by_name_keeps_its_lesions_through_the_cache(folder, tmp_path):
    config = CorpusConfig("ham10000", 16, audit=False, ham10000=Ham10000Config(str(folder), classes=["nv"]))
    corpus = prepare_corpus(config, tmp_path / "run")
    assert corpus.counts() == {"images": 2, "groups": 1, "missing": 1, "quarantined": 0}
    assert corpus.class_names == ["nv"]
    assert corpus.dataset[1]["image"].size == (16, 16)
    assert config.channels == 3
    assert [warning.split(" (")[0] for warning in corpus.warnings] == [
        "1 of 3 rows of HAM10000_metadata.csv have no image",
        "there is a single class, 'nv': a classifier has nothing to tell apart",
    ]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], r"^corpus\.classes: the list is empty"),
        (["nv", "nv"], r"^corpus\.classes: 'nv' is named twice"),
        (["nevus"], r"^corpus\.classes: 'nevus' is unknown; choose from akiec, bcc"),
    ],
)
def test_settings_that_cannot_work_are_refused(classes, message):
    with pytest.raises(ConfigError, match=message):
        Ham10000Config("somewhere", classes=classes).validate("corpus.")


def test_what_is_missing_or_wrong_is_named(folder, tmp_path):
    with pytest.raises(CorpusError, match=r"^data_dir: .*absent is not a folder"):
        load(tmp_path / "absent")
    with pytest.raises(
        CorpusError, match=r"^classes: 'vasc' has no row in .*HAM10000_metadata.csv; leave it out"
    ):
        load(folder, classes=["nv", "vasc"])
    table = write_csv(tmp_path / "a.csv", [("L0", "I0", "nv"), ("L1", "I0", "nv")])
    with pytest.raises(CorpusError, match=r"^csv: .*lists image I0 twice"):
        load(folder, classes=["nv"], csv=table)
    table = write_csv(tmp_path / "b.csv", [("", "I0", "nv")])
    with pytest.raises(CorpusError, match=r"^csv: image I0 in .* has no lesion_id"):
        load(folder, classes=["nv"], csv=table)
    table = write_csv(tmp_path / "c.csv", [("I0", "nv")], ("image_id", "dx"))
    with pytest.raises(CorpusError, match="no column 'lesion_id'"):
        load(folder, classes=["nv"], csv=table)
    table = write_csv(tmp_path / "d.csv", [("L0", "J0", "nv")])
    with pytest.raises(CorpusError, match=r"^data_dir: .* has none of the 1 images asked for"):
        load(folder, classes=["nv"], csv=table)


def test_real_photographs(real_data):
    corpus = load(real_data / "ham10000", classes=DIAGNOSES)
    names = corpus.dataset.features["label"].names
    counts = Counter(names[label] for label in corpus.dataset["label"])
    assert counts == {"akiec": 183, "bcc": 264, "bkl": 583, "df": 60, "mel": 491, "nv": 4323, "vasc": 80}
    assert corpus.missing == []
    assert corpus.dataset[0]["image"].size == (160, 160)
    # The split of the issue: 25 shots (there are 60 df), the rest 20% validation and 80% test.
    config = FewShotConfig(shots=25, validation_fraction=0.2, test_fraction=0.8)
    split = make_few_shot_split(corpus.dataset, config, 0)
    assert split.sizes() == {"train": 175, "validation": 1163, "test_all": 4646}
    assert split.groups_crossing == 0
    tested = Counter(names[corpus.dataset["label"][row]] for row in split.test["all"])
    assert tested["df"] == 28
    assert split.dropped == {}, "every lesion of these images was photographed once"
