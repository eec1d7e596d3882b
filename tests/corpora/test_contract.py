"""What holds for the loader of every corpus in the table; a corpus that stands in it is tested here."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skindiff import plugins
from skindiff.config import parse_config, save_config
from skindiff.corpora import registry
from skindiff.corpora.fitzpatrick17k import Fitzpatrick17kConfig
from skindiff.corpora.ham10000 import Ham10000Config
from skindiff.corpora.imagefolder import ImageFolderConfig
from skindiff.corpora.medmnist import MedMNISTConfig
from skindiff.corpora.phantom import PhantomConfig
from skindiff.corpora.registry import CORPORA, CorpusConfig, prepare_corpus, register_corpus
from skindiff.corpora.schema import corpus_features
from skindiff.corpora.table import CorpusEntry, LoadedCorpus
from skindiff.corpora.table_corpus.columns import ColumnsConfig
from skindiff.corpora.table_corpus.loader import TableConfig
from skindiff.errors import ConfigError
from tests.toy_corpus_plugin import write_toy_plugin

IMAGES = ("a", "b", "c", "d")


def photograph(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file)


def photographs(folder: Path, names: tuple[str, ...], header: str, rows: list[str], table: str) -> None:
    """Write an image per name, one that no row names, and a table with a row that has no image."""
    for seed, name in enumerate((*names, names[-1].replace("d", "stray"))):
        photograph(folder / name, seed)
    (folder / table).write_text("\n".join([header, *rows, ""]))


def fitzpatrick17k(folder: Path) -> Fitzpatrick17kConfig:
    rows = [f"{name},{number % 6 + 1},{('acne', 'warts')[number % 2]}" for number, name in enumerate("abcdx")]
    names = tuple(f"images/{name}.png" for name in IMAGES)
    photographs(folder, names, "md5hash,fitzpatrick_scale,label", rows, "fitzpatrick17k.csv")
    return Fitzpatrick17kConfig(str(folder), conditions=["warts", "acne"])


def ham10000(folder: Path) -> Ham10000Config:
    rows = [f"L{number // 2},{name},{('nv', 'mel')[number % 2]}" for number, name in enumerate("abcdx")]
    names = tuple(f"images/{name}.png" for name in IMAGES)
    photographs(folder, names, "lesion_id,image_id,dx", rows, "HAM10000_metadata.csv")
    return Ham10000Config(str(folder), classes=["nv", "mel"])


def imagefolder(folder: Path) -> ImageFolderConfig:
    rows = [f"keloid/{name}.png,{'V' * (name == 'a')},p{name}" for name in "abcx"] + ["eczema/d.png,I,"]
    names = (*(f"keloid/{name}.png" for name in "abc"), "eczema/d.png")
    photographs(folder, names, "file_name,skin_type,group_id", rows, "metadata.csv")
    return ImageFolderConfig(str(folder), conditions=["keloid", "eczema"])


def table(folder: Path) -> TableConfig:
    rows = [
        f"{name};{'5' * (name == 'a')};p{name};{('nv', 'mel')[number % 2]}"
        for number, name in enumerate("abcx")
    ]
    names = tuple(f"deep/{name}.png" for name in IMAGES)
    photographs(folder, names, "foto;fst;patient;dx", [*rows, "d;I;;mel"], "clinic.csv")
    return TableConfig(
        str(folder), columns=ColumnsConfig(label="dx"), classes={"naevus": ["nv"], "melanoma": ["mel"]}
    )


def squares(folder: Path) -> Any:
    rows = [f"{name}.png,{('red', 'blue')[number % 2]}" for number, name in enumerate("abcdx")]
    photographs(folder, tuple(f"{name}.png" for name in IMAGES), "file,colour", rows, "squares.csv")
    return CORPORA["squares"].config_class(str(folder))


def medmnist(folder: Path) -> MedMNISTConfig:
    package = pytest.importorskip("medmnist")
    sizes = package.INFO["breastmnist"]["n_samples"]
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, count in sizes.items():
        arrays[f"{part}_images"] = np.zeros((count, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2)[:, None]
    np.savez(folder / "breastmnist.npz", **arrays)
    return MedMNISTConfig(data_dir=str(folder))


def phantom(folder: Path) -> PhantomConfig:
    return PhantomConfig(3, 64, ["ulcer", "nodule"], {"I": 2, "V": 2}, 0.5)


BUILDERS: dict[str, Callable[[Path], Any]] = {
    build.__name__: build
    for build in (phantom, fitzpatrick17k, ham10000, medmnist, imagefolder, table, squares)
}
"""A tiny corpus with two classes for each in the table; where it has one, a row without an image (x) and an
image without a row (stray)."""
CLASSES = {
    "phantom": ["ulcer", "nodule"],
    "fitzpatrick17k": ["warts", "acne"],
    "ham10000": ["nv", "mel"],
    "medmnist": ["malignant", "normal, benign"],
    "imagefolder": ["keloid", "eczema"],
    "table": ["naevus", "melanoma"],
    "squares": ["red", "blue"],
}
TABLES = ("fitzpatrick17k", "ham10000", "imagefolder", "table", "squares")
WRONG = {
    "phantom": {"repeat_share": 2.0},
    "fitzpatrick17k": {"conditions": []},
    "ham10000": {"classes": ["wart"]},
    "medmnist": {"size": 29},
    "imagefolder": {"skin_types": ["IX"]},
    "table": {"encoding": "klingon"},
    "squares": {"least": 0},
}


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register a corpus of a plugin, and take it back."""
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    name = write_toy_plugin(tmp_path / "plugins")
    plugins.load_plugins(["--plugin", name])
    yield
    CORPORA.pop("squares", None)
    registry._give_fields()
    plugins._loaded.pop(name, None)
    plugins._typed.discard(name)
    sys.modules.pop(name, None)


@pytest.fixture(params=list(BUILDERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def load(name: str, folder: Path) -> LoadedCorpus:
    return CORPORA[name].load(BUILDERS[name](folder))


def test_every_corpus_of_the_table_is_tested() -> None:
    assert set(CORPORA) == set(BUILDERS)


def test_it_has_the_schema_and_its_classes_in_their_order(name: str, tmp_path: Path) -> None:
    dataset = load(name, tmp_path / "corpus").dataset
    assert dataset.features == corpus_features(CLASSES[name])
    ids = dataset["image_id"]
    assert len(ids) > 3
    assert len(set(ids)) == len(ids)
    assert all(dataset["group_id"])
    assert set(dataset["label"]) == {0, 1}
    assert dataset[0]["image"].mode == "RGB"


def test_it_comes_out_the_same_every_time(name: str, tmp_path: Path) -> None:
    settings = BUILDERS[name](tmp_path / "corpus")
    config = CorpusConfig(name, 16, audit=False, **{name: settings})
    first, again = (prepare_corpus(config, tmp_path / place) for place in ("first", "again"))
    assert first.fingerprint == again.fingerprint
    assert first.dataset["image_id"] == again.dataset["image_id"]
    assert first.class_names == CLASSES[name]
    assert CORPORA[name].channels(settings) in (1, 3)


def test_images_of_unknown_patients_are_counted_and_stand_alone(name: str, tmp_path: Path) -> None:
    loaded = load(name, tmp_path / "corpus")
    groups = dict(zip(loaded.dataset["image_id"], loaded.dataset["group_id"], strict=True))
    assert loaded.ungrouped <= set(groups)
    assert all(groups[image_id] == image_id for image_id in loaded.ungrouped)
    few = {"phantom": 0, "ham10000": 0, "imagefolder": 2, "table": 1}
    assert len(loaded.ungrouped) == few.get(name, len(groups))


@pytest.mark.parametrize("table", TABLES)
def test_rows_without_an_image_and_images_without_a_row_are_said(table: str, tmp_path: Path) -> None:
    loaded = load(table, tmp_path / "corpus")
    assert [Path(one).stem for one in loaded.missing] == ["x"]
    assert any(re.search(r"1 of 5 rows of \S+\.csv have no image", said) for said in loaded.warnings)
    assert any(re.search(r"1 images have no row in \S+\.csv", said) for said in loaded.warnings)


def test_what_is_said_to_be_files_is_files(name: str, tmp_path: Path) -> None:
    corpus = CORPORA[name]
    loaded = load(name, tmp_path / "corpus")
    assert bool(loaded.paths()) is not bool(corpus.not_audited)
    if corpus.files is not None:
        found = corpus.files(tmp_path / "corpus")
        assert found.items() >= loaded.paths().items()
    if not corpus.not_audited:
        assert {"data_dir", "audit_csv"} <= {item.name for item in fields(corpus.config_class)}


def test_a_setting_that_cannot_work_is_named(name: str, tmp_path: Path) -> None:
    settings = replace(BUILDERS[name](tmp_path / "corpus"), **WRONG[name])
    (setting,) = WRONG[name]
    with pytest.raises(ConfigError, match=rf"^corpus\.{name}\.{setting}: "):
        CorpusConfig(name, **{name: settings}).validate("corpus.")


def test_settings_go_to_yaml_and_back_and_are_reached_by_words(name: str, tmp_path: Path) -> None:
    config = CorpusConfig(name, 16, **{name: BUILDERS[name](tmp_path / "corpus")})
    save_config(config, tmp_path / "corpus.yaml")
    again = parse_config(CorpusConfig, ["--image_size", "32"], default=tmp_path / "corpus.yaml")
    assert again == replace(config, image_size=32)
    (setting, value), *_ = WRONG[name].items()
    with pytest.raises(ConfigError, match=rf"{name}\.{setting}"):
        parse_config(CorpusConfig, [f"--{name}.{setting}", str(value)], default=tmp_path / "corpus.yaml")


def test_a_corpus_registered_after_a_config_was_read_has_its_settings(tmp_path: Path) -> None:
    (tmp_path / "corpus.yaml").write_text("name: phantom\n")
    parse_config(CorpusConfig, [], default=tmp_path / "corpus.yaml")
    register_corpus(replace(CORPORA["squares"], name="late"))
    try:
        words = ["--late.data_dir", "late"]
        config: Any = parse_config(CorpusConfig, words, default=tmp_path / "corpus.yaml")
        assert config.late.data_dir == "late"
    finally:
        CORPORA.pop("late")


def test_an_unknown_corpus_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"corpus\.name: 'derm7' is no corpus; choose from phantom, .*squares"
    ):
        CorpusConfig("derm7").validate("corpus.")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "'squares' is taken"),
        ({"name": "phantom"}, "'phantom' is taken"),
        ({"name": "image_size"}, "'image_size' cannot be|'image_size' is a setting"),
        ({"name": "two words"}, "'two words' cannot be the name of a setting"),
        ({"name": "own"}, "'own' cannot be the name of a setting"),
        ({"name": "new", "config_class": PhantomConfig}, "need data_dir and audit_csv"),
    ],
)
def test_a_corpus_that_cannot_stand_in_the_table_is_refused(changed: dict[str, Any], message: str) -> None:
    before = dict(CORPORA)
    corpus: CorpusEntry = replace(CORPORA["squares"], **changed)
    with pytest.raises(ConfigError, match=message):
        register_corpus(corpus)
    assert before == CORPORA
