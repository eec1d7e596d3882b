import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from medmnist import INFO

from skindiff.corpora import medmnist
from skindiff.corpora.cache import pixels
from skindiff.corpora.medmnist import (
    EARLIER_SIZES,
    GREY_DATASETS,
    MULTI_LABEL,
    PARTS,
    RGB_DATASETS,
    MedMNISTConfig,
    load_medmnist,
    official_split,
    random_subset,
)
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.corpora.schema import corpus_features
from skindiff.errors import ConfigError, CorpusError, SplitError

# Table 1 of Chaptoukaev: classes, training, validation and test images.
CHAPTOUKAEV_TABLE_1 = {
    "pathmnist": (9, 1_350, 150, 7_180),
    "dermamnist": (7, 1_050, 117, 2_005),
    "octmnist": (4, 600, 67, 1_000),
    "pneumoniamnist": (2, 300, 34, 624),
    "breastmnist": (2, 546, 78, 156),
    "organamnist": (11, 1_650, 184, 8_889),
    "organcmnist": (11, 1_650, 184, 8_268),
    "organsmnist": (11, 1_650, 184, 8_829),
}
# Table 1 of Le Roux.
LE_ROUX_TABLE_1 = {
    "pathmnist": (89_996, 10_004, 7_180),
    "dermamnist": (7_007, 1_003, 2_005),
    "octmnist": (97_477, 10_832, 1_000),
    "pneumoniamnist": (4_708, 524, 624),
    "breastmnist": (546, 78, 156),
    "organamnist": (34_581, 6_491, 17_778),
    "organcmnist": (13_000, 2_392, 8_268),
    "organsmnist": (13_940, 2_452, 8_829),
}
DERMAMNIST_TRAIN = (228, 359, 769, 80, 779, 4693, 99)
"""Training images of each class: what no 150 of each can be drawn from."""


def columns(dataset: str, sizes, classes: int, train_counts=None) -> dict[str, list]:
    table: dict[str, list] = {"label": [], "image_id": []}
    for part, size in zip(PARTS, sizes, strict=True):
        if part == "train" and train_counts:
            table["label"] += [label for label, count in enumerate(train_counts) for _ in range(count)]
        else:
            table["label"] += [number % classes for number in range(size)]
        table["image_id"] += [f"{dataset}-{part}-{number:05d}" for number in range(size)]
    return table | {"group_id": table["image_id"]}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict:
    """BreastMNIST and DermaMNIST as the package would record them if they had a few images."""
    for dataset in ("breastmnist", "dermamnist"):
        monkeypatch.setitem(INFO[dataset], "n_samples", {"train": 14, "val": 7, "test": 8})
    return INFO


def arrays(dataset: str = "breastmnist", size: int = 28) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (size, size) if dataset in GREY_DATASETS else (size, size, 3)
    found = {}
    for part, count in (("train", 14), ("val", 7), ("test", 8)):
        found[f"{part}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % len(INFO[dataset]["label"])
        found[f"{part}_labels"] = labels[:, None]
    return found


def write(folder: Path, dataset: str = "breastmnist", suffix: str = "", **changes) -> MedMNISTConfig:
    content = {name: array for name, array in (arrays(dataset) | changes).items() if array is not None}
    np.savez_compressed(folder / f"{dataset}{suffix}.npz", **content)
    return MedMNISTConfig(dataset, str(folder))


def test_every_2d_set_of_the_package_is_known_with_its_channels():
    flat = {name: record for name, record in INFO.items() if not name.endswith("3d")}
    assert {*RGB_DATASETS, *GREY_DATASETS, MULTI_LABEL} == set(flat)
    for name in (*RGB_DATASETS, *GREY_DATASETS):
        assert flat[name]["n_channels"] == MedMNISTConfig(name).channels
        assert not flat[name]["task"].startswith("multi-label")
        assert list(flat[name]["label"]) == [str(code) for code in range(len(flat[name]["label"]))]
        assert all(key in flat[name] for key in ("MD5", "MD5_64", "MD5_128", "MD5_224", "url_224"))


def test_where_the_papers_and_the_package_disagree_about_sizes():
    def official_sizes(dataset: str) -> dict[str, int]:
        return pytest.importorskip("medmnist").INFO[dataset]["n_samples"]

    assert official_sizes("organamnist") == {"train": 34_561, "val": 6_491, "test": 17_778}
    different = {
        name for name, sizes in LE_ROUX_TABLE_1.items() if tuple(official_sizes(name).values()) != sizes
    }
    assert different == set(EARLIER_SIZES), (
        "Le Roux and Chaptoukaev used an earlier release of the organ sets"
    )
    assert {name: LE_ROUX_TABLE_1[name] for name in different} == EARLIER_SIZES
    for name, (_, _, _, test) in CHAPTOUKAEV_TABLE_1.items():
        assert test == LE_ROUX_TABLE_1[name][2] // (2 if name == "organamnist" else 1), (
            "Chaptoukaev has half the axial set"
        )


@pytest.mark.parametrize("dataset", CHAPTOUKAEV_TABLE_1)
@pytest.mark.parametrize("balanced", [False, True])
def test_the_subset_has_the_sizes_of_table_1(dataset, balanced):
    classes, train, validation, _ = CHAPTOUKAEV_TABLE_1[dataset]
    sizes = LE_ROUX_TABLE_1[dataset]
    counts = DERMAMNIST_TRAIN if dataset == "dermamnist" else None
    table = columns(dataset, sizes, classes, counts)
    split = random_subset(table, seed=1, balanced=balanced)
    assert split.sizes() == {"train": train, "validation": validation, "test_all": sizes[2]}
    assert split.groups_crossing == 0
    for part, rows in (("train", split.train), ("val", split.validation), ("test", split.test["all"])):
        assert all(f"-{part}-" in table["image_id"][row] for row in rows)
        assert {table["label"][row] for row in rows} == set(range(classes)), "no class is lost"
    assert sum(split.sizes().values()) + sum(split.dropped.values()) == sum(sizes)


def test_classes_keep_their_shares_or_are_balanced():
    table = columns("dermamnist", LE_ROUX_TABLE_1["dermamnist"], 7, DERMAMNIST_TRAIN)
    kept = Counter(table["label"][row] for row in random_subset(table, seed=0).train)
    for label, count in enumerate(DERMAMNIST_TRAIN):
        assert kept[label] == pytest.approx(1050 * count / 7007, abs=1)
    even = Counter(table["label"][row] for row in random_subset(table, seed=0, balanced=True).train)
    assert even[3] == 80, "all dermatofibromas"
    assert even[6] == 99
    assert {even[label] for label in (0, 1, 2, 4, 5)} <= {174, 175}


def test_the_subset_depends_on_the_seed_and_the_image_ids_alone():
    table = columns("dermamnist", LE_ROUX_TABLE_1["dermamnist"], 7)
    split = random_subset(table, 20, 0.8, 3)
    assert len(split.train) == 140
    assert len(split.validation) == 35
    backwards = {name: values[::-1] for name, values in table.items()}
    again = random_subset(backwards, 20, 0.8, 3)
    last = len(table["label"]) - 1
    assert sorted(last - row for row in again.train) == split.train
    assert random_subset(table, 20, 0.8, 4).train != split.train


def test_a_set_is_kept_whole_if_asked_and_split_officially():
    table = columns("breastmnist", (546, 78, 156), 2)
    whole = random_subset(table, seed=5)
    assert whole == official_split(table, 5)
    assert whole.sizes() == {"train": 546, "validation": 78, "test_all": 156}
    assert whole.dropped == {}
    assert random_subset(table, keep_whole=()).sizes() == {"train": 300, "validation": 34, "test_all": 156}


def test_subsets_that_cannot_be_drawn_are_refused():
    table = columns("breastmnist", (546, 78, 156), 2)
    with pytest.raises(SplitError, match=r"^per_class: 300 asks for 600 images of the train part .* has 546"):
        random_subset(table, 300, keep_whole=())
    with pytest.raises(ConfigError, match=r"^per_class: 0 is below 1"):
        random_subset(table, 0)
    with pytest.raises(ConfigError, match=r"^train_share: 1.0 is outside"):
        random_subset(table, 10, 1.0)
    table["label"][:546] = [0] * 546
    with pytest.raises(SplitError, match=r"^label: class '1' of breastmnist has no image to train on"):
        random_subset(table, 10, keep_whole=())
    with pytest.raises(SplitError, match=r"^image_id: 'ISIC_1' is not <dataset>-<part>-<number>"):
        official_split({"label": [0], "image_id": ["ISIC_1"], "group_id": ["a"]}, 0)
    two = {name: columns("a", (1, 1, 1), 1)[name] + columns("b", (1, 1, 1), 1)[name] for name in table}
    with pytest.raises(SplitError, match=r"2 sets in one table \(a, b\)"):
        official_split(two, 0)


def test_a_grey_archive_becomes_three_equal_channels(small, tmp_path):
    corpus = load_medmnist(write(tmp_path))
    dataset = corpus.dataset
    assert dataset.features == corpus_features(["malignant", "normal, benign"])
    assert list(dataset["image_id"])[:15:14] == ["breastmnist-train-00000", "breastmnist-val-00000"]
    assert list(dataset["group_id"]) == list(dataset["image_id"])
    assert list(dataset["label"])[:3] == [0, 1, 0]
    assert set(dataset["corpus"]) == {"breastmnist"}
    source = arrays()
    images = np.concatenate([source[f"{part}_images"] for part in PARTS])
    assert np.array_equal(pixels(dataset), np.repeat(images[..., None], 3, axis=-1))
    assert corpus.paths() == {}, "nothing to audit"
    assert official_split(dataset, 0).sizes() == {"train": 14, "validation": 7, "test_all": 8}


def test_a_coloured_archive_comes_through_the_cache_unchanged(small, tmp_path):
    config = CorpusConfig("medmnist", 28, medmnist=write(tmp_path, "dermamnist"))
    corpus = prepare_corpus(config, tmp_path / "run")
    source = arrays("dermamnist")
    assert np.array_equal(
        pixels(corpus.dataset), np.concatenate([source[f"{part}_images"] for part in PARTS])
    )
    assert config.channels == 3
    assert CorpusConfig("medmnist").channels == 1
    assert len(corpus.warnings) == 1
    assert not (tmp_path / "run" / "audit.csv").exists()
    assert corpus.class_names[5] == "melanocytic nevi"


def test_another_md5_is_a_warning(small, tmp_path, monkeypatch):
    config = write(tmp_path)
    (warning,) = load_medmnist(config).warnings
    assert "the official archive 750601b1f35ba3300ea97c75c52ff8f6: it was repackaged or changed" in warning
    monkeypatch.setitem(INFO["breastmnist"], "MD5", warning.split()[3].rstrip(","))
    assert load_medmnist(config).warnings == []


def test_the_sizes_of_an_earlier_release_are_a_warning_and_others_an_error(small, tmp_path, monkeypatch):
    config = write(tmp_path)
    monkeypatch.setitem(INFO["breastmnist"], "n_samples", {"train": 1500, "val": 7, "test": 8})
    with pytest.raises(
        CorpusError, match=r"^data_dir: .* has 14/7/8 images .* but breastmnist has 1,500/7/8; give the whole"
    ):
        load_medmnist(config)
    monkeypatch.setitem(EARLIER_SIZES, "breastmnist", (14, 7, 8))
    first, _ = load_medmnist(config).warnings
    assert first.startswith("breastmnist.npz has 14/7/8 images, as in MedMNIST's releases 1 and 2; release 3")


def test_other_sizes_have_their_own_archive_and_md5(small, tmp_path):
    found = arrays(size=64)
    write(tmp_path, suffix="_64", **found)
    corpus = load_medmnist(MedMNISTConfig("breastmnist", str(tmp_path), 64))
    assert corpus.dataset[0]["image"].size == (64, 64)
    assert INFO["breastmnist"]["MD5_64"] in corpus.warnings[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": None}, r"has no array 'val_labels' \(it has train_images"),
        (
            {"train_images": np.zeros((14, 32, 32), np.uint8)},
            r"\(14, 32, 32\) uint8, not \(n, 28, 28\) uint8",
        ),
        (
            {"train_images": np.zeros((14, 28, 28, 3), np.uint8)},
            r"\(14, 28, 28, 3\) uint8, not \(n, 28, 28\)",
        ),
        ({"train_images": np.zeros((14, 28, 28), np.float32)}, "float32"),
        ({"test_labels": np.zeros((8,), np.uint8)}, r"test_labels in .* is \(8,\) uint8, not \(8, 1\)"),
        ({"test_labels": np.zeros((8, 14), np.uint8)}, r"is \(8, 14\) uint8"),
        ({"test_labels": np.zeros((8, 1), np.float64)}, "float64"),
        (
            {"test_labels": np.full((8, 1), 2, np.uint8)},
            r"goes from 2 to 2, but breastmnist has labels 0 to 1",
        ),
        ({"test_labels": np.array([[None]] * 8, object)}, "cannot be read as an archive of arrays"),
    ],
)
def test_an_archive_of_another_shape_is_refused(small, tmp_path, changes, message):
    with pytest.raises(CorpusError, match=message) as error:
        load_medmnist(write(tmp_path, **changes))
    assert str(error.value).startswith("data_dir: ")
    assert "\n" not in str(error.value)


def test_a_damaged_archive_is_refused(small, tmp_path):
    config = write(tmp_path)
    file = tmp_path / "breastmnist.npz"
    whole = file.read_bytes()
    for content in (b"", b"not a zip", whole[: len(whole) // 2], whole[:2000] + bytes(1000) + whole[3000:]):
        file.write_bytes(content)
        with pytest.raises(CorpusError, match=r"^data_dir: .*breastmnist.npz cannot be read as an archive"):
            load_medmnist(config)


def test_an_absent_archive_says_where_it_is(small, tmp_path):
    with pytest.raises(
        CorpusError, match=r"^data_dir: .* has no breastmnist_224.npz; put it there \(.*zenodo"
    ):
        load_medmnist(MedMNISTConfig("breastmnist", str(tmp_path), 224))


def test_the_package_fetches_only_what_is_absent_and_asked_for(small, tmp_path, monkeypatch):
    asked = []

    def fetch(part: str, *, download: bool, root: str, size: int) -> None:
        asked.append((part, download, size))
        write(Path(root))

    package = medmnist._package()
    monkeypatch.setattr(package, "BreastMNIST", fetch)
    config = MedMNISTConfig("breastmnist", str(tmp_path / "new"), download=True)
    assert len(load_medmnist(config).dataset) == 29
    load_medmnist(config)
    assert asked == [("train", True, 28)]

    def fail(*args: object, **settings: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(package, "BreastMNIST", fail)
    with pytest.raises(CorpusError, match=r"^download: the package could not fetch breastmnist.npz"):
        load_medmnist(MedMNISTConfig("breastmnist", str(tmp_path / "other"), download=True))


def test_the_packages_own_folder_is_the_default(small, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".medmnist").mkdir()
    write(tmp_path / ".medmnist")
    assert len(load_medmnist(MedMNISTConfig()).dataset) == 29


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "medmnist", None)
    with pytest.raises(ConfigError, match=r'not installed; pip install "skindiff\[medmnist\]"'):
        load_medmnist(MedMNISTConfig(data_dir=str(tmp_path)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MedMNISTConfig("chestmnist"), "dataset: chestmnist gives an image several labels at once"),
        (
            MedMNISTConfig("organmnist3d"),
            "dataset: 'organmnist3d' is not a 2D set of MedMNIST; choose from path",
        ),
        (MedMNISTConfig(size=32), "size: 32 is not one of 28, 64, 128, 224 pixels"),
    ],
)
def test_settings_that_cannot_work_are_refused(config, message):
    with pytest.raises(ConfigError, match=f"^corpus.medmnist.{message}"):
        CorpusConfig("medmnist", medmnist=config).validate("corpus.")


def test_real_ultrasound(real_data, tmp_path):
    config = CorpusConfig("medmnist", 28, medmnist=MedMNISTConfig(data_dir=str(real_data / "medmnist")))
    corpus = prepare_corpus(config, tmp_path)
    assert corpus.counts() == {"images": 780, "groups": 780, "missing": 0, "quarantined": 0, "ungrouped": 780}
    assert corpus.class_names == ["malignant", "normal, benign"]
    assert "repackaged" in corpus.warnings[0]
    assert len(corpus.warnings) == 1
    split = random_subset(corpus.dataset)
    assert split.sizes() == {"train": 546, "validation": 78, "test_all": 156}
    labels = np.asarray(corpus.dataset["label"])
    assert np.bincount(labels[split.train]).tolist() == [147, 399]
    images = pixels(corpus.dataset, split.test["all"])
    with np.load(real_data / "medmnist" / "breastmnist.npz") as archive:
        assert np.array_equal(images[..., 0], archive["test_images"])
    assert np.array_equal(images[..., 0], images[..., 2])
